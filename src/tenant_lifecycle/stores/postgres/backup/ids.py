"""Numbers of a sequence for rows that come from somewhere else: nobody else gets them, used or not."""

from __future__ import annotations

from psycopg.rows import scalar_row

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql

#: Numbers that others may draw between our drawing one and setting the sequence, which are one statement.
_MARGIN = 1000


def reserve_ids(database: Database, set_name: str, column: str, count: int) -> int | None:
    """The first of ``count`` numbers in a row; None: no sequence belongs to the column."""
    table = table_sql(TableName.parse(set_name))
    with database.session() as conn:
        found = conn.execute(
            "SELECT pg_get_serial_sequence(%s, %s)", (table.as_string(conn), column)
        ).fetchone()
        if found is None or found[0] is None:
            return None
        with conn.cursor(row_factory=scalar_row) as cursor:
            last = cursor.execute(
                "SELECT setval(s, nextval(s) + %s) FROM (SELECT %s::regclass AS s) one",
                (_MARGIN + count, found[0]),
            ).fetchone()
    return None if last is None else int(last) - count + 1
