"""Row keys as they travel: one COPY BINARY row over a table's key columns.

A key is opaque bytes: it goes into SQL through ``COPY ... FROM STDIN (FORMAT BINARY)`` into a temporary table
(`stage_keys`), so it is exact for every type and never pasted. For people, SQL casts it to text.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import Table

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
COPY_TRAILER = b"\xff\xff"


def stage_keys(
    conn: Connection, table: Table, keys: Iterable[bytes], name: str = "tl_keys"
) -> sql.Identifier:
    """Put keys of ``table`` into a fresh temporary table with the key's columns; return its name.

    The temporary table is dropped at the end of the transaction, so call it inside one.
    """
    temporary = sql.Identifier("pg_temp", name)
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            sql.Identifier(name), columns_sql(table.key), table_sql(table.name)
        )
    )
    copy = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(temporary)
    with conn.cursor().copy(copy) as stream:
        stream.write(COPY_HEADER + b"".join(keys) + COPY_TRAILER)
    return temporary
