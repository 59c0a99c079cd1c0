"""What is known of other environments beside the writer: which of them follow a tenant, and how far they are."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
from psycopg import errors as pg
from psycopg.rows import tuple_row

from tenant_lifecycle.client.gate import Connection, NeverBegun, WriterGate

#: How long it is believed which environments follow a tenant, and which feeds of a database run, seconds.
_TARGETS_S, _FEEDS_S = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What an environment's database says about a tenant."""

    #: The fence's state; None: not managed there.
    state: str | None
    #: By feed: the position it reached, None before it follows.
    reached: dict[str, int | None]


def whereabouts(conn: Connection, tenant: str) -> Whereabouts:
    """Read in the caller's transaction; a database without our functions knows nobody."""
    try:
        with conn.transaction(), conn.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute("SELECT state FROM tenant_lifecycle.whereabouts(%s)", (tenant,)).fetchone()
            reached = cursor.execute(
                "SELECT feed, (position - '0/0'::pg_catalog.pg_lsn)::bigint FROM tenant_lifecycle.reached(%s)",
                (tenant,),
            ).fetchall()
    except (pg.InvalidSchemaName, pg.UndefinedFunction):
        return Whereabouts(None, {})
    return Whereabouts(None if row is None else row[0], dict(reached))


class Neighbours:
    """Asks other environments, and remembers the answers for a moment. Safe to share by threads."""

    def __init__(self, gate: WriterGate, environments: tuple[str, ...]) -> None:
        self._gate = gate
        self._environments = environments
        self._lock = threading.Lock()
        self._targets: dict[tuple[str, str, tuple[str, ...]], tuple[float, list[str]]] = {}
        self._feeds: dict[str, tuple[float, frozenset[str]]] = {}
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="tenant-lifecycle-neighbours")

    def targets(self, tenant: str, writer: str, feeds: tuple[str, ...]) -> list[str]:
        """Environments that these feeds of the writer fill, as far as is known; never waits.

        What is not known is asked in the background. An environment that no feed fills gets nobody's data.
        """
        key = (tenant, writer, feeds)
        with self._lock:
            asked_at, found = self._targets.get(key, (0.0, []))
            stale = time.monotonic() - asked_at > _TARGETS_S
            if stale:
                self._targets[key] = (time.monotonic(), found)
        if stale:
            self._asking.submit(self._learn, key)
        return found

    def _learn(self, key: tuple[str, str, tuple[str, ...]]) -> None:
        tenant, writer, feeds = key
        found = []
        for environment in self._environments:
            try:
                if environment != writer and set(self.ask(environment, tenant).reached) & set(feeds):
                    found.append(environment)
            except (psycopg.Error, NeverBegun):
                continue
        with self._lock:
            self._targets[key] = (time.monotonic(), found)
            if len(self._targets) > 10_000:
                self._targets.clear()

    def ask(self, environment: str, tenant: str) -> Whereabouts:
        """On a connection of its own; raises what psycopg raises, or `NeverBegun`."""
        with self._gate.connection(environment) as conn:
            return whereabouts(conn, tenant)

    def running_feeds(self, environment: str) -> frozenset[str]:
        """Feeds that somebody receives from an environment's database right now; none if it does not answer."""
        with self._lock:
            asked_at, feeds = self._feeds.get(environment, (0.0, frozenset()))
        if time.monotonic() - asked_at <= _FEEDS_S:
            return feeds
        try:
            with self._gate.connection(environment) as conn, conn.transaction():
                with conn.cursor(row_factory=tuple_row) as cursor:
                    rows = cursor.execute(
                        "SELECT slot_name FROM pg_catalog.pg_replication_slots "
                        "WHERE active AND database = pg_catalog.current_database()"
                    ).fetchall()
            feeds = frozenset(name for (name,) in rows)
        except (psycopg.Error, NeverBegun):
            feeds = frozenset()
        with self._lock:
            self._feeds[environment] = (time.monotonic(), feeds)
        return feeds

    def close(self) -> None:
        self._asking.shutdown(wait=False, cancel_futures=True)
