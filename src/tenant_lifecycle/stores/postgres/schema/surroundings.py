"""Differences around the tables: types, extensions, sequences, roles, and what the application must bring. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.schema.described import Relation, TypeShape
from tenant_lifecycle.stores.postgres.schema.differences import Both, plain, sql_name
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

_TYPE_KINDS = {"e": "enum", "d": "domain", "c": "composite type", "r": "range type", "b": "base type"}
#: So many names are spelled out in one finding.
_LISTED = 20


def surrounding_differences(both: Both) -> Iterator[Finding]:
    """Everything but the tables themselves."""
    yield from _extensions(both)
    yield from _types(both)
    yield from _sequences(both)
    yield from _roles(both)
    for identity in both.lacking:
        yield refuse(
            both.subject, "schema.object-missing",
            f"{identity} is missing, and tables of the tenant are defined with it",
            "run the application's own migrations on the target first",
        )  # fmt: skip
    yield from _application(both)


def _extensions(both: Both) -> Iterator[Finding]:
    for name, here in both.source.extensions.items():
        there = both.target.extensions.get(name)
        if there is None:
            yield fine(both.subject, "schema.extension-missing", f"extension {name} will be created")
            continue
        if there.schema != here.schema:
            yield refuse(
                both.subject, "schema.extension-schema",
                f"extension {name} is in schema {there.schema}, on the source in {here.schema}",
                f'ALTER EXTENSION "{name}" SET SCHEMA "{here.schema}";',
            )  # fmt: skip
        if _major(there.version) != _major(here.version):
            yield refuse(
                both.subject, "schema.extension-version",
                f"extension {name} is {there.version}, on the source {here.version}: types may differ",
                f'ALTER EXTENSION "{name}" UPDATE; on the older side',
            )  # fmt: skip


def _major(version: str) -> tuple[str, ...]:
    """What changes when things break: the first number, or the second while that is 0."""
    parts = version.split(".")
    return tuple(parts[:2] if parts[0] == "0" else parts[:1])


def _types(both: Both) -> Iterator[Finding]:
    for name, here in both.source.types.items():
        there = both.target.types.get(name)
        what = f"{_TYPE_KINDS[here.kind]} {name}"
        if there is None:
            yield from _missing_type(both, here, what)
        elif here.kind != there.kind:
            yield _other_type(both, what, f"it is a {_TYPE_KINDS[there.kind]}")
        elif set(here.labels) != set(there.labels):
            yield from _labels(both, what, here, there)
        elif here.labels != there.labels:
            yield warn(
                both.subject, "schema.enum-order", f"the labels of {what} are in another order than on the source",
                "sort orders by this column will differ",
            )  # fmt: skip
        elif plain(here.body) != plain(there.body):
            yield _other_type(both, what, f"it is {there.body}, on the source {here.body}")
        elif {plain(d) for _, d in here.checks} != {plain(d) for _, d in there.checks}:
            yield _other_type(both, what, "its checks differ")


def _missing_type(both: Both, here: TypeShape, what: str) -> Iterator[Finding]:
    if here.kind == "b" or "OTHERWISE" in here.body:
        yield refuse(
            both.subject, "schema.type-missing", f"{what} is missing and cannot be created from its description",
            "run the application's own migrations on the target first",
        )  # fmt: skip
    else:
        yield fine(both.subject, "schema.type-missing", f"{what} will be created")


def _labels(both: Both, what: str, here: TypeShape, there: TypeShape) -> Iterator[Finding]:
    missing = [label for label in here.labels if label not in there.labels]
    extra = [label for label in there.labels if label not in here.labels]
    side, labels = ("missing on the target", missing) if missing else ("missing on the source", extra)
    text = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
    yield refuse(
        both.subject, "schema.enum-labels", f"labels of {what} are {side}: {text}",
        f"ALTER TYPE {sql_name(here.name)} ADD VALUE ...; where they are missing",
    )  # fmt: skip


def _other_type(both: Both, what: str, how: str) -> Finding:
    return refuse(
        both.subject, "schema.type-differs", f"{what} is another one than on the source: {how}",
        "define the type alike on both sides",
    )  # fmt: skip


def _sequences(both: Both) -> Iterator[Finding]:
    for name, here in both.source.sequences.items():
        there = both.target.sequences.get(name)
        if there is None:
            yield fine(both.subject, "schema.sequence-missing", f"sequence {name} will be created")
        elif here.options != there.options:
            yield warn(
                both.subject, "schema.sequence-differs",
                f"sequence {name} is {there.options}, on the source {here.options}",
                f"ALTER SEQUENCE {sql_name(name)} {here.options};",
            )  # fmt: skip


def _roles(both: Both) -> Iterator[Finding]:
    for root in both.source.roots:
        missing = sorted(roles_of(root) - both.roles)
        if missing and root.name not in both.target.relations:
            yield warn(
                both.subject, "schema.role-missing",
                f"{root.name} is granted to roles that do not exist: {_listed(missing)}",
                "create the roles first, or grant to others after the tables are there",
            )  # fmt: skip


def roles_of(relation: Relation) -> set[str]:
    """Roles that the relation's grants and policies name, its owner included."""
    named = {grant.role for grant in relation.grants if grant.role is not None}
    named |= {role for policy in relation.policies for role in policy.roles if role != "public"}
    return named | {relation.owner}


def _application(both: Both) -> Iterator[Finding]:
    """What the application's own migrations create, and we do not."""
    for root in both.source.roots:
        twin = both.target.relations.get(root.name)
        theirs = twin.triggers if twin is not None else {}
        for name, enabled in root.triggers.items():
            if name not in theirs:
                yield warn(
                    both.subject, "schema.trigger-missing", f"trigger {name} of {root.name} is missing",
                    "run the application's own migrations on the target before the cutover",
                )  # fmt: skip
            elif theirs[name] != enabled:
                yield warn(
                    both.subject, "schema.trigger-enabled",
                    f"trigger {name} of {root.name} is enabled in another way than on the source",
                    "see ALTER TABLE ... ENABLE / DISABLE TRIGGER",
                )  # fmt: skip
    for code, what, here, there in (
        ("schema.view-missing", "views", both.source.views, both.target.views),
        ("schema.function-missing", "functions", both.source.functions, both.target.functions),
    ):
        if missing := sorted(set(here) - set(there)):
            yield warn(
                both.subject, code, f"{what} of the application are missing: {_listed(missing)}",
                "run the application's own migrations on the target before the cutover",
            )  # fmt: skip


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
