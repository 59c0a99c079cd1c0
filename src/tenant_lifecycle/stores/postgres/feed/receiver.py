"""Reads the stream over COPY_BOTH, keeps the server's patience, and connects again whenever the wire is cut.

Protocol: PostgreSQL documentation, "Streaming Replication Protocol". What may be forgotten is told to the
server regularly: what is synced to the spool before the applier runs, what is applied afterwards.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from struct import Struct

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.pq.abc import PGconn

from tenant_lifecycle.errors import FeedGap, LifecycleError, SpoolFull, StoreUnavailable
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres.connection import Connection, session_options, translated
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed import wire
from tenant_lifecycle.stores.postgres.feed.intake import Intake
from tenant_lifecycle.stores.postgres.feed.spool import WRITE_BYTES, Spool

logger = logging.getLogger(__name__)

_DATA, _KEEPALIVE = b"wk"
_keepalive = Struct(">QqB").unpack_from
_status = Struct(">cQQQqB").pack
_wal_end = Struct(">Q").unpack_from

#: How often the server is told where we are; its patience (wal_sender_timeout) is never below a second.
STATUS_S = 0.3
#: How often the spool is forced to disk while it only grows.
SYNC_S = 0.2
#: So much of the log without a change of ours, and the target writes down that it was seen.
PROGRESS_BYTES = 1 << 20
#: Messages treated before the clock is looked at.
_BURST = 256
#: An older session on our slot gets so long to notice that its wire was cut.
_STEAL_AFTER_S = 0.5


class Receiver:
    """One feed's reader, to be run in a thread; `stop` ends it."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        intake: Intake,
        spool: Spool,
        confirmed: int,
        applied: Callable[[], int],
        still_ours: Callable[[], None],
    ) -> None:
        self._database = database
        self._feed = feed
        self._intake = intake
        self._spool = spool
        self._applied = applied
        self._still_ours = still_ours
        self._stopping = threading.Event()
        self._woken, self._waker = os.pipe()
        #: What is safe on our disk. What an earlier process left there counts only if we go on spooling: a
        #: follower that begins to apply at once acknowledges nothing but what is applied.
        self._synced = confirmed
        self._synced_at = time.monotonic()
        self._told_at = 0.0
        self._told = 0
        self._progress_wanted = False
        #: Why receiving is paused, None while it is not.
        self.full: SpoolFull | None = None
        #: How often the stream was begun, and the end of the log as the server last told it.
        self.connected = 0
        self.received = 0

    def run(self) -> None:
        """Receive until `stop`.

        Raises:
            FeedGap: the slot is gone or invalidated.
            FeedError: the stream says something that ends the feed.
            StoreRejected: the server refuses us for good.
        """
        pause = 0.05
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._receive()
            except StoreUnavailable as exc:
                if time.monotonic() - began > 5:
                    pause = 0.05
                logger.warning("feed %s: %s; connecting again", self._feed.name, exc)
                self._stopping.wait(pause)
                pause = min(pause * 2, 2.0)

    def stop(self) -> None:
        """Make `run` return soon; safe to repeat."""
        self._stopping.set()
        os.write(self._waker, b"x")

    def close(self) -> None:
        """Give back what `run` used; after it has returned."""
        os.close(self._woken)
        os.close(self._waker)

    def _receive(self) -> None:
        session = self._start()
        try:
            self._intake.restart(self._intake.reached)
            self.connected += 1
            self._loop(session.pgconn)
        finally:
            session.close()
            self._intake.restart(self._intake.reached)

    # -- beginning

    def _start(self) -> Connection:
        """A connection that streams; takes the slot over from an older session of ours if it must."""
        deadline = time.monotonic() + _STEAL_AFTER_S
        while True:
            self._call(self._still_ours)
            session = wire.connect(
                self._database, f"tenant-lifecycle feed {self._feed.name}", session_options()
            )
            slot = sql.Identifier(self._feed.name).as_string(None)
            names = sql.Literal(slot).as_string(None)
            error = wire.begin(
                session,
                self._database.name,
                f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names {names}, "
                "binary 'true', messages 'true')",
            )
            if error is None:
                return session
            session.close()
            if not isinstance(error, pg.ObjectInUse):
                raise self._refused(error)
            if time.monotonic() > deadline:
                self._call(self._take_over)
            if self._stopping.wait(0.1):
                raise StoreUnavailable("stopping", store=self._database.name)

    def _refused(self, error: psycopg.Error) -> LifecycleError:
        said = str(error).strip()
        if isinstance(error, wire.GONE):
            return self._gap(said)
        return translated(error, self._database.name)

    def _gap(self, said: str) -> FeedGap:
        return FeedGap(
            f"{self._database.name}: changes were lost: {said}",
            store=self._database.name,
            next_step="abort the move and start it again: the tenant has to be copied anew",
        )

    def _take_over(self) -> None:
        with self._database.session() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
                (self._feed.name,),
            )

    def _call(self, step: Callable[[], None]) -> None:
        """Errors that waiting mends are a reason to connect again, whatever their class."""
        try:
            step()
        except LifecycleError as exc:
            if exc.retryable:
                raise StoreUnavailable(str(exc), store=self._database.name) from exc
            raise

    # -- streaming

    def _loop(self, conn: PGconn) -> None:
        poll = select.poll()
        poll.register(conn.socket, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self._stopping.is_set():
            more = self._burst(conn)
            self._housekeeping(conn, idle=not more)
            while self.full is not None and not self._stopping.is_set():
                self._stopping.wait(0.05)
                self._housekeeping(conn, idle=True)
            while self._spool.congested and not self._intake.in_transaction and not self._stopping.is_set():
                self._stopping.wait(0.002)
                self._housekeeping(conn, idle=True)
            if not more:
                poll.poll(50 if self._unsynced else int(STATUS_S * 1000))
                if self._stopping.is_set():
                    return
                self._read(conn)

    def _read(self, conn: PGconn) -> None:
        try:
            conn.consume_input()
        except psycopg.Error as exc:
            raise StoreUnavailable(f"{self._database.name}: {exc}", store=self._database.name) from exc

    def _burst(self, conn: PGconn) -> bool:
        """Treat what has arrived, up to a burst; False if nothing is left."""
        get = conn.get_copy_data
        take = self._intake.take
        for _ in range(_BURST):
            size, message = get(1)
            if size == 0:
                return False
            if size < 0:
                raise wire.ended(conn, self._database.name, self._gap)
            data = bytes(message)
            if data[0] == _DATA:
                take(data)
                if self._spool.buffered > WRITE_BYTES:
                    return True
            else:
                self._kept_alive(data)
        return True

    def _kept_alive(self, data: bytes) -> None:
        wal_end, _, wants_reply = _keepalive(data, 1)
        if wants_reply:
            self._told_at = 0.0
            self._progress_wanted = True
        if self._intake.in_transaction:
            return
        self.received = max(self.received, wal_end)
        ahead = wal_end - self._spool.position
        if ahead > PROGRESS_BYTES or (ahead > 0 and self._progress_wanted):
            self._intake.progress(wal_end)
        self._progress_wanted = False

    @property
    def _unsynced(self) -> bool:
        return not self._spool.following and self._spool.position > self._synced

    def _housekeeping(self, conn: PGconn, *, idle: bool) -> None:
        """Write the spool out, force it to disk when it is time, and tell the server."""
        now = time.monotonic()
        try:
            if idle or self._spool.following or self._spool.buffered > WRITE_BYTES:
                self._spool.flush()
            if self._unsynced and now - self._synced_at > SYNC_S:
                self._synced = self._spool.sync()
                self._synced_at = now
                self._told_at = 0.0
            self.full = None
        except SpoolFull as exc:
            if self.full is None:
                logger.warning("feed %s: %s", self._feed.name, exc)
            self.full = exc
        if now - self._told_at > STATUS_S:
            self._tell(conn)
            self._told_at = now

    def _tell(self, conn: PGconn) -> None:
        safe = max(self._synced, self._applied(), self._told)
        self._told = safe
        received = max(self._intake.reached, self.received, safe)
        try:
            conn.put_copy_data(_status(b"r", received, safe, safe, 0, 0))
            conn.flush()
        except psycopg.Error as exc:
            raise StoreUnavailable(f"{self._database.name}: {exc}", store=self._database.name) from exc
