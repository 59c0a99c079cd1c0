"""A session that sees the database exactly as it was at one position of its change stream.

Rows of a table without a key cannot be replayed as state: every change must be applied once, or not at all.
So the copy has to know which changes it contains. A temporary logical slot gives both: a snapshot, and the
position before which commits are in the snapshot and from which they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo, sql
from psycopg import errors as pg

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database

#: How long the slot may wait for write transactions that were open before it, other tenants' included.
WAIT_S = 60


@contextmanager
def consistent_session(
    database: Database, slot: str, wait_s: int = WAIT_S
) -> Iterator[tuple[Connection, str]]:
    """A read-only session in the snapshot, and the position ``X/Y`` it belongs to.

    Raises:
        StoreBusy: a transaction that was open before keeps the slot waiting; the message says who.
    """
    dsn = conninfo.make_conninfo(
        database.dsn,
        replication="database",
        options=f"-c lock_timeout={wait_s}s -c idle_in_transaction_session_timeout=0",
    )
    with translating(database.name):
        replication = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
    try:
        with translating(database.name):
            position, snapshot = _create_slot(database, replication, slot)
        reader = database.connect("copy in one snapshot")
        try:
            with translating(database.name):
                # It may have to wait for its turn, and it holds no lock that anybody needs.
                reader.execute("SET idle_in_transaction_session_timeout = 0")
                reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            # The snapshot is ours now; the slot would only hold back the server's log.
            replication.close()
            yield reader, position
        finally:
            reader.close()
    finally:
        replication.close()


def _create_slot(
    database: Database, replication: psycopg.Connection[tuple[object, ...]], slot: str
) -> tuple[str, str]:
    try:
        row = replication.execute(
            sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')").format(
                sql.Identifier(slot)
            )
        ).fetchone()
    except pg.LockNotAvailable as exc:
        with database.session() as conn:
            older = conn.execute(
                "SELECT format('pid %s (%s)', pid, application_name) FROM pg_stat_activity "
                "WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 3"
            ).fetchall()
        raise StoreBusy(
            f"{database.name}: open transactions keep a snapshot waiting: {', '.join(str(who) for (who,) in older)}",
            store=database.name,
            next_step="end that session, or wait; it is tried again by itself",
        ) from exc
    assert row is not None
    _, position, snapshot, _ = row
    return str(position), str(snapshot)
