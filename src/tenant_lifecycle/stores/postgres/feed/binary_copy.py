"""COPY BINARY as a stream of whole rows, in and out, without decoding a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql

from tenant_lifecycle.stores.postgres.connection import Connection
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
