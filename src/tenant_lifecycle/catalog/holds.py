"""The register of legal holds, and the gate through which every destructive call has to pass.

A call announces itself in the same transaction in which it reads the register (`Gate.begin`), and signs off when it
is over (`Gate.end`). A hold is written first; then whoever places it waits until no announced call is left that
could have read the register before. So when `Holds.place` returns, nothing of the tenant is being deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tenant_lifecycle.catalog import audit
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.erasure_tables import erasure_in_flight, hold, hold_event
from tenant_lifecycle.catalog.operations import new_id
from tenant_lifecycle.catalog.tables import operation
from tenant_lifecycle.errors import LeaseLost, StoreBusy, UnknownHold
from tenant_lifecycle.evidence.entries import Happening
from tenant_lifecycle.model.erasure.holds import Hold, HoldAct, HoldEvent, blocking
from tenant_lifecycle.model.erasure.request import Exception17, same_name

#: PostgreSQL: shared by calls that begin, exclusive for a hold that is written. SQLite has one writer anyway.
_GATE = 0x746C_6864
_POLL_S = 0.05


class Holds:
    """The holds in the control database."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def place(
        self,
        matter: str,
        ground: Exception17,
        names: Sequence[str],
        *,
        actor: str,
        reason: str = "",
        systems: Sequence[str] = (),
        sets: Sequence[str] = (),
        review_at: float | None = None,
        wait_s: float = 60.0,
    ) -> Hold:
        """Write a hold; it blocks from now on, and when this returns no deletion it is about is going on.

        Raises:
            StoreBusy: the hold stands, but a call that began before it is not over after ``wait_s``.
        """
        hold_id = "ho_" + new_id().removeprefix("op_")
        with self._db.writing() as conn:
            self._lock(conn, shared=False)
            conn.execute(
                hold.insert().values(
                    id=hold_id, matter=matter, ground=ground, names=list(names), systems=list(systems),
                    sets=list(sets), review_at=review_at,
                )
            )  # fmt: skip
            placing = HoldEvent(HoldAct.PLACED, actor, self._db.now(), reason)
            self._append(conn, hold_id, names, placing)
        placed = self.get(hold_id)
        self._await_quiet(placed, wait_s)
        return placed

    def get(self, hold_id: str) -> Hold:
        """One hold, by its id or the unambiguous beginning of one. Raises UnknownHold."""
        beginning = hold.c.id.startswith(hold_id, autoescape=True)
        with self._db.reading() as conn:
            found = self._read(conn, beginning)
        if len(found) != 1 or not hold_id:
            raise UnknownHold(f"no hold {hold_id!r}", next_step="tenantctl hold list")
        return found[0]

    def every(self) -> list[Hold]:
        """Every hold there ever was, oldest first."""
        with self._db.reading() as conn:
            return self._read(conn, sa.true())

    def blocking(self, names: Iterable[str]) -> list[Hold]:
        """The holds that block something of a tenant now.

        Raises:
            StoreError: the register cannot be read; then nothing may be deleted.
        """
        return blocking(self.every(), names, self._db.now())

    def append(
        self, hold_id: str, act: HoldAct, *, actor: str, reason: str = "", delay_s: float = 0.0
    ) -> Hold:
        """Approve, ask for release, confirm it, or withdraw it.

        Raises:
            WrongState, PreconditionRefused: see `Hold.after`.
        """
        found = self.get(hold_id)
        with self._db.writing() as conn:
            self._lock(conn, shared=False)
            (current,) = self._read(conn, hold.c.id == found.id)
            event = HoldEvent(act, actor, self._db.now(), reason, delay_s)
            changed = current.after(event)
            self._append(conn, found.id, found.names, event)
        return changed

    def _read(self, conn: Connection, which: sa.ColumnElement[bool]) -> list[Hold]:
        rows = conn.execute(sa.select(hold).where(which).order_by(hold.c.id)).all()
        ids = [row.id for row in rows]
        history: dict[str, list[HoldEvent]] = {}
        events = sa.select(hold_event).where(hold_event.c.hold_id.in_(ids)).order_by(hold_event.c.seq)
        unread: dict[str, str] = {}
        for row in conn.execute(events):
            try:
                event = HoldEvent(HoldAct(row.act), row.by, row.at, row.reason, row.delay_s)
                history.setdefault(row.hold_id, []).append(event)
            except ValueError:
                unread[row.hold_id] = f"its history has an unknown act {row.act!r}"
        return [_hold_of(row, history.get(row.id, []), unread.get(row.id, "")) for row in rows]

    def _append(self, conn: Connection, hold_id: str, names: Sequence[str], event: HoldEvent) -> None:
        """Append to a hold's history and to the audit log; comes last in a transaction."""
        conn.execute(
            hold_event.insert().values(
                hold_id=hold_id, act=event.act, by=event.by, at=event.at, reason=event.reason,
                delay_s=event.delay_s,
            )
        )  # fmt: skip
        happening = Happening(
            f"hold {event.act}", event.by, tenant=next(iter(names), ""), operation_id=hold_id,
            detail={"reason": event.reason},
        )  # fmt: skip
        audit.append(self._db, conn, happening)

    def _lock(self, conn: Connection, *, shared: bool) -> None:
        if not self._db.sqlite:
            lock = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
            conn.execute(sa.select(lock(_GATE)))

    def _await_quiet(self, placed: Hold, wait_s: float) -> None:
        """Wait for the calls about this hold's names that were announced before it."""
        deadline = time.monotonic() + wait_s
        with self._db.reading() as conn:
            before = [row for row in conn.execute(sa.select(erasure_in_flight)) if placed.is_about(row.names)]
        while any(self._still_there(row) for row in before):
            if time.monotonic() >= deadline:
                raise StoreBusy(
                    f"hold {placed.id} stands and stops whatever comes next, but a deletion that began before it "
                    f"is not over after {wait_s:.0f} s",
                    store="control",
                    next_step="tenantctl op list --kind erase",
                )
            time.sleep(_POLL_S)

    def _still_there(self, seen: Row[Any]) -> bool:
        """Whether the announced call may still run: not signed off, and its driver not proven dead."""
        announced = sa.select(erasure_in_flight.c.operation_id).where(
            erasure_in_flight.c.operation_id == seen.operation_id,
            erasure_in_flight.c.token == seen.token,
            erasure_in_flight.c.since == seen.since,
        )
        driven = sa.select(operation.c.id).where(
            operation.c.id == seen.operation_id,
            operation.c.token == seen.token,
            operation.c.owner.is_not(None),
            operation.c.lease_until > self._db.clock(),
        )
        with self._db.reading() as conn:
            return conn.execute(announced).first() is not None and conn.execute(driven).first() is not None

    # -- the gate

    def begin(
        self, operation_id: str, token: int, names: Sequence[str], system: str, set_name: str
    ) -> Hold | None:
        """Announce one destructive call, unless a hold covers what it destroys; that hold is returned then.

        Raises:
            LeaseLost: another driver has the operation.
            StoreError: the register cannot be read; nothing may be deleted.
        """
        with self._db.writing() as conn:
            self._lock(conn, shared=True)
            self._refuse_unless_driven(conn, operation_id, token)
            now = self._db.now()
            for one in blocking(self._read(conn, sa.true()), names, now):
                if one.covers(system, set_name):
                    return one
            conn.execute(erasure_in_flight.delete().where(erasure_in_flight.c.operation_id == operation_id))
            conn.execute(
                erasure_in_flight.insert().values(
                    operation_id=operation_id, token=token, names=[same_name(name) for name in names],
                    since=now,
                )
            )  # fmt: skip
        return None

    def end(self, operation_id: str, token: int) -> None:
        """Sign off; safe to repeat."""
        with self._db.writing() as conn:
            sign_off(conn, operation_id, token)

    def _refuse_unless_driven(self, conn: Connection, operation_id: str, token: int) -> None:
        driven = sa.select(operation.c.id).where(
            operation.c.id == operation_id, operation.c.token == token, operation.c.owner.is_not(None)
        )
        if conn.execute(driven.with_for_update(read=True)).first() is None:
            raise LeaseLost(f"another driver has {operation_id}", next_step="nothing to do: it goes on")


def sign_off(conn: Connection, operation_id: str, token: int) -> None:
    """End an announced call within the caller's transaction."""
    conn.execute(
        erasure_in_flight.delete().where(
            erasure_in_flight.c.operation_id == operation_id, erasure_in_flight.c.token == token
        )
    )


def _hold_of(row: Row[Any], history: Sequence[HoldEvent], unread: str) -> Hold:
    """A row as a hold; one that cannot be understood blocks everything."""
    try:
        ground = Exception17(row.ground)
        names, systems, sets = _texts(row.names), _texts(row.systems), _texts(row.sets)
    except (ValueError, TypeError) as error:
        unread = f"{type(error).__name__} in its row"
        return Hold(row.id, row.matter, Exception17.LEGAL_CLAIMS, (), unreadable=unread)
    return Hold(row.id, row.matter, ground, names, systems, sets, row.review_at, tuple(history), unread)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError("no list of texts")
    return tuple(value)
