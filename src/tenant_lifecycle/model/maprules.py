"""What an ownership map must be in itself, before any database is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that no database could make right."""

    #: The table whose rule is wrong; None if the map as a whole is.
    table: TableName | None
    message: str


def problems(map_: OwnershipMap) -> list[Problem]:
    """Everything that is wrong with the map in itself; empty means that every rule leads to a tenant."""
    return [*_roots(map_), *_references(map_), *_cycles(map_)]


def _roots(map_: OwnershipMap) -> Iterator[Problem]:
    roots = [name for name, rule in map_.tables.items() if isinstance(rule, Root)]
    owned = [name for name, rule in map_.tables.items() if not isinstance(rule, (Global, Root))]
    for name in roots[1:]:
        yield Problem(name, f"a second root; {roots[0]} is one already")
    if not roots and (owned or not (map_.schema_template or map_.per_database)):
        yield Problem(None, "no table has the rule root: the table of tenants, and its column with their ids")
    template = map_.schema_template
    if template is not None and template.count("{tenant}") != 1:
        yield Problem(None, f"schema_template {template!r} must contain {{tenant}} exactly once")


def _references(map_: OwnershipMap) -> Iterator[Problem]:
    for name, rule in map_.tables.items():
        if isinstance(rule, Via):
            for hop in rule.hops:
                yield from _hop(map_, name, hop)
        elif isinstance(rule, Shared) and not isinstance(map_.tables.get(rule.through), (Root, Direct, Via)):
            yield Problem(
                name, f"through: {rule.through} is {_what(map_, rule.through)}, which no tenant owns"
            )


def _hop(map_: OwnershipMap, name: TableName, hop: Hop) -> Iterator[Problem]:
    if hop.parent is None:
        if len(hop.columns) != 1:
            yield Problem(name, "a hop without a parent names the one column that holds the tenant's id")
        return
    if not hop.columns or len(hop.columns) != len(hop.parent_columns):
        yield Problem(
            name, f"columns and parent_columns must be as many: {hop.columns} and {hop.parent_columns}"
        )
    if not isinstance(map_.tables.get(hop.parent), (Root, Direct, Via)):
        yield Problem(name, f"parent: {hop.parent} is {_what(map_, hop.parent)}, which no tenant owns")


def _what(map_: OwnershipMap, table: TableName) -> str:
    rule = map_.tables.get(table)
    return f"{type(rule).__name__.lower()}" if rule is not None else "not in the map"


def _cycles(map_: OwnershipMap) -> Iterator[Problem]:
    """Ownership that leads back to where it began; each cycle is reported once, at its first table."""
    reported: set[frozenset[TableName]] = set()

    def walk(table: TableName, way: tuple[TableName, ...]) -> Iterator[Problem]:
        if table in way:
            cycle = way[way.index(table) :]
            if frozenset(cycle) not in reported:
                reported.add(frozenset(cycle))
                way_text = " -> ".join(map(str, (*cycle, table)))
                yield Problem(
                    cycle[0], f"ownership goes in a circle: {way_text}; one of them needs another rule"
                )
            return
        rule = map_.tables.get(table)
        for hop in rule.hops if isinstance(rule, Via) else ():
            if hop.parent is not None:
                yield from walk(hop.parent, (*way, table))

    for table in map_.tables:
        yield from walk(table, ())
