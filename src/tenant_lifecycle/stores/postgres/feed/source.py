"""Looks rows up at the source: by key, and children by their parents.

Keys go in as one binary array per column and rows come back in binary, so nothing is created at the source and
no value is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence

from psycopg import sql

from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.binary_copy import result_rows
from tenant_lifecycle.stores.postgres.feed.layout import Layout, column_sql, key_count, plain_types
from tenant_lifecycle.stores.postgres.feed.owner import Edge
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.feed.record import DROP, PUT, Change
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.rawsql import BinaryArray, cursor_of


class SourceReader:
    """One session at the source, with the statements it has used."""

    def __init__(self, conn: Connection, resolved: ResolvedMap) -> None:
        self.conn = conn
        self._resolved = resolved
        self._by_key: dict[int, bytes] = {}
        self._children: dict[tuple[int, tuple[str, ...], int, tuple[str, ...]], bytes] = {}

    def close(self) -> None:
        """Give the session back."""
        self.conn.close()

    def rows(self, layout: Layout, keys: Collection[bytes]) -> dict[bytes, Change]:
        """The rows of those keys as they are now: PUT what the tenant owns, DROP the rest."""
        states: dict[bytes, Change] = {
            key: (DROP, layout.number, key, layout.key_row(key), 0) for key in keys
        }
        query = self._by_key.get(layout.number)
        if query is None:
            query = self._by_key[layout.number] = self._key_query(layout)
        wanted = [split_row(key[2:], len(layout.key)) for key in keys]
        count, places = key_count(layout), layout.places(layout.key)
        for row in self._fetch(query, layout, layout.key, wanted):
            key = count + b"".join([row[i] for i in places])
            states[key] = (PUT, layout.number, key, b"".join(row), 0)
        return states

    def _key_query(self, layout: Layout) -> bytes:
        same = [sql.SQL("t.{0} = k.{0}").format(sql.Identifier(name)) for name in layout.key]
        query = sql.SQL("SELECT {} FROM {} k ({}) JOIN {} t ON {} WHERE {}").format(
            column_sql(layout, "t"),
            _unnest(layout, layout.key),
            columns_sql(layout.key),
            table_sql(layout.name),
            sql.SQL(" AND ").join(same),
            owned_rows(self._resolved, layout.name, "t"),
        )
        return query.as_bytes(self.conn)

    def children(self, edge: Edge, parents: Collection[bytes]) -> list[bytes]:
        """Keys of the rows that refer, over that edge, to one of the parent rows (rows without counts)."""
        parent = edge.parent
        name = (edge.child.number, edge.child_columns, parent.number, edge.parent_columns)
        query = self._children.get(name)
        if query is None:
            query = self._children[name] = (
                sql.SQL("SELECT {} FROM {} t WHERE ({}) IN (SELECT * FROM {} k)")
                .format(
                    columns_sql(edge.child.key, "t"),
                    table_sql(edge.child.name),
                    columns_sql(edge.child_columns, "t"),
                    _unnest(parent, edge.parent_columns),
                )
                .as_bytes(self.conn)
            )
        wanted = [[split_row(row, len(parent.columns))[i] for i in edge.parent_at] for row in parents]
        count = key_count(edge.child)
        return [count + b"".join(row) for row in self._fetch(query, parent, edge.parent_columns, wanted)]

    def _fetch(
        self, query: bytes, layout: Layout, names: Sequence[str], wanted: Sequence[Sequence[bytes]]
    ) -> list[list[bytes]]:
        """Rows as fields; the wanted values of the named columns are the query's parameters."""
        oids = [layout.columns[i].type_oid for i in layout.places(names)]
        arrays = [_array(oid, [row[i] for row in wanted]) for i, oid in enumerate(oids)]
        with cursor_of(self.conn) as cursor:
            cursor.execute(query, arrays, prepare=True, binary=True)
            return result_rows(cursor.pgresult)


def _array(element_oid: int, fields: Sequence[bytes]) -> BinaryArray:
    # array_recv: dimensions, flag for NULLs, element type; for the dimension its length and lower bound.
    return BinaryArray(struct.pack("!iiIii", 1, 0, element_oid, len(fields), 1) + b"".join(fields))


def _unnest(layout: Layout, names: Sequence[str]) -> sql.Composed:
    arrays = [
        sql.SQL(f"${i + 1}::{{}}[]").format(sql.SQL(name))
        for i, name in enumerate(plain_types(layout, names))
    ]
    return sql.SQL("unnest({})").format(sql.SQL(", ").join(arrays))
