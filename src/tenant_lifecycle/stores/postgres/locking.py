"""Statements that need a lock which writers would feel: asked for with a short time-out, and again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import errors as pg
from psycopg import sql

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import table_sql

#: How long writers of a table may have to queue behind us, milliseconds.
LOCK_MS = 80


def patiently(
    conn: Connection, store: str, relation: TableName, statements: Sequence[sql.Composed], give_up: float
) -> None:
    """Run statements that lock ``relation`` in one transaction, retrying with growing pauses.

    They go to the server as one message: writers wait for the lock while it works, and never for us to send
    the next statement. A driver that is frozen or cut off in between would hold them up for as long as that.
    """
    pause = 0.02
    begin = sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_MS}ms"))
    message = sql.SQL("; ").join([begin, *statements])
    while True:
        try:
            conn.execute(message)
        except (pg.LockNotAvailable, pg.DeadlockDetected) as exc:
            if time.monotonic() + pause > give_up:
                raise StoreBusy(
                    f"{store}: the lock of table {relation} was not free: {_lockers(conn, relation)}",
                    store=store,
                    next_step="end that session, or wait; it is tried again by itself",
                ) from exc
            time.sleep(pause)
            pause = min(pause * 1.6, 0.5)
        else:
            return


def _lockers(conn: Connection, relation: TableName) -> str:
    cursor = conn.execute(
        "SELECT format('pid %%s (%%s)', l.pid, coalesce(nullif(a.application_name, ''), a.backend_type)) "
        "FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted AND l.locktype = "
        "'relation' AND l.relation = to_regclass(%s) AND l.pid <> pg_backend_pid() "
        "AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') ORDER BY a.xact_start LIMIT 5",
        (table_sql(relation).as_string(conn),),
    )
    return ", ".join(str(who) for (who,) in cursor.fetchall()) or "many short transactions"


def persistently(conn: Connection, statement: sql.Composed, budget_s: float) -> None:
    """Run a statement of its own transaction, such as VACUUM, again while its lock is not free.

    The session's ``lock_timeout`` must be short, or others queue behind us.

    Raises:
        LockNotAvailable: it was not free within the budget.
    """
    give_up, pause = time.monotonic() + budget_s, 0.02
    while True:
        try:
            conn.execute(statement)
        except (pg.LockNotAvailable, pg.DeadlockDetected):
            if time.monotonic() + pause > give_up:
                raise
            time.sleep(pause)
            pause = min(pause * 1.6, 0.5)
        else:
            return
