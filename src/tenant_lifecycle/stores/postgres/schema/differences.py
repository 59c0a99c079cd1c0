"""What differs between two shapes, as findings. Pure.

The rule behind the severities: rows must fit in *both* directions, because a move can be taken back at any
time. So what is stricter on either side, or exists on one side only and holds data, is a refusal. What is only
slower or behaves differently for the application is a warning. What `create_missing` will create is in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.schema.described import (
    ColumnShape,
    ConstraintShape,
    IndexShape,
    Relation,
    SchemaShape,
)
from tenant_lifecycle.stores.postgres.servercheck import quoted
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

#: Kinds of constraints that a row can violate; foreign keys are off while we write.
STRICT = "puxc"
_KINDS = {
    "p": "primary key",
    "u": "unique constraint",
    "x": "exclusion constraint",
    "c": "check constraint",
    "f": "foreign key",
}


@dataclass(frozen=True, slots=True)
class Both:
    """Two shapes, and what is known about the target besides its shape."""

    source: SchemaShape
    target: SchemaShape
    #: The target's name, for findings.
    subject: str
    #: Tables of the target without any row.
    empty: frozenset[TableName]
    #: Roles of the target, and which of them we are.
    roles: frozenset[str]
    role: str
    #: Major version of the target.
    major: int
    #: Objects that definitions of the source need and the target lacks.
    lacking: tuple[str, ...]
    #: Tables with a rule for the tenant that only the target has.
    surplus: tuple[TableName, ...] = ()
    #: Schemas of the target.
    schemas: frozenset[str] = frozenset()
    #: Tables of the target that foreign keys of the source refer to.
    present: frozenset[TableName] = frozenset()


_PRINTED = re.compile(r"('(?:[^']|'')*')|[()\s]")


def plain(text: str | None) -> str:
    """SQL without what servers of different versions print differently: spaces and parentheses, but not those
    in string literals; and without NOT VALID, for new rows are held to such a rule too."""
    return _PRINTED.sub(lambda match: match[1] or "", (text or "").removesuffix(" NOT VALID"))


def table_differences(both: Both) -> Iterator[Finding]:
    """Tables, columns, constraints, indexes, partitions, row security: all roots of the source."""
    for name in both.surplus:
        yield refuse(
            both.subject, "schema.table-extra",
            f"table {name} does not exist on the source: its rows would be lost on the way back",
            f"create {name} on the source too, or take it out of the ownership map",
        )  # fmt: skip
    for root in both.source.roots:
        twin = both.target.relations.get(root.name)
        if twin is None:
            yield fine(both.subject, "schema.table-missing", f"table {root.name} will be created")
            yield from _uncreatable(both, root)
            continue
        if twin.parent is not None or plain(root.partition_key) != plain(twin.partition_key):
            yield refuse(
                both.subject, "schema.partition-key",
                f"table {root.name} is partitioned by {twin.partition_key or 'nothing'},"
                f" on the source by {root.partition_key or 'nothing'}",
                f"rebuild table {root.name} on the target like the source's",
            )  # fmt: skip
            continue
        yield from _columns(both, root, twin)
        yield from _rules(both, root, twin)
        yield from _row_security(both, root, twin)
        yield from _partitions(both, root)


def _uncreatable(both: Both, root: Relation) -> Iterator[Finding]:
    for column in root.columns:
        if column.generated == "v" and both.major < 18:
            yield refuse(
                both.subject, "schema.virtual-column",
                f"column {root.name}.{column.name} is a virtual generated column, which PostgreSQL {both.major}"
                " does not have",
                "upgrade the target to PostgreSQL 18, or drop the column",
            )  # fmt: skip

    for relation in (root, *both.source.partitions(root.name)):
        for rule in relation.constraints:
            if rule.refers_to is not None and not _is_there(both, rule.refers_to):
                yield _left_out(both, relation, rule)


def _is_there(both: Both, table: TableName) -> bool:
    """Whether a foreign key can refer to the table on the target, now or when all is created."""
    return table in both.source.relations or table in both.present


def _left_out(both: Both, relation: Relation, rule: ConstraintShape) -> Finding:
    return warn(
        both.subject, "schema.reference-target",
        f"foreign key {rule.name} of {relation.name} is left out: table {rule.refers_to} is not there",
        f"create {rule.refers_to} on the target first; it does not move with the tenant",
    )  # fmt: skip


def _columns(both: Both, root: Relation, twin: Relation) -> Iterator[Finding]:
    here, there = _by_name(root), _by_name(twin)
    for name, column in here.items():
        if name not in there:
            yield refuse(
                both.subject, "schema.column-missing", f"column {root.name}.{name} is missing",
                f"ALTER TABLE {sql_name(root.name)} ADD COLUMN {quoted(name)} {column.type};",
            )  # fmt: skip
        else:
            yield from _column(both, root.name, column, there[name])
    for name, column in there.items():
        if name not in here:
            blocks = column.not_null and column.expression is None and not column.identity
            effect = "rows without it are refused" if blocks else "its values would be lost on the way back"
            yield refuse(
                both.subject, "schema.column-extra",
                f"column {root.name}.{name} does not exist on the source, {effect}",
                f"add the column {name} to {root.name} on the source too, or drop it on the target",
            )  # fmt: skip


def _column(both: Both, table: TableName, here: ColumnShape, there: ColumnShape) -> Iterator[Finding]:
    place, alter = f"{table}.{here.name}", f"ALTER TABLE {sql_name(table)} ALTER COLUMN {quoted(here.name)}"
    if here.type != there.type:
        yield refuse(
            both.subject, "schema.column-type",
            f"column {place} has type {there.type}, on the source {here.type}",
            f"{alter} TYPE {here.type};",
        )  # fmt: skip
    if here.not_null != there.not_null:
        strict, verb = ("the target", "DROP") if there.not_null else ("the source", "SET")
        yield refuse(
            both.subject, "schema.column-null",
            f"column {place} is NOT NULL on {strict} only: a row may not fit there, or not on the way back",
            f"{alter} {verb} NOT NULL;",
        )  # fmt: skip
    generated = here.generated or there.generated
    if here.generated != there.generated or (generated and plain(here.expression) != plain(there.expression)):
        yield refuse(
            both.subject, "schema.column-generated",
            f"column {place} is computed as {_computed(there)}, on the source as {_computed(here)}",
            f"give {place} the same generation expression on both sides",
        )  # fmt: skip
    elif plain(here.expression) != plain(there.expression):
        yield warn(
            both.subject, "schema.column-default",
            f"column {place} has default {there.expression or 'none'}, on the source {here.expression or 'none'}",
            "see that the application does not depend on it",
        )  # fmt: skip
    if here.identity != there.identity:
        yield warn(
            both.subject, "schema.column-identity",
            f"column {place} is {_identity(there)}, on the source {_identity(here)}",
            "see that the application's inserts work with both",
        )  # fmt: skip
    if here.collation != there.collation:
        yield warn(
            both.subject, "schema.column-collation",
            f"column {place} has collation {there.collation or 'default'}, on the source {here.collation or 'default'}",
            "sort orders and comparisons may differ",
        )  # fmt: skip


def _computed(column: ColumnShape) -> str:
    kind = {"s": "stored", "v": "virtual"}.get(column.generated)
    return f"{kind} {column.expression}" if kind else "nothing"


def _identity(column: ColumnShape) -> str:
    return {"a": "always an identity", "d": "an identity by default"}.get(column.identity, "no identity")


def _rules(both: Both, relation: Relation, twin: Relation) -> Iterator[Finding]:
    """Constraints and indexes of a table or partition that is on both sides."""
    creatable = relation.root in both.empty
    for kind in STRICT:
        here, there = _constraints(relation, kind), _constraints(twin, kind)
        for content in here.keys() - there.keys():
            yield _missing(both, relation, here[content], creatable)
        for content in there.keys() - here.keys():
            yield _extra(both, relation, there[content])
    for unique in (True, False):
        ours, theirs = _indexes(relation, unique), _indexes(twin, unique)
        for content in ours.keys() - theirs.keys():
            yield _missing_index(both, relation, ours[content], creatable)
        for content in theirs.keys() - ours.keys() if unique else ():
            yield refuse(
                both.subject, "schema.unique-extra",
                f"unique index {theirs[content].name} on {relation.name} does not exist on the source:"
                " its rows may violate it",
                f"create it on the source too, or DROP INDEX {quoted(twin.name.schema)}.{quoted(theirs[content].name)};",
            )  # fmt: skip
    yield from _references(both, relation, twin, creatable)


def _missing(both: Both, relation: Relation, rule: ConstraintShape, creatable: bool) -> Finding:
    what = f"{_KINDS[rule.kind]} {rule.name} of {relation.name}: {rule.definition}"
    if creatable:
        return fine(both.subject, "schema.constraint-missing", f"{what}: will be created")
    return refuse(
        both.subject, "schema.constraint-missing",
        f"{what} is missing and the table has rows: what it forbids would not come back",
        f"ALTER TABLE {sql_name(relation.name)} ADD CONSTRAINT {quoted(rule.name)} {rule.definition};",
    )  # fmt: skip


def _extra(both: Both, relation: Relation, rule: ConstraintShape) -> Finding:
    code = {"c": "schema.check-extra", "p": "schema.primary-key-extra"}.get(rule.kind, "schema.unique-extra")
    return refuse(
        both.subject, code,
        f"{_KINDS[rule.kind]} {rule.name} of {relation.name} does not exist on the source: {rule.definition}",
        f"create it on the source too, or ALTER TABLE {sql_name(relation.name)} DROP CONSTRAINT {quoted(rule.name)};",
    )  # fmt: skip


def _missing_index(both: Both, relation: Relation, index: IndexShape, creatable: bool) -> Finding:
    if creatable:
        return fine(
            both.subject, "schema.index-missing", f"index {index.name} on {relation.name} will be created"
        )
    step = index.definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    if index.unique:
        return refuse(
            both.subject, "schema.unique-missing",
            f"unique index {index.name} on {relation.name} is missing and the table has rows", f"{step};",
        )  # fmt: skip
    return warn(
        both.subject, "schema.index-missing",
        f"index {index.name} on {relation.name} is missing and the table has rows of others, so it is not built", f"{step};",
    )  # fmt: skip


def _references(both: Both, relation: Relation, twin: Relation, creatable: bool) -> Iterator[Finding]:
    here, there = _constraints(relation, "f"), _constraints(twin, "f")
    for content in here.keys() - there.keys():
        rule = here[content]
        if rule.refers_to is not None and not _is_there(both, rule.refers_to):
            yield _left_out(both, relation, rule)
        elif creatable:
            text = f"foreign key {rule.name} of {relation.name} will be created"
            yield fine(both.subject, "schema.reference-missing", text)
        else:
            yield warn(
                both.subject, "schema.reference-missing",
                f"foreign key {rule.name} of {relation.name} is missing and the table has rows",
                f"ALTER TABLE {sql_name(relation.name)} ADD CONSTRAINT {quoted(rule.name)} {rule.definition} NOT VALID;",
            )  # fmt: skip
    for content in there.keys() - here.keys():
        yield warn(
            both.subject, "schema.reference-extra",
            f"foreign key {there[content].name} of {relation.name} does not exist on the source",
            "references are checked after the copy; rows that violate it stop the move",
        )  # fmt: skip


def _row_security(both: Both, root: Relation, twin: Relation) -> Iterator[Finding]:
    here, there = (root.row_security, root.force_row_security), (twin.row_security, twin.force_row_security)
    if here != there:
        alter = f"ALTER TABLE {sql_name(root.name)}"
        yield refuse(
            both.subject, "schema.row-security",
            f"row security of {root.name} is {_security(there)}, on the source {_security(here)}",
            f"{alter} {'ENABLE' if here[0] else 'DISABLE'} ROW LEVEL SECURITY,"
            f" {'' if here[1] else 'NO '}FORCE ROW LEVEL SECURITY;",
        )  # fmt: skip
    ours = {policy.name: policy for policy in root.policies}
    theirs = {policy.name: policy for policy in twin.policies}
    for name in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(name), theirs.get(name)
        same = one and other and (one.permissive, one.command, one.roles, plain(one.using), plain(one.check)) == (
            other.permissive, other.command, other.roles, plain(other.using), plain(other.check))  # fmt: skip
        if not same:
            side = "differs" if one and other else "is on the source only" if one else "is on the target only"
            yield warn(
                both.subject, "schema.policy", f"row security policy {name} of {root.name} {side}",
                "see that the application may read and write what it must on the target",
            )  # fmt: skip


def _security(state: tuple[bool, bool]) -> str:
    return ("on" if state[0] else "off") + (", forced" if state[1] else "")


def _partitions(both: Both, root: Relation) -> Iterator[Finding]:
    """Partitions are matched by their bounds, on the way down from the root; their names are free."""
    ours, theirs = layout(both.source, root.name), layout(both.target, root.name)
    extra = [path for path in theirs if path not in ours]
    for path in extra:
        yield refuse(
            both.subject, "schema.partition-extra",
            f"partition {theirs[path].name} of {root.name} ({path[-1]}) does not exist on the source",
            f"create the same partition of {root.name} on the source, or detach it on the target",
        )  # fmt: skip
    for path, part in ours.items():
        twin = theirs.get(path)
        if twin is None and extra:
            yield refuse(
                both.subject, "schema.partition-bounds",
                f"partition {part.name} of {root.name} ({path[-1]}) is missing, and others cover other bounds",
                f"partition {root.name} on the target like the source's",
            )  # fmt: skip
        elif twin is None:
            text = f"partition {part.name} of {root.name} will be created"
            yield fine(both.subject, "schema.partition-missing", text)
        elif plain(part.partition_key) != plain(twin.partition_key):
            yield refuse(
                both.subject, "schema.partition-key",
                f"partition {twin.name} is itself partitioned by {twin.partition_key or 'nothing'},"
                f" on the source by {part.partition_key or 'nothing'}",
                f"rebuild partition {twin.name} on the target like the source's",
            )  # fmt: skip
        else:
            yield from _rules(both, part, twin)


def layout(shape: SchemaShape, root: TableName) -> dict[tuple[str, ...], Relation]:
    """The partitions of a root by the bounds that lead to them; parents before what is in them."""
    paths: dict[TableName, tuple[str, ...]] = {root: ()}
    found: dict[tuple[str, ...], Relation] = {}
    for part in shape.partitions(root):
        assert part.parent is not None, "roots are not partitions"
        path = (*paths[part.parent], part.bound or "")
        paths[part.name] = path
        found[path] = part
    return found


def _by_name(relation: Relation) -> Mapping[str, ColumnShape]:
    return {column.name: column for column in relation.columns}


def _constraints(relation: Relation, kind: str) -> Mapping[str, ConstraintShape]:
    return {plain(rule.definition): rule for rule in relation.constraints if rule.kind == kind}


def _indexes(relation: Relation, unique: bool) -> Mapping[str, IndexShape]:
    return {plain(index.content): index for index in relation.indexes if index.unique == unique}


def sql_name(name: TableName) -> str:
    """The table's name for SQL that a person may paste."""
    return f"{quoted(name.schema)}.{quoted(name.name)}"
