"""Carry values of the tenant's rows to the target, chunk by chunk, to be looked up there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import Table

#: Where a chunk stands in the target's session.
STAGED = sql.Identifier("pg_temp", "tl_probe")


def staged_chunks(
    source: Connection,
    query: sql.Composable,
    target: Connection,
    table: Table,
    columns: Sequence[str],
    chunk_rows: int,
) -> Iterator[int]:
    """Put the rows of ``query`` (``columns`` of ``table``, in order) into `STAGED`, a chunk at a time.

    Yields the number of rows in each chunk while it stands there; the table is gone afterwards. It is made
    outside a transaction, so that a long look never holds a transaction number that others wait for.
    """
    target.execute("DROP TABLE IF EXISTS pg_temp.tl_probe")
    target.execute(
        sql.SQL("CREATE TEMPORARY TABLE tl_probe AS SELECT {} FROM {} LIMIT 0").format(
            columns_sql(tuple(columns)), table_sql(table.name)
        )
    )
    try:
        for rows in _binary_rows(source, query, chunk_rows):
            target.execute("TRUNCATE pg_temp.tl_probe")
            with target.cursor().copy("COPY pg_temp.tl_probe FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(COPY_HEADER + b"".join(rows) + COPY_TRAILER)
            target.execute("ANALYZE pg_temp.tl_probe")
            yield len(rows)
    finally:
        if not target.broken:
            target.execute("DROP TABLE IF EXISTS pg_temp.tl_probe")


def _binary_rows(source: Connection, query: sql.Composable, chunk_rows: int) -> Iterator[list[bytes]]:
    """COPY BINARY rows without header and trailer; the server sends each in a message of its own."""
    rows: list[bytes] = []
    with source.cursor().copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)) as copy:
        for position, message in enumerate(copy):
            row = bytes(message)[len(COPY_HEADER) :] if position == 0 else bytes(message)
            if row and row != COPY_TRAILER:
                rows.append(row)
            if len(rows) >= chunk_rows:
                yield rows
                rows = []
    if rows:
        yield rows
