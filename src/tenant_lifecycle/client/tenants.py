"""The client of an application: write where the tenant's writer is, in all its stores; read what is fresh enough.

A block runs inside one transaction on the writer that holds the tenant's lock. So a flip that drains the lock
has drained the writes of every store, and what was written before it is in the journal.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import psycopg
from psycopg.rows import tuple_row

from tenant_lifecycle.client import tokens
from tenant_lifecycle.client.counts import Counts
from tenant_lifecycle.client.door import Entered
from tenant_lifecycle.client.environment import Environment
from tenant_lifecycle.client.gate import Connection, NeverBegun, Writer, WriterGate, transact
from tenant_lifecycle.client.mirror import Mirror
from tenant_lifecycle.client.near import Neighbours, whereabouts
from tenant_lifecycle.client.outcome import UnknownOutcome
from tenant_lifecycle.client.places import open_places
from tenant_lifecycle.client.routes import RouteListener
from tenant_lifecycle.client.session import Session
from tenant_lifecycle.errors import TenantMoved, UsageError

Value = TypeVar("Value")
#: How long a block may write to stores, seconds.
BLOCK_LIMIT_S = 5.0
#: How long mirroring may keep a block, seconds.
MIRROR_TIMEOUT_S = 0.25
_POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class Written(Generic[Value]):
    """A block's outcome."""

    #: What the block returned.
    value: Value
    #: Give it to `TenantClient.read` (through a cookie, say) to read at least this write.
    token: str


@dataclass(frozen=True, slots=True)
class ReadSession:
    """What a reading block gets."""

    environment: str
    #: A connection in a transaction; to be read only.
    postgres: Connection
    #: The application's own clients there, by the store's name.
    stores: Mapping[str, Any]


