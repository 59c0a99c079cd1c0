"""Writing tenant data as ourselves: triggers off, old drivers refused, the transaction marked as ours.

A transaction begun here starts with an UPDATE of our row in ``tenant_lifecycle.applied``. That one statement
is the store's guard against a driver that lost its lease (design, E2) and the loop guard: the other
direction's feed publishes the table and skips every transaction that begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.connection import Connection

#: The lane in which a feed's changes are applied.
STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Writer:
    """In whose name we write into a target: the feed, the tenant, and the driver's token."""

    feed: str
    tenant: TenantId
    token: int


def install(conn: Connection) -> None:
    """Create our schema if it is missing; safe to repeat, and from several sessions at once."""
    with conn.transaction():
        # CREATE ... IF NOT EXISTS of two sessions at once fails in one of them.
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('tenant_lifecycle.install', 0))")
        conn.execute(files(__package__).joinpath("schema.sql").read_bytes())


def register_lane(conn: Connection, writer: Writer, lane: str) -> None:
    """Make sure the lane's row exists and carries no token newer than ours; commits by itself.

    Raises:
        Fenced: a newer driver was here.
    """
    cursor = conn.execute(
        "INSERT INTO tenant_lifecycle.applied (feed, lane, tenant, token) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (feed, lane) DO UPDATE SET token = excluded.token WHERE applied.token <= excluded.token",
        (writer.feed, lane, writer.tenant, writer.token),
    )
    _refuse_if_fenced(cursor.rowcount, writer)


@contextmanager
def writing(conn: Connection, writer: Writer, lane: str, position: str | None = None) -> Iterator[bool]:
    """A transaction of ours on an autocommit connection; ``conn`` must have run `register_lane` once.

    ``position`` (an LSN of the source) is stored with it: when this commits, everything before it is applied.
    Yields whether this database is the tenant's writer at the moment; a flip that makes it the writer, or no
    longer, waits for the feed's marker, so that does not change before the commit.

    Raises:
        Fenced: a newer driver was here; nothing is written.
    """
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        cursor = conn.execute(
            "UPDATE tenant_lifecycle.applied SET writes = writes + 1, token = %(token)s, "
            "position = coalesce(%(position)s::pg_lsn, position), applied_at = clock_timestamp() "
            "WHERE feed = %(feed)s AND lane = %(lane)s AND token <= %(token)s "
            "RETURNING EXISTS (SELECT FROM tenant_lifecycle.fence f WHERE f.tenant = %(tenant)s "
            "AND f.state IN ('ACTIVE', 'FENCED'))",
            {
                "feed": writer.feed,
                "lane": lane,
                "token": writer.token,
                "position": position,
                "tenant": writer.tenant,
            },
        )
        _refuse_if_fenced(cursor.rowcount, writer)
        yield cursor.fetchone() == (True,)


def hold_stream(conn: Connection, writer: Writer) -> None:
    """In a transaction of ours: nothing of the feed's stream is applied until the transaction ends.

    What was applied before had been committed at the source before, so what is read there from now on is no
    older than what the target has.
    """
    conn.execute(
        "SELECT FROM tenant_lifecycle.applied WHERE feed = %s AND lane = %s FOR UPDATE", (writer.feed, STREAM)
    )


def _refuse_if_fenced(rowcount: int, writer: Writer) -> None:
    if rowcount != 1:
        raise Fenced(f"a newer driver than token {writer.token} writes for feed {writer.feed}")
