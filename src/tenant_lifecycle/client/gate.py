"""Write where the tenant's writer is: resolve it, run a transaction there, follow it when it moves.

The databases decide (see the fence); the gate only asks them, remembers the answer, and repeats a transaction
that was refused because the tenant moved. A block may therefore run more than once: it should do nothing that
a rolled-back transaction does not undo.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.rows import tuple_row

from tenant_lifecycle.client.outcome import UnknownOutcome
from tenant_lifecycle.errors import TenantInMaintenance, TenantMoved

Connection = psycopg.Connection[Any]
Result = TypeVar("Result")
#: How to get a connection of an environment: a DSN, or what gives one for the length of a ``with`` block and
#: takes it back, such as ``pool.connection`` of a `psycopg_pool.ConnectionPool`.
Source = str | Callable[[], AbstractContextManager[Connection]]

#: SQLSTATE of a write that the fence refused.
MOVED = "TL001"
#: SQLSTATE of a write in a maintenance window of the tenant.
MAINTENANCE = "TL005"
_SERIALIZATION = "40001"
_POLL_S = 0.001
_RECONNECT_S = 0.05


@dataclass(frozen=True, slots=True)
class Writer:
    """Where a tenant's writes go now."""

    environment: str
    #: 0 for a tenant that no environment manages.
    epoch: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """One environment's fence row, for the application."""

    environment: str
    state: str
    epoch: int
    target: str | None


class WriterGate:
    """Runs an application's write transactions in the environment that accepts them. Safe to share by threads."""

    def __init__(self, environments: Mapping[str, Source], home: str) -> None:
        """``home`` is the environment of every tenant that is not managed anywhere.

        Raises:
            ValueError: ``home`` is not one of the environments.
        """
        if home not in environments:
            raise ValueError(f"home {home!r} is none of the environments {sorted(environments)}")
        self._home = home
        self._sources: dict[str, Callable[[], AbstractContextManager[Connection]]] = {}
        self._idle: list[_Idle] = []
        for name, source in environments.items():
            if isinstance(source, str):
                self._idle.append(_Idle(source))
                source = self._idle[-1].connection
            self._sources[name] = source
        self._known: dict[str, Writer] = {}
        self._lock = threading.Lock()

    def run(self, tenant: str, block: Callable[[Connection], Result], deadline_s: float = 10.0) -> Result:
        """Run ``block`` in a transaction on the tenant's writer and commit it; return what it returned.

        Refused because the tenant moved (TL001) or for a conflict that a repetition resolves (40001): the
        writer is resolved again and the block repeated, until the deadline.

        Raises:
            TenantMoved: no environment accepted the tenant's writes before the deadline.
            TenantInMaintenance: nobody writes for the tenant until the time that it carries; said at once.
            UnknownOutcome: the connection was lost during COMMIT; the transaction may or may not have happened.
            psycopg.Error: whatever else the block or the database raised; nothing was committed.
        """
        return self.repeat(tenant, lambda writer: self._once(tenant, writer, block), deadline_s)

    def repeat(self, tenant: str, attempt: Callable[[Writer], Result], deadline_s: float) -> Result:
        """Call ``attempt`` with the tenant's writer until it is not refused, at most until the deadline.

        Raises:
            TenantMoved, TenantInMaintenance: as `run`; and whatever else ``attempt`` raises.
        """
        give_up = time.monotonic() + deadline_s
        while True:
            writer = self.writer(tenant, give_up)
            try:
                return attempt(writer)
            except NeverBegun as exc:
                self.forget(tenant)
                if time.monotonic() + _RECONNECT_S >= give_up:
                    raise exc.cause from None
                time.sleep(_RECONNECT_S)
            except Exception as exc:
                state = _sqlstate(exc)
                if state == MAINTENANCE:
                    self.forget(tenant)
                    raise _in_maintenance(tenant, exc) from exc
                if state not in (MOVED, _SERIALIZATION):
                    raise
                self.forget(tenant)
                if time.monotonic() + _POLL_S >= give_up:
                    raise (_moved(tenant, writer) if state == MOVED else exc) from exc
                time.sleep(_POLL_S)

    def writer(self, tenant: str, give_up: float | None = None) -> Writer:
        """The tenant's writer as far as is known; asks the databases if it is not known.

        Raises:
            TenantMoved: between two writers, and none became active until ``give_up`` (monotonic clock).
            psycopg.OperationalError: no environment answered.
        """
        with self._lock:
            known = self._known.get(tenant)
        while known is None:
            seen, silent = self._ask_all(tenant)
            known = choose(seen, silent, self._home)
            if known is None:
                if give_up is None or time.monotonic() >= give_up:
                    raise _moved(tenant, _named_by_newest(seen))
                time.sleep(_POLL_S)
        with self._lock:
            self._known[tenant] = known
        return known

    def forget(self, tenant: str) -> None:
        """Ask the databases the next time."""
        with self._lock:
            self._known.pop(tenant, None)

    def forget_all(self) -> None:
        """Ask the databases the next time, for every tenant."""
        with self._lock:
            self._known.clear()

    def known(self) -> list[str]:
        """Tenants whose writer is remembered."""
        with self._lock:
            return list(self._known)

    def close(self) -> None:
        """Close idle connections that were made here, from DSNs; safe to repeat."""
        for idle in self._idle:
            idle.close()

    def _once(self, tenant: str, writer: Writer, block: Callable[[Connection], Result]) -> Result:
        def ask(conn: Connection) -> None:
            if writer.epoch:
                # Asked first, so that the block neither works in vain nor reads what is old here.
                conn.execute("SELECT tenant_lifecycle.check_writer(%s)", (tenant,))

        with self.connection(writer.environment) as conn:
            return transact(conn, tenant, writer.environment, ask, block)

    @contextmanager
    def connection(self, environment: str) -> Iterator[Connection]:
        """A connection of an environment.

        Raises:
            NeverBegun: there is none to be had; not for what is raised inside the block.
        """
        with ExitStack() as stack:
            try:
                conn = stack.enter_context(self._sources[environment]())
            except psycopg.OperationalError as exc:
                raise NeverBegun(exc) from exc
            yield conn

    def _ask_all(self, tenant: str) -> tuple[list[_Seen], set[str]]:
        """The fence rows of all environments that answer, and the environments that do not."""
        rows: list[_Seen] = []
        failed: dict[str, psycopg.OperationalError] = {}
        for name in self._sources:
            try:
                seen = self._ask(name, tenant)
            except psycopg.OperationalError as exc:
                failed[name] = exc
                continue
            if seen is not None:
                rows.append(seen)
        if len(failed) == len(self._sources):
            raise next(iter(failed.values()))
        return rows, set(failed)

    def _ask(self, environment: str, tenant: str) -> _Seen | None:
        with self._sources[environment]() as conn:
            try:
                # The application's connections may make rows of another kind.
                with conn.transaction(), conn.cursor(row_factory=tuple_row) as cursor:
                    row = cursor.execute(
                        "SELECT state, epoch, target FROM tenant_lifecycle.whereabouts(%s)", (tenant,)
                    ).fetchone()
            except (pg.InvalidSchemaName, pg.UndefinedFunction):
                return None
        if row is None:
            return None
        state, epoch, target = row
        return _Seen(environment, state, epoch, target)


