"""Runs one feed: a thread that receives, a thread that applies, and what others may ask of them."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from tenant_lifecycle.errors import FeedError, FeedGap, LifecycleError, SpoolFull
from tenant_lifecycle.stores.base import Feed, Follower, Keys, Lag
from tenant_lifecycle.stores.postgres import ours
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed.apply import LANE, Applier, Progress, Sides, stored_position
from tenant_lifecycle.stores.postgres.feed.intake import MARKER, Intake, canary
from tenant_lifecycle.stores.postgres.feed.keyset import IN_MEMORY
from tenant_lifecycle.stores.postgres.feed.layout import read_layouts, refuse_other_target
from tenant_lifecycle.stores.postgres.feed.position import from_lsn, to_lsn
from tenant_lifecycle.stores.postgres.feed.receiver import Receiver
from tenant_lifecycle.stores.postgres.feed.rules import build_owner, seed
from tenant_lifecycle.stores.postgres.feed.spool import Spool
from tenant_lifecycle.stores.postgres.tables import read_tables

logger = logging.getLogger(__name__)

#: A batch in hand gets so long to end by itself.
STOP_S = 5.0
#: Markers that passed and that nobody asked for yet.
_PASSED_LIMIT = 1000


class PostgresFollower:
    """`base.Follower` for a pair of PostgreSQL databases."""

    def __init__(
        self,
        source: Database,
        target: Database,
        feed: Feed,
        spool: Path,
        *,
        limit_bytes: int | None = None,
        keys_in_memory: int = IN_MEMORY,
    ) -> None:
        self._source, self._target, self._feed, self._folder = source, target, feed, spool
        self._limit_bytes = limit_bytes
        self._keys_in_memory = keys_in_memory
        self._changed = threading.Condition()
        self._passed: dict[str, None] = {}
        self._awaited = 0
        self._error: LifecycleError | None = None
        self._threads: list[threading.Thread] = []
        self._sides: Sides | None = None
        self._applier: Applier | None = None
        self._marks: Connection | None = None
        self._marks_lock = threading.Lock()
        self._mark_sql = b""
        self._stopped = False

    # -- base.Follower

    def start(self) -> None:
        """Begin to receive; see `base.Follower.start`."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._mark_connection()
        self._sides = self._read_sides()
        owner = self._sides.owner
        stored, confirmed = self._positions()
        self._spool = Spool(
            self._folder, self._source.name, tuple(self._sides.layouts), limit_bytes=self._limit_bytes
        )
        reached = self._spool.open(stored, confirmed)
        if confirmed > reached:
            raise self._gap(
                f"the source has forgotten what came before {to_lsn(confirmed)}, target and spool reach only "
                f"{to_lsn(reached)}"
            )
        with self._source.session() as conn:
            seed(conn, owner, self._sides.resolved)
        self._progress = Progress(stored, stored)
        intake = Intake(self._source.name, self._feed, self._sides.layouts, owner, self._spool)
        intake.reached = reached
        self._receiver = Receiver(
            self._source,
            self._feed,
            intake,
            self._spool,
            confirmed=confirmed,
            applied=lambda: self._progress.stored,
            still_ours=self._refuse_if_superseded,
        )
        self._run("receive", self._receiver.run)

    def apply(self) -> None:
        """Begin to apply; see `base.Follower.apply`."""
        assert self._sides is not None
        if self._applier is not None:
            return
        self._spool.follow()
        self._applier = Applier(
            self._sides, self._spool, self._progress, self._markers_passed, lambda: self._awaited > 0
        )
        self._run("apply", self._applier.run)

    def mark(self) -> str:
        """Put a marker into the stream; see `base.Follower.mark`."""
        name = f"{self._feed.name}:{uuid.uuid4().hex}"
        with self._marks_lock:
            for attempt in (1, 2):
                try:
                    with translating(self._source.name):
                        self._mark_connection().execute(self._mark_sql, (MARKER, name), prepare=True)
                    break
                except LifecycleError as exc:
                    self._close_marks()
                    if attempt == 2 or not exc.retryable:
                        raise
        return name

    def await_marker(self, marker: str, timeout_s: float) -> bool:
        """Wait for a marker; see `base.Follower.await_marker`."""
        with self._changed:
            self._awaited += 1
            try:
                self._changed.wait_for(lambda: marker in self._passed or self._error is not None, timeout_s)
            finally:
                self._awaited -= 1
            if marker in self._passed:
                del self._passed[marker]
                return True
        self.check()
        for trouble in (self.paused(), self._progress.trouble):
            if trouble is not None:
                raise trouble
        return False

    def lag(self) -> Lag:
        """How far behind; see `base.Follower.lag`."""
        self.check()
        with self._marks_lock, translating(self._source.name):
            try:
                row = self._mark_connection().execute("SELECT pg_current_wal_lsn()::text").fetchone()
            except psycopg.Error:
                self._close_marks()
                raise
        assert row is not None
        received = max(self._receiver.received, self._spool.position)
        since = [s for s in (self._progress.in_hand_since, self._spool.oldest()) if s is not None]
        return Lag(
            bytes=max(0, from_lsn(str(row[0])) - received),
            seconds=max(0.0, time.time() - min(since)) if since else 0.0,
            waiting=self._spool.waiting,
            applied=self._progress.applied,
        )

    def take_touched(self) -> Keys:
        """Keys applied since the last call; ``b""`` in a set means that everything in it may have changed."""
        with self._progress.lock:
            touched, self._progress.touched = self._progress.touched, {}
        return self._by_set(touched)

    def take_foreign(self) -> Keys:
        """Keys of rows written at the source although the target is the writer; see `base.Follower.take_foreign`."""
        with self._progress.lock:
            foreign, self._progress.foreign = self._progress.foreign, {}
        return self._by_set(foreign)

    def _by_set(self, keys: Mapping[int, set[bytes]]) -> Keys:
        assert self._sides is not None
        return {str(self._sides.layouts[number].name): frozenset(some) for number, some in keys.items()}

    def paused(self) -> SpoolFull | None:
        """Why nothing is received at the moment: the spool is full; None while all is well.

        It is no reason to fail: changes wait at the source, and receiving goes on when there is room.
        """
        return self._receiver.full

    def patience_s(self) -> float:
        """A minute; see `base.Follower.patience_s`."""
        return 60.0

    def settles_in_s(self) -> float:
        """Nothing beyond the lag."""
        return 0.0

    def check(self) -> None:
        """Raise what stopped a thread, if something did."""
        if self._error is not None:
            raise self._error

    def epoch(self) -> str:
        """Always the same: a slot that lost something ends the feed with `FeedGap`."""
        return ""

    def stop(self) -> None:
        """End the threads; safe to repeat."""
        if self._stopped:
            return
        self._stopped = True
        if self._applier is not None:
            self._applier.stop()
        if self._threads:
            self._receiver.stop()
        for thread in self._threads:
            thread.join(STOP_S)
            if thread.is_alive() and self._applier is not None:
                self._applier.cancel()  # it waits for somebody's lock; the batch is rolled back
            thread.join()
        if self._threads:
            self._receiver.close()
            self._spool.close()
        if self._sides is not None:
            self._sides.owner.close()
        with self._marks_lock:
            self._close_marks()
        with self._changed:
            self._changed.notify_all()

    # -- starting

    def _read_sides(self) -> Sides:
        """What both databases look like now.

        Raises:
            SourceChanged: a published column is not on the target.
            StoreRejected: ownership cannot be decided in the stream.
        """
        with self._target.session() as conn:
            there = read_tables(conn)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._source.session() as conn:
            tables = read_tables(conn)
            resolved = self._source.map.resolve(self._feed.tenant, frozenset(tables))
            layouts = read_layouts(conn, tables, resolved.moved)
            refuse_other_target(self._source.name, self._target.name, layouts, there)
            owner = build_owner(
                conn, self._source.name, layouts, resolved, self._folder, self._keys_in_memory
            )
        return Sides(self._source, self._target, self._feed, layouts, there, resolved, owner)

    def _positions(self) -> tuple[int, int]:
        """What the target holds and what the source was told it may forget; begins with the slot's start.

        Raises:
            FeedGap: there is no slot, or the source is younger than what the target holds.
            Fenced: a newer driver writes for this feed.
        """
        with self._source.session() as conn:
            row = conn.execute(
                "SELECT confirmed_flush_lsn::text, pg_current_wal_lsn()::text FROM pg_replication_slots "
                "WHERE slot_name = %s AND coalesce(wal_status, '') <> 'lost'",
                (self._feed.name,),
            ).fetchone()
        if row is None or row[0] is None:
            raise self._gap(f"there is no usable slot {self._feed.name}")
        confirmed, now = from_lsn(str(row[0])), from_lsn(str(row[1]))
        with self._target.session() as conn:
            ours.register_lane(conn, ours.Writer(self._feed.name, self._feed.tenant, self._feed.token), LANE)
            stored = stored_position(conn, self._feed)
            if stored is None:
                stored = confirmed
                conn.execute(
                    "UPDATE tenant_lifecycle.applied SET position = %s::pg_lsn WHERE feed = %s AND lane = %s "
                    "AND position IS NULL",
                    (to_lsn(confirmed), self._feed.name, LANE),
                )
        if stored > now:
            raise self._gap(f"the target holds {to_lsn(stored)}, and the source's log ends at {to_lsn(now)}")
        return stored, confirmed

    def _gap(self, what: str) -> FeedGap:
        return FeedGap(
            f"{self._source.name}: changes were lost: {what}",
            store=self._source.name,
            next_step="abort the move and start it again: the tenant has to be copied anew",
        )

    def _refuse_if_superseded(self) -> None:
        """Raise `Fenced` when a newer driver took the feed over."""
        writer = ours.Writer(self._feed.name, self._feed.tenant, self._feed.token)
        with self._target.session() as conn:
            ours.register_lane(conn, writer, LANE)

    # -- threads

    def _run(self, what: str, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except LifecycleError as exc:
                self._failed(exc)
            except Exception as exc:
                logger.exception("feed %s: %s failed", self._feed.name, what)
                error = FeedError(
                    f"{self._source.name}: the feed failed to {what}: {type(exc).__name__}: {exc}",
                    store=self._source.name,
                )
                error.__cause__ = exc
                self._failed(error)

        thread = threading.Thread(target=guarded, name=f"{self._feed.name} {what}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _failed(self, error: LifecycleError) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()

    def _markers_passed(self, markers: list[str]) -> None:
        with self._changed:
            self._passed.update(dict.fromkeys(markers))
            while len(self._passed) > _PASSED_LIMIT:
                del self._passed[next(iter(self._passed))]
            self._changed.notify_all()

    # -- markers

    def _mark_connection(self) -> Connection:
        if self._marks is None or self._marks.closed:
            self._marks = self._source.connect(f"feed {self._feed.name} markers")
            # Written outside any transaction and flushed, where the server can flush on request; elsewhere
            # the commit of the message's own transaction flushes it.
            flush = self._marks.info.server_version >= 170_000
            call = "false, %s, %s, true" if flush else "true, %s, %s"
            self._mark_sql = f"SELECT pg_logical_emit_message({call})".encode()
        return self._marks

    def _close_marks(self) -> None:
        if self._marks is not None:
            with contextlib.suppress(psycopg.Error):
                self._marks.close()
            self._marks = None


def follow(source: Database, target: Database, feed: Feed, spool: Path) -> PostgresFollower:
    """A follower, not yet started; ``spool`` is a folder of its own."""
    return PostgresFollower(source, target, feed, spool)


def prove_feed(source: Database, feed: Feed, follower: Follower, timeout_s: float) -> bool:
    """Write a canary at the source, not as ours, and see it come out at the target."""
    value = uuid.uuid4().hex
    with source.session() as conn:
        conn.execute(
            sql.SQL(
                "INSERT INTO tenant_lifecycle.canary (feed, value) VALUES (%s, %s) "
                "ON CONFLICT (feed) DO UPDATE SET value = excluded.value"
            ),
            (feed.name, value),
        )
    return follower.await_marker(canary(value), timeout_s)
