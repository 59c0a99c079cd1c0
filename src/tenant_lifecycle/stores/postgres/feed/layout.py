"""How a table looks in the stream: its published columns, and which of them name a row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.errors import SourceChanged
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.pgoutput import NULL, Relation, split_row
from tenant_lifecycle.stores.postgres.tables import Table

#: Shape of the tables of a feed, for comparison with what a spool was written for: table -> columns.
Shape = dict[str, list[list[object]]]


@dataclass(frozen=True, slots=True)
class StreamColumn:
    """One published column."""

    name: str
    type_oid: int
    type_modifier: int
    #: The type under a domain; the type itself otherwise.
    base_oid: int
    #: 'e' for an enum.
    base_kind: str
    #: False: the type has no binary form, or one that means something else in another database: text is used.
    binary: bool
    #: False: the collation calls different strings equal.
    exact: bool
    #: A number of this database (regclass and the like): what the stream sends is of no use elsewhere.
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """One table as the stream carries it. Rows are fields in the order of ``columns``."""

    #: Place of the table in the feed's list, parents before children; names it in records.
    number: int
    table: Table
    columns: tuple[StreamColumn, ...]
    #: Columns that tell rows apart and that every delete carries; empty for a table without a key.
    key: tuple[str, ...]

    @property
    def name(self) -> TableName:
        return self.table.name

    @property
    def whole_identity(self) -> bool:
        """True: updates and deletes carry the whole old row (REPLICA IDENTITY FULL)."""
        return self.table.replica_identity == "f"

    @property
    def unsendable(self) -> bool:
        """Rows have to be read from the source: what the stream sends is not what they hold."""
        return any(column.numbered for column in self.columns)

    def places(self, names: Sequence[str]) -> tuple[int, ...]:
        """Where those columns are in a row.

        Raises:
            KeyError: a column is not published.
        """
        at = {column.name: i for i, column in enumerate(self.columns)}
        return tuple(at[name] for name in names)

    def key_row(self, key: bytes) -> bytes:
        """A row that is NULL but for the key, made of a key; the leading count of both is left out."""
        row = [NULL] * len(self.columns)
        for place, value in zip(self.places(self.key), split_row(key[2:], len(self.key)), strict=True):
            row[place] = value
        return b"".join(row)


def key_count(layout: Layout) -> bytes:
    """What a key starts with: the number of its fields, as in a COPY BINARY row."""
    return len(layout.key).to_bytes(2, "big")


def read_layouts(
    conn: Connection, tables: Mapping[TableName, Table], moved: Sequence[TableName]
) -> tuple[Layout, ...]:
    """Describe the moved tables as the stream will carry them, in the given order."""
    columns = _read_columns(conn, [tables[name].oid for name in moved])
    return tuple(
        Layout(number, tables[name], columns[tables[name].oid], _stream_key(tables[name]))
        for number, name in enumerate(moved)
    )


def _stream_key(table: Table) -> tuple[str, ...]:
    """A delete carries the replica identity; the primary key's order is kept where it is the same columns."""
    if table.replica_identity == "f" or set(table.primary_key) == set(table.identity_columns):
        return table.primary_key
    return table.identity_columns


_COLUMNS = """
SELECT a.attrelid::int8 AS oid, a.attname AS name, a.atttypid::int8 AS type_oid,
       a.atttypmod AS type_modifier, base.oid::int8 AS base_oid, base.typtype::text AS base_kind,
       base.typsend <> 0 AND base.typname !~ '^_?reg[a-z]+$' AS binary,
       base.typname ~ '^_?reg[a-z]+$' AS numbered, coalesce(co.collisdeterministic, true) AS exact
  FROM pg_attribute a
  JOIN pg_type ty ON ty.oid = a.atttypid
  JOIN pg_type base ON base.oid = CASE WHEN ty.typtype = 'd' THEN ty.typbasetype ELSE ty.oid END
  LEFT JOIN pg_collation co ON co.oid = a.attcollation
 WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attrelid, a.attnum
"""