def choose(seen: list[_Seen], silent: set[str], home: str) -> Writer | None:
    """The writer according to the fence rows; None between two writers.

    At most one row is ACTIVE or FENCED at the highest epoch. FENCED is still the writer: its database lets
    writers wait. If the newest row names an environment that is ``silent``, that is the one, and trying it
    tells the application why it cannot write.
    """
    if not seen:
        return Writer(home, 0)
    accepting = [one for one in seen if one.state in ("ACTIVE", "FENCED")]
    if accepting:
        newest = max(accepting, key=lambda one: one.epoch)
        return Writer(newest.environment, newest.epoch)
    named = _named_by_newest(seen)
    return named if named.environment in silent else None


def _named_by_newest(seen: list[_Seen]) -> Writer:
    newest = max(seen, key=lambda one: one.epoch)
    return Writer(newest.target or newest.environment, newest.epoch)


def _moved(tenant: str, writer: Writer) -> TenantMoved:
    return TenantMoved(
        f"no environment accepts writes of tenant {tenant}; the last known writer is {writer.environment}",
        epoch=writer.epoch,
        target=writer.environment,
    )


def _in_maintenance(tenant: str, refusal: BaseException) -> TenantInMaintenance:
    told: dict[str, Any] = {"epoch": 0, "until": "the end of its window"}
    seen: BaseException | None = refusal
    while seen is not None and not isinstance(seen, psycopg.Error):
        seen = seen.__cause__
    if isinstance(seen, psycopg.Error) and seen.diag.message_detail:
        with suppress(ValueError):
            told |= json.loads(seen.diag.message_detail)
    return TenantInMaintenance(
        f"tenant {tenant} is in maintenance until {told['until']}; nothing was written",
        epoch=int(told["epoch"]),
        until=str(told["until"]),
    )


class NeverBegun(Exception):
    """The connection failed before the block was called, so repeating it repeats nothing."""

    def __init__(self, cause: psycopg.OperationalError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def transact(
    conn: Connection,
    tenant: str,
    environment: str,
    ask: Callable[[Connection], None],
    block: Callable[[Connection], Result],
) -> Result:
    """Run ``block`` in a transaction that begins with ``ask``, commit it, and return what it returned.

    Raises:
        NeverBegun: the connection failed before the block was called.
        UnknownOutcome: it was lost during COMMIT.
    """
    begun = committing = False
    try:
        with conn.transaction():
            ask(conn)
            begun = True
            result = block(conn)
            committing = True
    except psycopg.Error as exc:
        if committing and _lost(conn):
            raise UnknownOutcome(tenant, environment) from exc
        if begun or exc.sqlstate == _SERIALIZATION or not isinstance(exc, psycopg.OperationalError):
            raise
        raise NeverBegun(exc) from exc
    return result


def _lost(conn: Connection) -> bool:
    return conn.closed or conn.broken


def _sqlstate(exc: BaseException) -> str | None:
    """The SQLSTATE of an error, also when a library wrapped it."""
    seen: BaseException | None = exc
    while seen is not None:
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen = seen.__cause__
    return None


class _Idle:
    """Connections of one DSN, kept for the next use; as many as there are threads at once."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._free: list[Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self._lock:
            conn = self._free.pop() if self._free else None
        if conn is None:
            conn = psycopg.connect(self._dsn, autocommit=True)
        try:
            yield conn
        finally:
            if conn.closed or conn.info.transaction_status.name != "IDLE":
                conn.close()
            else:
                with self._lock:
                    self._free.append(conn)

    def close(self) -> None:
        with self._lock:
            free, self._free = self._free, []
        for conn in free:
            conn.close()
