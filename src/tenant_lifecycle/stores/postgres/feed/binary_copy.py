"""Rows in and out in the form of COPY BINARY, without decoding a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql
from psycopg.pq.abc import PGresult

from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.pgoutput import NULL
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER


def copy_out(conn: Connection, query: sql.Composed | bytes) -> Iterator[bytes]:
    """Rows of a ``COPY (...) TO STDOUT (FORMAT BINARY)``, each with its leading count.

    The server sends one message per row; the first carries the header too, the last is the trailer.
    """
    with conn.cursor().copy(query) as stream:
        first = True
        for chunk in stream:
            row = bytes(chunk)
            if first:
                row, first = row[len(COPY_HEADER) :], False
            if row and row != COPY_TRAILER:
                yield row


def copy_in(conn: Connection, query: bytes, rows: Iterable[bytes]) -> None:
    """Send rows, each with its leading count, through a ``COPY ... FROM STDIN (FORMAT BINARY)``."""
    with conn.cursor().copy(query) as stream:
        stream.write(COPY_HEADER + b"".join(rows) + COPY_TRAILER)


def result_rows(result: PGresult | None) -> list[list[bytes]]:
    """The rows of a binary result, as fields."""
    if result is None:
        return []
    columns, value = range(result.nfields), result.get_value
    return [[_field(value(i, j)) for j in columns] for i in range(result.ntuples)]


def _field(value: bytes | None) -> bytes:
    return NULL if value is None else len(value).to_bytes(4, "big") + value
