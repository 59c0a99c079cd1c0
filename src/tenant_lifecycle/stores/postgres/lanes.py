"""Which lane a copy worker writes in, and that no two sessions copy the same part.

Both are advisory locks of the worker's session: they vanish with it, and they show who holds them. A worker
whose process was stopped, and not ended, would hold its part for ever; a driver with a newer token ends it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.ours import Writer

#: More than any sensible number of workers; every lane that was used once is a row of ``applied``.
LANES = 64
_END_WITHIN_S = 5.0


@contextmanager
def claimed(conn: Connection, writer: Writer, part: str) -> Iterator[str]:
    """Hold the part, and a lane nobody else writes in; yields the lane's name.

    Raises:
        StoreBusy: another session of this driver, or a newer one, copies the part; or no lane is free.
    """
    name = f"{writer.feed}/{part}"
    conn.execute("SELECT set_config('application_name', %s, false)", (_session_name(writer),))
    try:
        give_up = time.monotonic() + _END_WITHIN_S
        while not _try_part(conn, name):
            if not _end_older_holder(conn, writer, name) or time.monotonic() > give_up:
                raise StoreBusy(
                    f"part {part} of feed {writer.feed} is being copied by another session", store=writer.feed
                )
            time.sleep(0.02)
        yield _lane(conn, writer)
    finally:
        if not conn.closed and conn.info.transaction_status.name == "IDLE":
            conn.execute(
                "SELECT pg_advisory_unlock_all(), set_config('application_name', 'tenant-lifecycle', false)"
            )


def _session_name(writer: Writer) -> str:
    return f"tenant-lifecycle copy token={writer.token}"


def _try_part(conn: Connection, name: str) -> bool:
    (got,) = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('tenant_lifecycle.part/' || %s, 0))", (name,)
    ).fetchone() or (False,)
    return bool(got)


def _lane(conn: Connection, writer: Writer) -> str:
    found = conn.execute(
        "SELECT n FROM generate_series(0, %s) n "
        "WHERE pg_try_advisory_lock(hashtextextended('tenant_lifecycle.lane/' || %s || '/' || n, 0)) LIMIT 1",
        (LANES - 1, writer.feed),
    ).fetchone()
    if found is None:
        raise StoreBusy(f"all {LANES} copy lanes of feed {writer.feed} are in use", store=writer.feed)
    return f"copy-{found[0]}"


def _end_older_holder(conn: Connection, writer: Writer, name: str) -> bool:
    """End the session that holds the part if it is ours with a smaller token; False if it may go on."""
    holder = conn.execute(
        "SELECT l.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid, "
        "hashtextextended('tenant_lifecycle.part/' || %s, 0) k "
        "WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted "
        "AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) "
        "AND (l.classid::bigint << 32 | l.objid::bigint) = k AND l.pid <> pg_backend_pid()",
        (name,),
    ).fetchone()
    if holder is None:
        return True
    pid, application = holder
    token = re.fullmatch(r"tenant-lifecycle copy token=(\d+)", str(application))
    if token is None or int(token[1]) >= writer.token:
        return False
    conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
    return True