def _read_columns(conn: Connection, oids: list[int]) -> dict[int, tuple[StreamColumn, ...]]:
    found: dict[int, list[StreamColumn]] = {oid: [] for oid in oids}
    with conn.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_COLUMNS, (oids,)).fetchall():
            found[row.pop("oid")].append(StreamColumn(**row))
    return {oid: tuple(columns) for oid, columns in found.items()}


def shape(layouts: Sequence[Layout]) -> Shape:
    """What a spool remembers of the tables it was written for."""
    return {
        str(layout.name): [[c.name, c.type_oid, c.type_modifier] for c in layout.columns]
        + [["key", *layout.key, layout.table.replica_identity]]
        for layout in layouts
    }


def shape_digest(layouts: Sequence[Layout]) -> bytes:
    """32 bytes that differ when the shape does."""
    return hashlib.sha256(repr(sorted(shape(layouts).items())).encode()).digest()


def refuse_other_shape(store: str, before: Shape, now: Shape) -> None:
    """Compare what a spool was written for with the tables now.

    Raises:
        SourceChanged: names the first table and column that differ.
    """
    for table in before.keys() | now.keys():
        if before.get(table) != now.get(table):
            raise changed(store, table, _first_other(before.get(table, []), now.get(table, [])))


def refuse_other_relation(store: str, layout: Layout, relation: Relation) -> None:
    """Compare a Relation message with the table the follower started with.

    Raises:
        SourceChanged: names the first column that differs.
    """
    expected = [[c.name, c.type_oid, c.type_modifier] for c in layout.columns]
    found = [[c.name, c.type_oid, c.type_modifier] for c in relation.columns]
    if expected != found:
        raise changed(store, str(layout.name), _first_other(expected, found))
    if relation.identity != layout.table.replica_identity:
        raise changed(store, str(layout.name), "the replica identity")
    if relation.identity != "f":
        marked = {column.name for column in relation.columns if column.identity}
        if marked != set(layout.key):
            raise changed(store, str(layout.name), "the key")


def refuse_other_target(
    source: str, target: str, layouts: Sequence[Layout], there: Mapping[TableName, Table]
) -> None:
    """Every published column must be on the target, with the same type, and writable.

    Raises:
        SourceChanged: names table and column.
    """
    for layout in layouts:
        found = {c.name: c.type for c in there[layout.name].copied_columns} if layout.name in there else {}
        for column in layout.table.copied_columns:
            if found.get(column.name) != column.type:
                raise SourceChanged(
                    f"{layout.name}.{column.name} is {column.type} at {source} and "
                    f"{found.get(column.name, 'missing')} at {target}",
                    store=target,
                    next_step="make both sides alike, then copy again",
                )


def _first_other(before: Sequence[object], now: Sequence[object]) -> str:
    for i in range(max(len(before), len(now))):
        old = before[i] if i < len(before) else None
        new = now[i] if i < len(now) else None
        if old != new:
            either = new or old
            assert isinstance(either, list)
            gone = isinstance(old, list) and all(not isinstance(c, list) or c[0] != old[0] for c in now)
            return f"column {old[0] if gone and isinstance(old, list) else either[0]}"
    return "its columns"


def changed(store: str, table: str, what: str) -> SourceChanged:
    """The error for DDL during a move."""
    return SourceChanged(
        f"{store}: {what} of {table} changed during the move",
        store=store,
        next_step="make the same change on the target, abort this move and start it again",
    )


def column_sql(layout: Layout, alias: str | None = None) -> sql.Composed:
    """The published columns, those without a binary form as text: what the stream's rows look like."""
    parts = []
    for column in layout.columns:
        name = sql.Identifier(alias, column.name) if alias else sql.Identifier(column.name)
        parts.append(name if column.binary else sql.SQL("{}::text").format(name))
    return sql.SQL(", ").join(parts)


def plain_types(layout: Layout, columns: Sequence[str]) -> list[str]:
    """The columns' types without lengths, so that a cast never cuts a value."""
    plain = [re.sub(r"\(\d+(,\d+)?\)", "", layout.table.column(c).type) for c in columns]
    return ["bpchar" if name == "character" else name for name in plain]
