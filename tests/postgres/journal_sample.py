"""A database with a tenant armed in it, and blocks that enter keys into the journal."""

from __future__ import annotations

import psycopg
from fence_sample import sample
from psycopg import IsolationLevel

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed, FenceState, Touch
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database

A, B = TenantId("a"), TenantId("b")
FEED = Feed("op1_fwd", A, 1)
LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
ENTER = "SELECT epoch, journaling, holder::text FROM tenant_lifecycle.enter(%s)"
TOUCH = "SELECT tenant_lifecycle.touch(%s, 'redis', %s, %s::xid8)"
#: How long the quarantine is in the tests that wait for its end.
SHORT = "CREATE OR REPLACE FUNCTION tenant_lifecycle.quarantine() RETURNS interval LANGUAGE sql IMMUTABLE RETURN interval '1 s'"


def armed(dsn: str) -> Database:
    """The sample with tenant A armed as the writer's."""
    database = sample(dsn)
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    return database


def session(database: Database, level: IsolationLevel = LEVELS[0]) -> psycopg.Connection:
    conn = psycopg.connect(database.dsn, application_name="shop")
    conn.isolation_level = level
    return conn


def enter(conn: psycopg.Connection, tenant: str = A) -> tuple[int, bool, str | None]:
    row = conn.execute(ENTER, (tenant,)).fetchone()
    assert row is not None
    return row


def enter_key(database: Database, key: bytes, holder: str | None, tenant: str = A) -> None:
    """For a block that runs; without one, for a block that begins and ends here."""
    with psycopg.connect(database.dsn, autocommit=True) as conn, session(database) as block:
        if holder is None:
            (holder,) = block.execute("SELECT pg_current_xact_id()::text").fetchone() or (None,)
        conn.execute(TOUCH, (tenant, [key], holder))


def entries(database: Database, feed: Feed = FEED) -> list[Touch]:
    return journal.touched(database, feed, "redis", 1000)


def only(database: Database) -> Touch:
    (entry,) = entries(database)
    return entry


def execute(database: Database, statement: str) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(statement)
