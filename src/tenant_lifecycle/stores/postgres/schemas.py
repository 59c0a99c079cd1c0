"""Recognising tenants that are schemas: the same set of tables again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenant_lifecycle.model.names import TableName


@dataclass(frozen=True, slots=True)
class Template:
    """Schemas that are alike, and what their names have in common."""

    #: ``tenant_{tenant}``
    template: str
    schemas: frozenset[str]
    evidence: str


def find_template(tables: Iterable[TableName]) -> Template | None:
    """The largest group of schemas with the same tables whose names differ in one place; None if there is none."""
    by_schema: dict[str, set[str]] = {}
    for table in tables:
        by_schema.setdefault(table.schema, set()).add(table.name)
    groups: dict[frozenset[str], list[str]] = {}
    for schema, names in by_schema.items():
        groups.setdefault(frozenset(names), []).append(schema)
    best: Template | None = None
    for alike, schemas in groups.items():
        template = _template(sorted(schemas)) if len(schemas) > 1 else None
        if template is not None and (best is None or len(schemas) > len(best.schemas)):
            evidence = f"{len(schemas)} schemas have the same {len(alike)} tables: {', '.join(sorted(schemas)[:3])} ..."
            best = Template(template, frozenset(schemas), evidence)
    return best


def _template(schemas: list[str]) -> str | None:
    """``tenant_{tenant}`` of ``tenant_a`` and ``tenant_b``; None if they begin and end differently."""
    before = _common_start(schemas)
    # The common start ends at a separator: tenant_1 and tenant_12 have "tenant_" in common, not "tenant_1".
    before = before[: max(before.rfind("_"), before.rfind("-")) + 1]
    rests = [schema.removeprefix(before)[::-1] for schema in schemas]
    after = _common_start(rests)[::-1]
    cut = [index for index in (after.find("_"), after.find("-")) if index >= 0]
    after = after[min(cut) :] if cut else ""
    if not before and not after:
        return None
    if any(len(schema) <= len(before) + len(after) for schema in schemas):
        return None
    return f"{before}{{tenant}}{after}"


def _common_start(texts: list[str]) -> str:
    """The longest text that all of them begin with."""
    low, high = min(texts), max(texts)
    length = next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
    return low[:length]