class TenantClient:
    """Runs an application's blocks in the right environment. Safe to share by threads."""

    def __init__(
        self,
        environments: Mapping[str, Environment],
        home: str,
        local: str | None = None,
        *,
        block_limit_s: float = BLOCK_LIMIT_S,
        mirror_timeout_s: float = MIRROR_TIMEOUT_S,
        on_count: Callable[[str, int], None] | None = None,
    ) -> None:
        """``home`` is the environment of tenants that nobody manages, ``local`` this application's own one.

        ``mirror_timeout_s`` 0: nothing is written to the other side. ``on_count`` hears of every counter
        (`counts.MEANINGS`).

        Raises:
            ValueError: ``home`` is not one of the environments.
            UsageError: ``local`` is not, or an object given as a store is no client known here.
        """
        if local is not None and local not in environments:
            raise UsageError(f"local {local!r} is none of the environments {sorted(environments)}")
        self._gate = WriterGate({name: one.postgres for name, one in environments.items()}, home)
        self._environments = dict(environments)
        self._local = local
        self._limit_s = block_limit_s
        self._counts = Counts(on_count)
        self._places = open_places(environments, mirror_timeout_s)
        self._mirror = Mirror(mirror_timeout_s, self._counts)
        self._neighbours = Neighbours(self._gate, tuple(environments))
        self._listeners: list[RouteListener] = []

    # -- writing

    def write(
        self, tenant: str, block: Callable[[Session], Value], deadline_s: float = 10.0
    ) -> Written[Value]:
        """Run ``block`` in a transaction on the tenant's writer and commit it.

        Refused because the tenant moved (TL001), or for a conflict that a repetition resolves (40001), it is
        repeated until the deadline: a block may run more than once, and what it wrote to other stores than
        PostgreSQL stays written.

        Raises:
            TenantMoved: no environment accepted the tenant's writes before the deadline.
            UnknownOutcome: the connection was lost during COMMIT.
            BlockEnded: the block ran too long, or went on after its transaction had failed.
            JournalUnreachable: a key could not be entered; the transaction was rolled back.
            Exception: whatever else the block raised; the transaction was rolled back.
        """
        return self._gate.repeat(tenant, lambda writer: self._write_once(tenant, writer, block), deadline_s)

    def _write_once(self, tenant: str, writer: Writer, block: Callable[[Session], Value]) -> Written[Value]:
        place = self._places[writer.environment]
        sessions: list[Session] = []
        entered = Entered()
        complete = True

        def ask(conn: Connection) -> None:
            nonlocal entered
            entered = place.door.enter(conn, tenant)

        def inside(conn: Connection) -> Value:
            nonlocal complete
            session = Session(tenant, place, conn, entered, self._limit_s, self._counts)
            sessions.append(session)
            value = block(session)
            if session.written:
                targets = self._neighbours.targets(tenant, place.name, entered.feeds)
                complete = bool(targets) and self._mirror.carry(
                    session, place, [self._places[name] for name in targets]
                )
            session.finish()
            return value

        with self._gate.connection(place.name) as conn:
            try:
                value = transact(conn, tenant, place.name, ask, inside)
            except UnknownOutcome:
                raise
            except BaseException:
                for session in sessions:
                    session.settle()
                raise
            self._counts.add("blocks")
            position = _behind(conn, entered)
        until = 0 if complete else int(time.time() + tokens.DOUBT_S) + 1
        return Written(value, tokens.Token(place.name, entered.epoch, position, until).encode(tenant))

    # -- reading

    def read(
        self,
        tenant: str,
        block: Callable[[ReadSession], Value],
        token: str | None = None,
        deadline_s: float = 10.0,
    ) -> Value:
        """Run a block that only reads, in ``local`` if it is the writer or follows it and has what the token
        stands for; else at the writer.

        A token that is not one of ours for this tenant counts as none.

        Raises:
            TenantMoved: between two writers until the deadline.
        """
        wanted = None
        if token:
            wanted = tokens.decode(token, tenant)
            self._counts.add("tokens_ignored", wanted is None)
        give_up = time.monotonic() + deadline_s
        while True:
            writer = self._gate.writer(tenant, give_up)
            place = self._place_to_read(tenant, writer, wanted)
            try:
                value = self._read_once(tenant, place, place == writer.environment, block)
            except NeverBegun as exc:
                if time.monotonic() >= give_up:
                    raise exc.cause from None
            except _NotTheWriter:
                if time.monotonic() >= give_up:
                    raise TenantMoved(
                        f"no environment is the writer of tenant {tenant}", epoch=writer.epoch, target=place
                    ) from None
            else:
                self._counts.add("reads_local" if place == self._local else "reads_at_writer")
                return value
            self._gate.forget(tenant)
            time.sleep(_POLL_S)

    def _read_once(
        self, tenant: str, place: str, as_writer: bool, block: Callable[[ReadSession], Value]
    ) -> Value:
        values: list[Value] = []

        def ask(conn: Connection) -> None:
            if as_writer and whereabouts(conn, tenant).state not in (None, "ACTIVE", "FENCED"):
                raise _NotTheWriter

        def inside(conn: Connection) -> None:
            values.append(block(ReadSession(place, conn, self._environments[place].stores)))

        # A COMMIT without an answer is nothing to a reader.
        with self._gate.connection(place) as conn, contextlib.suppress(UnknownOutcome):
            transact(conn, tenant, place, ask, inside)
        return values[0]

    def _place_to_read(self, tenant: str, writer: Writer, wanted: tokens.Token | None) -> str:
        local = self._local
        if local is None or local == writer.environment:
            return writer.environment
        if wanted is not None and (
            (wanted.environment, wanted.epoch) != (writer.environment, writer.epoch)
            or not wanted.position
            or wanted.doubtful_until > time.time()
        ):
            return writer.environment
        try:
            seen = self._neighbours.ask(local, tenant)
        except (psycopg.Error, NeverBegun):
            return writer.environment
        running = self._neighbours.running_feeds(writer.environment)
        positions = [at for feed, at in seen.reached.items() if at is not None and feed in running]
        needed = wanted.position if wanted is not None else 0
        return local if any(at >= needed for at in positions) else writer.environment

    # -- the rest

    def writer(self, tenant: str) -> Writer:
        """The tenant's writer as far as is known."""
        return self._gate.writer(tenant)

    def counts(self) -> dict[str, int]:
        """What happened so far, by the names of `counts.MEANINGS`."""
        return self._counts.snapshot()

    def listen(self) -> None:
        """Hear of changed writers at once, in one thread and connection per environment, until `close`."""
        if self._listeners:
            return
        self._listeners = [
            RouteListener(self._gate, name, lambda: self._counts.add("routes_pushed"))
            for name in self._environments
        ]
        for listener in self._listeners:
            listener.start()

    def close(self) -> None:
        """End our threads and connections; the application's own clients stay open. Safe to repeat."""
        for listener in self._listeners:
            listener.stop()
        self._listeners = []
        self._neighbours.close()
        for place in self._places.values():
            place.door.close()
            for side in place.sides.values():
                side.close()
        self._gate.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _behind(conn: Connection, entered: Entered) -> int:
    """A position behind the commit, for tokens; 0 if it cannot be had: the write itself is done."""
    if not entered.feeds:
        return 0
    try:
        with conn.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(
                "SELECT (tenant_lifecycle.behind(%s) - '0/0'::pg_catalog.pg_lsn)::bigint",
                (list(entered.feeds),),
            ).fetchone()
        if not conn.autocommit:
            conn.commit()
    except psycopg.Error:
        return 0
    return 0 if row is None else int(row[0])


class _NotTheWriter(Exception):
    """What was remembered is old: the tenant's writer is elsewhere."""
