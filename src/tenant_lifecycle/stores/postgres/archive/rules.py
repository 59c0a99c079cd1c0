"""The ownership map as the archive uses it: for every table, the ways from a row to its owners, by column names.

As text, values of the types that are allowed here are equal exactly when their bytes are, or can be made so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Global, OwnershipMap, Rule, Shared
from tenant_lifecycle.stores.postgres.archive.index import Owners
from tenant_lifecycle.stores.postgres.feed.equality import alone, comparable
from tenant_lifecycle.stores.postgres.feed.layout import Layout, StreamColumn
from tenant_lifecycle.stores.postgres.feed.rules import hops_of

#: Makes a value's text equal exactly when the value is; None: it is so already.
Plain = Callable[[bytes], bytes] | None

_BPCHAR, _NUMERIC = 1042, 1700


@dataclass(frozen=True, slots=True)
class Way:
    """One way to an owner; of several the first counts whose columns are all NOT NULL."""

    columns: tuple[str, ...]
    plain: tuple[Plain, ...]
    #: Number of the look that has the value; None: the value is the tenant.
    look: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """Columns of a table by which rows of others refer to its rows."""

    number: int
    columns: tuple[str, ...]
    plain: tuple[Plain, ...]


@dataclass(frozen=True, slots=True)
class TableRule:
    """How rows of one table find their owners."""

    number: int
    name: TableName
    #: Columns that are the key of an item; empty: the whole row is.
    key: tuple[str, ...]
    #: As pg_class.relreplident.
    identity: str
    ways: tuple[Way, ...]
    #: Whoever owns every row; None where rows decide.
    always: Owners | None
    looks: tuple[Look, ...]
    #: Cells are kept in the index: another tenant may come to share the row.
    kept: bool
    #: Whose a row is has to be kept, because a delete does not say it, or because others refer to it.
    indexed: bool

    @property
    def set(self) -> str:
        return str(self.name)


@dataclass(frozen=True, slots=True)
class Rules:
    """Of all tables that are archived."""

    tables: Mapping[TableName, TableRule]
    #: By look: tables, and which of their ways goes over it.
    children: Mapping[int, tuple[tuple[TableRule, int], ...]]
    #: Tables of tenants that are not archived, and why.
    uncovered: Mapping[str, str]


def owner_of_schema(ownership: OwnershipMap, schema: str) -> str | None:
    """The tenant whose schema it is by the template."""
    if ownership.schema_template is None:
        return None
    pattern = re.escape(ownership.schema_template).replace(re.escape("{tenant}"), "(.+)")
    found = re.fullmatch(pattern, schema, re.DOTALL)
    return found[1] if found else None


def compile_rules(
    store: str, ownership: OwnershipMap, layouts: Mapping[TableName, Layout], everybody: Owners
) -> Rules:
    """Rules of every table that belongs to tenants; ``everybody`` owns a database that is one tenant's."""
    compiling = _Compiling(store, ownership, layouts, everybody)
    uncovered: dict[str, str] = {}
    while True:
        try:
            return compiling.compile(uncovered)
        except _CannotSay as exc:
            # A table that cannot be followed takes those with it that are owned through it.
            uncovered[str(exc.table)] = exc.why


class _CannotSay(Exception):
    def __init__(self, table: TableName, why: str) -> None:
        super().__init__(why)
        self.table, self.why = table, why


