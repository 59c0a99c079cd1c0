"""Sending statements as they are: ``$1`` for parameters, so that a ``%`` in a name or a literal means nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import RawCursor, sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from tenant_lifecycle.stores.postgres.connection import Connection


class BinaryArray:
    """A one-dimensional array in PostgreSQL's binary form; the statement says its type with a cast."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _BinaryArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> bytes:
        return obj.data


def cursor_of(conn: Connection) -> RawCursor[tuple[Any, ...]]:
    """A cursor for such statements; it takes `BinaryArray` as a parameter."""
    cursor: RawCursor[tuple[Any, ...]] = RawCursor(conn)
    cursor.adapters.register_dumper(BinaryArray, _BinaryArrayDumper)
    return cursor


def fetch(
    conn: Connection,
    query: str | sql.Composed,
    parameters: Sequence[object] | None = None,
    *,
    prepare: bool | None = None,
) -> list[tuple[Any, ...]]:
    """Run a query and return its rows; with ``prepare`` the server keeps its plan for the session."""
    with cursor_of(conn) as cursor:
        sent = query.encode() if isinstance(query, str) else query
        return cursor.execute(sent, parameters, prepare=prepare).fetchall()
