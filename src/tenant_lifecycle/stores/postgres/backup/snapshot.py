"""A session that sees one moment, and a position in the log from which on everything else is.

A transaction is in the log a little before others see it (its commit record comes first). So the position is not
simply the log's end when the snapshot is taken: a commit just before it may be in neither. It is read *earlier*, and
the snapshot taken once every transaction is gone that was under way at that position and could have been past its
commit record. What base and log then both have is told apart by `Snapshot.sees`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.stores.postgres.backup.form import use_text_settings
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database

#: A statement that runs for longer is no commit on its way, unless it waits for the log or a standby.
COMMITS_WITHIN_S = 3.0
#: How long a commit may wait for the log or a standby before a base is given up.
WAIT_S = 60.0

_NOW = (
    "SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::int8, "
    "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"
)

#: Transactions that write, by the lock each has on its own number until others see how it ended. (A snapshot does not
#: name those that are younger than the last one that ended.)
_WRITING = """
SELECT l.virtualtransaction, l.transactionid::text FROM pg_locks l
 WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
"""

#: Of some of them, those that may be committing: not those that wait for their client or for a lock. A prepared one
#: has no session; who commits it has. The second number counts those that are known to be: they wait for the log.
_COMMITTING = """
SELECT count(*), count(*) FILTER (WHERE a.wait_event IN ('SyncRep', 'WALSync', 'WalSync', 'WALWrite', 'WalWrite',
                                                         'WALWriteLock', 'WALBufMappingLock'))
  FROM unnest(%s::text[], %s::text[]) w(vxid, xid)
  JOIN pg_locks l ON l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
                 AND l.virtualtransaction = w.vxid AND l.transactionid::text = w.xid
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE CASE WHEN l.pid IS NULL THEN EXISTS (SELECT FROM pg_stat_activity c WHERE c.state = 'active'
                                               AND coalesce(c.query, '') ~* 'commit +prepared' AND c.pid <> pg_backend_pid())
            ELSE coalesce(a.state, 'active') = 'active'
                 AND coalesce(a.wait_event_type, '') NOT IN ('Lock', 'Client', 'Timeout') END
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a session sees."""

    snapshot: Snapshot
    #: Microseconds since 1970, the server's clock, when the snapshot had been taken.
    at_us: int


@contextmanager
def seeing_one_moment(database: Database) -> Iterator[tuple[Connection, Moment]]:
    """A read-only session in one snapshot, with `TEXT_SETTINGS`; ``snapshot.lsn`` is where the log goes on.

    Raises:
        StoreBusy: a transaction has been committing for longer than `WAIT_S`.
    """
    conn = database.connect("backup")
    try:
        with translating(database.name):
            use_text_settings(conn)
            # Between two sets we may have to wait for the repository.
            conn.execute("SET idle_in_transaction_session_timeout = '10min'")
            position = _settled_position(database, conn)
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot, _, at_us = _look(conn)
            moment = Moment(Snapshot.parse(snapshot, position), at_us)
        yield conn, moment
    finally:
        conn.close()


def _settled_position(database: Database, conn: Connection) -> int:
    _, position, _ = _look(conn)
    writing = conn.execute(_WRITING).fetchall()
    began = time.monotonic()
    while writing:
        suspects, committing = _committing(conn, writing)
        waited = time.monotonic() - began
        if not suspects or (not committing and waited > COMMITS_WITHIN_S):
            break
        if waited > WAIT_S:
            raise StoreBusy(
                f"{database.name}: a transaction has been committing for {waited:.0f} s",
                store=database.name,
                next_step="look for a synchronous standby that does not answer; it is tried again by itself",
            )
        time.sleep(0.01)
    return position


def _look(conn: Connection) -> tuple[str, int, int]:
    row = conn.execute(_NOW).fetchone()
    assert row is not None, "a SELECT without FROM has a row"
    text, position, at_us = row
    return str(text), int(str(position)), int(str(at_us))


def _committing(conn: Connection, writing: list[tuple[object, ...]]) -> tuple[int, int]:
    row = conn.execute(_COMMITTING, ([one[0] for one in writing], [one[1] for one in writing])).fetchone()
    assert row is not None, "an aggregate has a row"
    return int(str(row[0])), int(str(row[1]))
