"""Pre-flight: transactions that a new change feed would have to wait for."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.preflight.pair import Pair
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse

_PREPARED = """
SELECT gid, owner::text, database::text, extract(epoch FROM clock_timestamp() - prepared)::float8 AS age
  FROM pg_prepared_xacts ORDER BY prepared
"""

_WRITING = """
SELECT pid, coalesce(usename::text, '?') AS role, coalesce(datname::text, '?') AS database,
       coalesce(nullif(application_name, ''), '?') AS application, coalesce(state, '?') AS state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age
  FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND backend_type <> 'walsender'
   AND clock_timestamp() - xact_start > make_interval(secs => %(older)s)
 ORDER BY xact_start
"""


def check_prepared(pair: Pair) -> Iterator[Finding]:
    """Prepared transactions are invisible to a fence, and hold up every new slot of the server."""
    for side in pair.sides:
        with side.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_PREPARED).fetchall()
        for row in rows:
            gid = row["gid"].replace("'", "''")
            yield refuse(
                side.name, "pg.prepared-transaction",
                f"prepared transaction {row['gid']!r} of {row['owner']} in database {row['database']}"
                f" waits since {row['age']:.0f} s",
                f"in that database: COMMIT PREPARED '{gid}';  or ROLLBACK PREPARED '{gid}';",
            )  # fmt: skip
        if not rows:
            yield fine(side.name, "pg.prepared-transaction", "no prepared transactions")


def check_long_transactions(pair: Pair) -> Iterator[Finding]:
    """A slot cannot begin before every transaction that had written by then has ended, in any database."""
    for side in pair.sides:
        with side.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_WRITING, {"older": pair.limits.long_transaction_s}).fetchall()
        for row in rows:
            yield refuse(
                side.name, "pg.long-transaction",
                f"process {row['pid']} of {row['role']} ({row['application']}, {row['state']}) in database"
                f" {row['database']} has a writing transaction open since {row['age']:.0f} s",
                f"let it end, or, if nobody needs it: SELECT pg_terminate_backend({row['pid']});",
            )  # fmt: skip
        if not rows:
            yield fine(side.name, "pg.long-transaction", "no long writing transactions")
