"""What people do with operations: create, look, signal, pause, resume, abort, retry.

Each change is one transaction that holds the operation's row lock, writes an event, and never waits for a
driver: drivers obey at their next safe point.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tenant_lifecycle.catalog import work_items
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.leases import add_event
from tenant_lifecycle.catalog.rows import event_of, operation_of, signal_of, step_of
from tenant_lifecycle.catalog.tables import event, operation, signal, step
from tenant_lifecycle.errors import TenantBusy, UnknownOperation, WrongState
from tenant_lifecycle.model.operation import (
    EXCLUSIVE_KINDS,
    TERMINAL,
    Desired,
    Event,
    Json,
    NewOperation,
    Operation,
    Signal,
    State,
    StepRecord,
    StepStatus,
)


def new_id() -> str:
    """``op_`` and 32 hex digits, ordered by time of creation (the layout of a version 7 UUID)."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    version, variant = 0x7 << 76, 0x2 << 62
    high, low = random >> 62, random & ((1 << 62) - 1)
    return f"op_{(milliseconds << 80) | version | (high << 64) | variant | low:032x}"


class Operations:
    """The operations in the control database."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def create(self, new: NewOperation, *, operation_id: str | None = None) -> Operation:
        """Record an operation; a driver takes it from there.

        Raises:
            TenantBusy: another exclusive operation is active on the tenant.
        """
        operation_id = operation_id or new_id()
        try:
            with self._db.writing() as conn:
                conn.execute(operation.insert().values(**self._first(operation_id, new)))
                detail: dict[str, Any] = {"kind": new.kind, "reason": new.reason}
                add_event(self._db, conn, operation_id, 0, "created", new.requested_by, detail)
        except IntegrityError as error:
            holder = self.active(new.tenant_id)
            if holder is None:
                raise
            raise busy_error(holder) from error
        return self.get(operation_id)

    def _first(self, operation_id: str, new: NewOperation) -> dict[str, Any]:
        return {
            "id": operation_id,
            "kind": new.kind,
            "definition": new.definition,
            "tenant_id": new.tenant_id,
            "spec": dict(new.spec),
            "plan": dict(new.plan),
            "plan_hash": new.plan_hash,
            "state": State.QUEUED,
            "desired": Desired.RUN,
            "aborting": False,
            "why": "",
            "token": 0,
            "lease_until": 0.0,
            "wake_at": 0.0,
            "wake_signals": [],
            "stalls": 0,
            "rev": 0,
            "reason": new.reason,
            "requested_by": new.requested_by,
            "parent_id": new.parent_id,
            "created_at": self._db.clock(),
        }

    def get(self, operation_id: str) -> Operation:
        """One operation.

        Raises:
            UnknownOperation: there is none with that id.
        """
        with self._db.reading() as conn:
            row = conn.execute(sa.select(operation).where(operation.c.id == operation_id)).one_or_none()
        if row is None:
            raise _unknown(operation_id)
        return operation_of(row)

    def active(self, tenant_id: str) -> Operation | None:
        """The exclusive operation that is active on a tenant; None if there is none."""
        with self._db.reading() as conn:
            row = conn.execute(
                sa.select(operation).where(
                    operation.c.tenant_id == tenant_id,
                    operation.c.state.not_in(sorted(TERMINAL)),
                    operation.c.kind.in_(sorted(EXCLUSIVE_KINDS)),
                )
            ).one_or_none()
        return None if row is None else operation_of(row)

    def find(self, text: str, *, kind: str | None = None) -> Operation:
        """The operation with that id, or whose id alone begins so, or a tenant's active or else newest one.

        Raises:
            UnknownOperation: none, or an id that several begin with.
        """
        with self._db.reading() as conn:
            exact = conn.execute(sa.select(operation).where(operation.c.id == text)).one_or_none()
            if exact is not None:
                return operation_of(exact)
            if text.startswith("op_") and len(text) >= 7:
                begin = operation.c.id.startswith(text, autoescape=True)
                rows = conn.execute(sa.select(operation).where(begin).limit(2)).all()
                if len(rows) == 1:
                    return operation_of(rows[0])
        of_tenant = self.list(tenant_id=text, kind=kind)
        if not of_tenant:
            raise _unknown(text)
        return next((each for each in of_tenant if not each.terminal), of_tenant[0])

    def list(
        self,
        *,
        tenant_id: str | None = None,
        kind: str | None = None,
        states: Sequence[State] = (),
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[Operation]:
        """Operations, newest first; ``before``: the id with which the previous page ended."""
        query = sa.select(operation).order_by(operation.c.id.desc()).limit(limit)
        if tenant_id is not None:
            query = query.where(operation.c.tenant_id == tenant_id)
        if kind is not None:
            query = query.where(operation.c.kind == kind)
        if states:
            query = query.where(operation.c.state.in_([state.value for state in states]))
        if before is not None:
            query = query.where(operation.c.id < before)
        with self._db.reading() as conn:
            return [operation_of(row) for row in conn.execute(query)]

    def steps(self, operation_id: str) -> Sequence[StepRecord]:
        """The steps that began, in the order they did."""
        with self._db.reading() as conn:
            rows = conn.execute(
                sa.select(step).where(step.c.operation_id == operation_id).order_by(step.c.ord)
            )
            return [step_of(row) for row in rows]

    def events(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """The history after ``after`` (the last ``seq`` seen); nothing is ever missed by going on so."""
        with self._db.reading() as conn:
            rows = conn.execute(
                sa.select(event)
                .where(event.c.operation_id == operation_id, event.c.seq > after)
                .order_by(event.c.seq)
                .limit(limit)
            )
            return [event_of(row) for row in rows]

    def latest_events(self, operation_id: str, limit: int) -> Sequence[Event]:
        """The last events of the history, oldest first."""
        with self._db.reading() as conn:
            rows = conn.execute(
                sa.select(event)
                .where(event.c.operation_id == operation_id)
                .order_by(event.c.seq.desc())
                .limit(limit)
            )
            return [event_of(row) for row in rows][::-1]

    def signals(self, operation_id: str) -> Sequence[Signal]:
        """Signals that no step took into account yet, oldest first."""
        with self._db.reading() as conn:
            rows = conn.execute(
                sa.select(signal)
                .where(signal.c.operation_id == operation_id, signal.c.consumed_token.is_(None))
                .order_by(signal.c.seq)
            )
            return [signal_of(row) for row in rows]

    def signal(self, operation_id: str, kind: str, payload: Json | None = None, *, actor: str) -> int:
        """Tell the operation something; one that waits for it wakes up. Returns the signal's number.

        Raises:
            UnknownOperation, WrongState: it is over.
        """
        with self._db.writing() as conn:
            row = self._lock(conn, operation_id, f"take the signal {kind!r}")
            result = conn.execute(
                signal.insert()
                .values(
                    operation_id=operation_id,
                    kind=kind,
                    payload=dict(payload or {}),
                    actor=actor,
                    at=self._db.clock(),
                )
                .returning(signal.c.seq)
            )
            seq = int(result.scalar_one())
            wakes = kind in row.wake_signals and row.state in (State.WAITING, State.ABORTING)
            self._change(conn, row, actor, "signal", {"signal": kind}, **({"wake_at": 0.0} if wakes else {}))
            return seq

    def pause(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        """Stop at the next safe point, keeping everything.

        Raises:
            UnknownOperation, WrongState: it is over, or stands already.
        """
        with self._db.writing() as conn:
            row = self._lock(conn, operation_id, "pause")
            if row.state == State.ATTENTION:
                raise WrongState(f"{operation_id} stands already and needs attention: {row.why}")
            if row.desired == Desired.ABORT and not row.aborting:
                raise WrongState(
                    f"{operation_id} is about to be aborted", next_step="pause it after that began"
                )
            changes: dict[str, Any] = {"desired": Desired.PAUSE}
            if row.owner is None and row.state != State.PAUSED:
                changes |= {"state": State.PAUSED, "why": "paused by a person"}
            self._change(conn, row, actor, "pause_requested", {"reason": reason}, **changes)
        return self.get(operation_id)

    def resume(self, operation_id: str, *, actor: str) -> Operation:
        """Go on after a pause, or forget a pause not obeyed yet.

        Raises:
            UnknownOperation, WrongState: it is not paused.
        """
        with self._db.writing() as conn:
            row = self._lock(conn, operation_id, "resume")
            if row.desired != Desired.PAUSE:
                raise WrongState(f"{operation_id} is not paused ({row.state})")
            changes: dict[str, Any] = {"desired": Desired.RUN}
            if row.state == State.PAUSED:
                changes |= self._ready_again(row)
            self._change(conn, row, actor, "resumed", {}, **changes)
        return self.get(operation_id)

    def abort(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        """Take back what was done. The definition may still refuse (event ``abort_refused``).

        Raises:
            UnknownOperation: there is none.
            WrongState: it is over, or a step that cannot be taken back is done.
        """
        with self._db.writing() as conn:
            row = self._lock(conn, operation_id, "abort")
            self._refuse_if_critical(conn, operation_id)
            changes: dict[str, Any] = {"desired": Desired.ABORT, "reason": reason or row.reason}
            if row.state in (State.PAUSED, State.ATTENTION):
                changes |= self._ready_again(row)
            elif row.owner is None:
                changes |= {"wake_at": 0.0}
            self._change(conn, row, actor, "abort_requested", {"reason": reason}, **changes)
        return self.get(operation_id)

    def retry(self, operation_id: str, *, actor: str) -> Operation:
        """Go on after attention, or at once instead of at the next try.

        Raises:
            UnknownOperation, WrongState: it neither stands nor waits.
        """
        with self._db.writing() as conn:
            row = self._lock(conn, operation_id, "retry")
            if row.state not in (State.ATTENTION, State.WAITING, State.ABORTING) or row.owner is not None:
                raise WrongState(f"{operation_id} is {row.state}: there is nothing to retry")
            conn.execute(
                step.update()
                .where(step.c.operation_id == operation_id, step.c.status != StepStatus.DONE)
                .values(failures=0, next_try_at=None)
            )
            work_items.reopen(conn, operation_id)
            self._change(conn, row, actor, "retry_requested", {}, **self._ready_again(row))
        return self.get(operation_id)

    def resolve(
        self, operation_id: str, step_key: str, *, happened: bool, actor: str, output: Json | None = None
    ) -> Operation:
        """Say, as a person who found out, whether a step of unknown outcome happened; then `retry`.

        Raises:
            UnknownOperation, WrongState: the step's outcome is not unknown.
        """
        with self._db.writing() as conn:
            row = self._lock(conn, operation_id, "resolve a step")
            changes: dict[str, Any] = {"status": StepStatus.WAITING}
            if happened:
                changes = {
                    "status": StepStatus.DONE,
                    "output": dict(output or {}),
                    "done_at": self._db.clock(),
                }
            changed = conn.execute(
                step.update()
                .where(
                    step.c.operation_id == operation_id,
                    step.c.key == step_key,
                    step.c.status == StepStatus.UNKNOWN,
                )
                .values(error=None, **changes)
            )
            if changed.rowcount != 1 or row.owner is not None:
                raise WrongState(f"the outcome of {step_key!r} is not in doubt")
            detail = {"step": step_key, "happened": happened}
            self._change(conn, row, actor, "step_resolved", detail)
        return self.get(operation_id)

    def _lock(self, conn: Connection, operation_id: str, what: str) -> Any:
        """The row, locked; only of an operation that is not over."""
        row = conn.execute(
            sa.select(operation).where(operation.c.id == operation_id).with_for_update()
        ).one_or_none()
        if row is None:
            raise _unknown(operation_id)
        if row.state in TERMINAL:
            raise WrongState(
                f"{operation_id} is over ({row.state}) and cannot {what}", next_step="start a new operation"
            )
        return row

    def _change(
        self, conn: Connection, row: Any, actor: str, kind: str, detail: dict[str, Any], **changes: Any
    ) -> None:
        conn.execute(
            operation.update().where(operation.c.id == row.id).values({"rev": operation.c.rev + 1, **changes})
        )
        add_event(self._db, conn, row.id, row.token, kind, actor, detail)

    def _ready_again(self, row: Any) -> dict[str, Any]:
        state = State.ABORTING if row.aborting else State.QUEUED
        return {"state": state, "wake_at": 0.0, "stalls": 0, "error": None, "why": ""}

    def _refuse_if_critical(self, conn: Connection, operation_id: str) -> None:
        title = conn.execute(
            sa.select(step.c.title).where(
                step.c.operation_id == operation_id,
                step.c.critical,
                step.c.status == StepStatus.DONE,
            )
        ).scalar()
        if title is not None:
            raise WrongState(
                f"too late to abort {operation_id}: {title!r} is done and cannot be taken back",
                next_step="let it finish",
            )


def busy_error(holder: Operation) -> TenantBusy:
    """What is told to who wants to start something on a tenant while ``holder`` is active on it."""
    return TenantBusy(
        f"tenant {holder.tenant_id!r} is busy with {holder.kind} {holder.id} ({holder.state})",
        operation_id=holder.id,
        next_step=f"tenantctl op watch {holder.id}, or abort it first",
    )


def _unknown(text: str) -> UnknownOperation:
    return UnknownOperation(f"no operation {text!r}", next_step="tenantctl op list")
