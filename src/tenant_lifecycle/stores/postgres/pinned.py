"""What keeps deleted rows on disk although they were vacuumed, or carries them on: slots, old snapshots, standbys."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.connection import Connection

_SNAPSHOTS = """
SELECT pid, backend_start::text FROM pg_stat_activity
 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND backend_type <> 'walsender'
   AND xact_start < %(since)s::timestamptz
   AND (datname = current_database() OR datname IS NULL)
"""


def now(conn: Connection) -> str:
    """The server's clock, as text."""
    return str((conn.execute("SELECT clock_timestamp()::text").fetchone() or ("",))[0])


def wait_for_snapshots(conn: Connection, since: str, patience_s: float, check: Check) -> list[str]:
    """Wait until no transaction is open that began before ``since``; returns those that stay, one sentence each.

    What they could still see is spared by VACUUM, and VACUUM FULL copies it.
    """
    give_up = time.monotonic() + patience_s
    while (open_ := conn.execute(_SNAPSHOTS, {"since": since}).fetchall()) and time.monotonic() < give_up:
        check()
        time.sleep(0.05)
    return [
        f"the transaction of pid {pid} is older than the deletion and keeps deleted rows" for pid, _ in open_
    ]


def pins(conn: Connection) -> Iterator[str]:
    """Everything else that keeps or carries deleted rows, one sentence each."""
    for (sentence,) in conn.execute(_PINS):
        yield str(sentence)


_PINS = """
SELECT format('logical slot %s keeps the log since %s, and old rows of the catalogue', slot_name, restart_lsn)
  FROM pg_replication_slots WHERE slot_type = 'logical'
UNION ALL
SELECT format('slot %s keeps the log, and rows, for a standby', slot_name)
  FROM pg_replication_slots WHERE slot_type = 'physical' AND (restart_lsn IS NOT NULL OR xmin IS NOT NULL)
UNION ALL
SELECT format('prepared transaction %s keeps deleted rows', gid) FROM pg_prepared_xacts
 WHERE database = current_database()
UNION ALL
SELECT format('standby %s has not replayed the deletion yet', coalesce(nullif(application_name, ''), pid::text))
  FROM pg_stat_replication WHERE replay_lsn IS NOT NULL AND replay_lsn < pg_current_wal_lsn()
UNION ALL
SELECT 'archived WAL holds what was deleted; the setting wal_archive_days says until when'
 WHERE current_setting('archive_mode') <> 'off'
"""
