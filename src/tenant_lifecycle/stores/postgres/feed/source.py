"""Looks rows up at the source: by key, and children by their parents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from psycopg import sql

from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.binary_copy import copy_out
from tenant_lifecycle.stores.postgres.feed.layout import Layout, column_sql, key_count
from tenant_lifecycle.stores.postgres.feed.owner import Edge
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.feed.record import DROP, PUT, Change
from tenant_lifecycle.stores.postgres.keys import stage_keys
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql


def read_again(
    conn: Connection, layout: Layout, resolved: ResolvedMap, keys: Iterable[bytes]
) -> dict[bytes, Change]:
    """The rows of those keys as they are now: PUT what the tenant owns, DROP the rest."""
    wanted = set(keys)
    states: dict[bytes, Change] = {key: (DROP, layout.number, key, layout.key_row(key), 0) for key in wanted}
    count = key_count(layout)
    places = layout.places(layout.key)
    with conn.transaction():
        staged = stage_keys(conn, replace(layout.table, primary_key=layout.key), wanted)
        same = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = k.{0}").format(sql.Identifier(name)) for name in layout.key
        )
        query = sql.SQL(
            "COPY (SELECT {} FROM {} t JOIN {} k ON {} WHERE {}) TO STDOUT (FORMAT BINARY)"
        ).format(
            column_sql(layout, "t"),
            table_sql(layout.name),
            staged,
            same,
            owned_rows(resolved, layout.name, "t"),
        )
        for line in copy_out(conn, query):
            row = split_row(line[2:], len(layout.columns))
            key = count + b"".join(row[i] for i in places)
            states[key] = (PUT, layout.number, key, line[2:], 0)
    return states


def children(conn: Connection, edge: Edge, parents: Iterable[bytes]) -> list[bytes]:
    """Keys of the rows that refer, over that edge, to one of the parent rows (rows without counts)."""
    places = edge.parent.places(edge.parent_columns)
    rows = {b"".join([split_row(row, len(edge.parent.columns))[i] for i in places]) for row in parents}
    count = len(places).to_bytes(2, "big")
    by_columns = replace(edge.parent.table, primary_key=edge.parent_columns)
    with conn.transaction():
        staged = stage_keys(conn, by_columns, (count + row for row in rows), "tl_parents")
        query = sql.SQL(
            "COPY (SELECT {} FROM {} t WHERE ({}) IN (SELECT {} FROM {})) TO STDOUT (FORMAT BINARY)"
        ).format(
            columns_sql(edge.child.key, "t"),
            table_sql(edge.child.name),
            columns_sql(edge.child_columns, "t"),
            columns_sql(edge.parent_columns),
            staged,
        )
        return list(copy_out(conn, query))