class _Compiling:
    def __init__(
        self, store: str, ownership: OwnershipMap, layouts: Mapping[TableName, Layout], everybody: Owners
    ) -> None:
        self._store = store
        self._map = ownership
        self._layouts = layouts
        self._everybody = everybody

    def compile(self, uncovered: dict[str, str]) -> Rules:
        looks: dict[tuple[TableName, tuple[str, ...]], Look] = {}
        owned = {
            name: layout
            for name, layout in self._layouts.items()
            if not isinstance(self._map.tables.get(name), Global) and str(name) not in uncovered
        }
        ways = {name: self._ways(name, owned, looks) for name in owned}
        tables: dict[TableName, TableRule] = {}
        for number, name in enumerate(self._order(owned)):
            mine = tuple(look for (table, _), look in looks.items() if table == name)
            tables[name] = self._rule(number, name, ways[name], mine)
        children: dict[int, list[tuple[TableRule, int]]] = {}
        for rule in tables.values():
            for place, way in enumerate(rule.ways):
                if way.look is not None:
                    children.setdefault(way.look, []).append((rule, place))
        return Rules(tables, {look: tuple(them) for look, them in children.items()}, dict(uncovered))

    def _order(self, owned: Mapping[TableName, Layout]) -> list[TableName]:
        """By name, so that numbers in the index stay what they are as long as the tables do."""
        return sorted(owned)

    def _rule(
        self, number: int, name: TableName, ways: tuple[Way, ...], looks: tuple[Look, ...]
    ) -> TableRule:
        table = self._layouts[name].table
        rule = self._map.tables.get(name)
        always = None if rule is not None else self._whole(name)
        if table.persistence == "u":
            raise _CannotSay(name, "is unlogged: its changes are in no log")
        if not table.key and table.replica_identity != "f":
            raise _CannotSay(name, "has no primary key and no REPLICA IDENTITY FULL")
        if table.replica_identity != "f" and set(table.identity_columns) != set(table.key):
            raise _CannotSay(name, "has another replica identity than its primary key")
        if not table.key and (looks or any(way.look is not None for way in ways)):
            raise _CannotSay(name, "has no key, and is owned through another table or owns one")
        says = always is not None or (
            len(ways) == 1 and ways[0].look is None and set(ways[0].columns) <= set(table.identity_columns)
        )
        return TableRule(
            number, name, table.key, table.replica_identity, ways, always, looks,
            kept=isinstance(rule, Shared), indexed=bool(looks) or not says or not table.key,
        )  # fmt: skip

    def _whole(self, name: TableName) -> Owners:
        if self._map.per_database:
            if not self._everybody:
                raise _CannotSay(name, "is the tenant's of this database, and nothing in it says who that is")
            return self._everybody
        owner = owner_of_schema(self._map, name.schema)
        if owner is None:
            raise _CannotSay(name, "has no rule in the ownership map")
        return (owner,)

    def _ways(
        self,
        name: TableName,
        owned: Mapping[TableName, Layout],
        looks: dict[tuple[TableName, tuple[str, ...]], Look],
    ) -> tuple[Way, ...]:
        rule: Rule | None = self._map.tables.get(name)
        if rule is None:
            return ()
        found = []
        try:
            for hop in hops_of(rule):
                mine = [self._column(name, column) for column in hop.columns]
                if hop.parent is None:
                    for column in mine:
                        alone(self._store, name, column)
                    found.append(Way(hop.columns, tuple(_plain(column) for column in mine), None))
                    continue
                if hop.parent not in owned:
                    raise _CannotSay(name, f"is owned through {hop.parent}, which is not archived")
                theirs = [self._column(hop.parent, column) for column in hop.parent_columns]
                for child, parent in zip(mine, theirs, strict=True):
                    comparable(self._store, name, child, parent)
                look = looks.setdefault(
                    (hop.parent, hop.parent_columns),
                    Look(len(looks), hop.parent_columns, tuple(_plain(column) for column in theirs)),
                )
                found.append(Way(hop.columns, tuple(_plain(column) for column in mine), look.number))
        except StoreRejected as exc:
            raise _CannotSay(
                name, "depends on a column whose equal values may be written differently"
            ) from exc
        return tuple(found)

    def _column(self, name: TableName, column: str) -> StreamColumn:
        for one in self._layouts[name].columns:
            if one.name == column:
                return one
        raise _CannotSay(name, f"depends on column {column}, which its rows in the change log do not have")


def _plain(column: StreamColumn) -> Plain:
    return {_BPCHAR: _unpadded, _NUMERIC: _without_zeros}.get(column.base_oid)


def _unpadded(text: bytes) -> bytes:
    return text.rstrip(b" ")


def _without_zeros(text: bytes) -> bytes:
    return text.rstrip(b"0").rstrip(b".") if b"." in text else text
