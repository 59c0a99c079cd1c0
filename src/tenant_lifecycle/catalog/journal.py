"""The engine's journal in the control database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tenant_lifecycle.catalog import audit, leases, work_items
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.leases import add_event, guard
from tenant_lifecycle.catalog.rows import error_json, operation_of, signal_of, step_of
from tenant_lifecycle.catalog.tables import operation, signal, step
from tenant_lifecycle.catalog.tenants import apply_update
from tenant_lifecycle.engine.items import ItemCounts, WorkItem
from tenant_lifecycle.engine.journal import Lease, Progress, Release, Standing, StepEnd, View
from tenant_lifecycle.engine.steps import Done, Step
from tenant_lifecycle.errors import UnknownOperation
from tenant_lifecycle.model.operation import (
    Desired,
    ErrorRecord,
    Json,
    Operation,
    Signal,
    State,
    StepRecord,
    StepStatus,
)


class SqlJournal:
    """`Journal` over a `ControlDatabase`; threads share it."""

    def __init__(self, db: ControlDatabase) -> None:
        self.db = db

    def now(self) -> float:
        """The database's clock."""
        return self.db.now()

    def peek(self, operation_id: str) -> Operation:
        """The operation as it is."""
        with self.db.reading() as conn:
            row = conn.execute(sa.select(operation).where(operation.c.id == operation_id)).one_or_none()
        if row is None:
            raise UnknownOperation(f"no operation {operation_id!r}", next_step="tenantctl op list")
        return operation_of(row)

    def acquire(
        self, operation_id: str, owner: str, ttl_s: float, definitions: Sequence[str], floor: int
    ) -> Lease | None:
        """Take the lease."""
        with self.db.writing() as conn:
            return leases.acquire(self.db, conn, operation_id, owner, ttl_s, definitions, floor)

    def guard(self, lease: Lease) -> Standing:
        """Renew the lease."""
        with self.db.writing() as conn:
            row = guard(self.db, conn, lease)
        return Standing(True, Desired(row.desired), row.aborting)

    def standing(self, lease: Lease) -> Standing:
        """Whether the lease holds, and what is wanted."""
        with self.db.reading() as conn:
            row = conn.execute(
                sa.select(
                    operation.c.owner, operation.c.token, operation.c.desired, operation.c.aborting
                ).where(operation.c.id == lease.operation_id)
            ).one()
        held = row.owner == lease.owner and row.token == lease.token
        return Standing(held, Desired(row.desired), row.aborting)

    def view(self, lease: Lease) -> View:
        """The operation and its steps."""
        with self.db.writing() as conn:
            guard(self.db, conn, lease)
            row = conn.execute(sa.select(operation).where(operation.c.id == lease.operation_id)).one()
            steps = conn.execute(
                sa.select(step).where(step.c.operation_id == lease.operation_id).order_by(step.c.ord)
            )
            return View(operation_of(row), tuple(step_of(each) for each in steps))

    def intent(self, lease: Lease, begun: Step, before: StepRecord | None) -> StepRecord:
        """Record that the step begins."""
        going = sa.case((operation.c.aborting, State.ABORTING.value), else_=State.RUNNING.value)
        # To come back from a wait is not another attempt, and no news.
        waited = before is not None and before.status is StepStatus.WAITING
        with self.db.writing() as conn:
            guard(self.db, conn, lease, state=going, why="", wake_signals=[])
            if before is None:
                row = self._insert_step(conn, lease, begun)
            else:
                row = conn.execute(
                    self._step_update(lease, begun.key)
                    .values(
                        status=StepStatus.INTENT,
                        attempt=before.attempt if waited else before.attempt + 1,
                        title=begun.title,
                        next_try_at=None,
                    )
                    .returning(step)
                ).one()
            if waited:
                audit.record_state(self.db, conn, lease.operation_id)
            else:
                self._event(conn, lease, "step_started", {"step": begun.key, "attempt": row.attempt})
            return step_of(row)

    def progress(self, lease: Lease, progress: Progress) -> None:
        """Record how far a step is."""
        changes: dict[str, Any] = {
            "done_units": progress.done,
            "total_units": progress.total,
            "exact": progress.exact,
            "detail": dict(progress.detail),
        }
        if progress.cursor is not None:
            changes["cursor"] = progress.cursor
        if progress.advanced:
            changes["failures"] = 0
        with self.db.writing() as conn:
            guard(self.db, conn, lease, **({"stalls": 0} if progress.advanced else {}))
            self._update_step(conn, lease, progress.key, **changes)
            _consume(conn, lease, progress.consumed)

    def done(self, lease: Lease, key: str, done: Done, consumed: Sequence[int]) -> None:
        """Record the step's outcome."""
        with self.db.writing() as conn:
            guard(self.db, conn, lease, stalls=0)
            self._update_step(
                conn,
                lease,
                key,
                status=StepStatus.DONE,
                output=dict(done.output),
                done_at=self.db.clock(),
                failures=0,
                error=None,
            )
            _consume(conn, lease, consumed)
            if done.tenant is not None:
                apply_update(self.db, conn, done.tenant)
            self._event(conn, lease, "step_done", {"step": key})

    def hold(self, lease: Lease, release: Release) -> None:
        """Show the operation as waiting."""
        with self.db.writing() as conn:
            guard(
                self.db,
                conn,
                lease,
                stalls=0,
                state=release.state,
                why=release.why,
                wake_at=release.wake_at,
                wake_signals=list(release.wake_signals),
            )
            self._end_step(conn, lease, release.step)
            audit.record_state(self.db, conn, lease.operation_id)

    def release(self, lease: Lease, release: Release) -> None:
        """Leave the operation to others."""
        with self.db.writing() as conn:
            changes: dict[str, Any] = {} if release.stalled else {"stalls": 0}
            guard(
                self.db,
                conn,
                lease,
                owner=None,
                state=release.state,
                why=release.why,
                wake_at=release.wake_at,
                wake_signals=list(release.wake_signals),
                error=error_json(release.error),
                **changes,
            )
            self._end_step(conn, lease, release.step)
            if release.wake_signals and _pending(conn, lease.operation_id, release.wake_signals, ()):
                conn.execute(
                    operation.update().where(operation.c.id == lease.operation_id).values(wake_at=0.0)
                )
            self._event(conn, lease, release.state.value, _told(release))

    def begin_abort(self, lease: Lease, cause: ErrorRecord | None, end: StepEnd | None) -> None:
        """Turn round."""
        with self.db.writing() as conn:
            guard(
                self.db, conn, lease, stalls=0, aborting=True, state=State.ABORTING, cause=error_json(cause)
            )
            self._end_step(conn, lease, end)
            self._event(conn, lease, "abort_started", {"error": cause.kind} if cause else {})

    def refuse_abort(self, lease: Lease, why: str) -> None:
        """Forget that an abort was wanted."""
        with self.db.writing() as conn:
            guard(self.db, conn, lease, desired=Desired.RUN)
            self._event(conn, lease, "abort_refused", {"why": why})

    def finish(self, lease: Lease, state: State, result: Json | None) -> None:
        """End the operation."""
        with self.db.writing() as conn:
            guard(
                self.db,
                conn,
                lease,
                owner=None,
                state=state,
                desired=Desired.RUN,
                why="",
                result=None if result is None else dict(result),
                error=operation.c.cause if state is State.FAILED else None,
                finished_at=self.db.clock(),
            )
            self._event(conn, lease, state.value, {})

    def next_signal(self, operation_id: str, kinds: Sequence[str], skip: Sequence[int]) -> Signal | None:
        """The oldest unconsumed signal."""
        with self.db.reading() as conn:
            row = _pending(conn, operation_id, kinds, skip)
        return None if row is None else signal_of(row)

    def event(self, lease: Lease, kind: str, detail: Json) -> None:
        """Append to the history."""
        with self.db.writing() as conn:
            guard(self.db, conn, lease)
            self._event(conn, lease, kind, dict(detail))

    def ready(self, definitions: Sequence[str], limit: int) -> list[str]:
        """Operations that could be acquired now."""
        with self.db.reading() as conn:
            return list(
                conn.execute(
                    sa.select(operation.c.id)
                    .where(leases.can_be_driven(self.db, definitions))
                    .order_by(operation.c.wake_at, operation.c.created_at, operation.c.id)
                    .limit(limit)
                ).scalars()
            )

    def holders(self) -> list[tuple[str, str, int]]:
        """Leases that still run."""
        with self.db.reading() as conn:
            rows = conn.execute(
                sa.select(operation.c.id, operation.c.owner, operation.c.token).where(
                    operation.c.owner.is_not(None), operation.c.lease_until >= self.db.clock()
                )
            )
            return [(row.id, row.owner, row.token) for row in rows]

    def expire(self, operation_id: str, owner: str, token: int) -> bool:
        """End a dead owner's lease."""
        with self.db.writing() as conn:
            changed = conn.execute(
                operation.update()
                .where(operation.c.id == operation_id, operation.c.owner == owner, operation.c.token == token)
                .values(lease_until=0.0, rev=operation.c.rev + 1)
            )
            return changed.rowcount == 1

    def seed_items(self, lease: Lease, key: str, items: Iterable[WorkItem]) -> int:
        """Record items."""
        with self.db.writing() as conn:
            guard(self.db, conn, lease)
            return work_items.seed(conn, lease, key, items)

    def claim_item(self, lease: Lease, key: str, worker: str, ttl_s: float) -> WorkItem | None:
        """Take the next item."""
        with self.db.writing() as conn:
            leases.lock_running(conn, lease)
            return work_items.claim(self.db, conn, lease, key, worker, ttl_s)

    def renew_claims(self, lease: Lease, key: str, worker: str, ttl_s: float) -> None:
        """Keep this worker's claims."""
        with self.db.writing() as conn:
            leases.lock_running(conn, lease)
            work_items.renew(self.db, conn, lease, key, worker, ttl_s)

    def finish_item(self, lease: Lease, key: str, worker: str, item: str, output: Json) -> bool:
        """Record an item's outcome."""
        with self.db.writing() as conn:
            leases.lock_progress(conn, lease)
            return work_items.finish(conn, lease, key, worker, item, output)

    def fail_item(
        self, lease: Lease, key: str, worker: str, item: str, error: ErrorRecord, retry_in_s: float | None
    ) -> None:
        """Give an item back after a failure."""
        with self.db.writing() as conn:
            leases.lock_running(conn, lease)
            work_items.fail(self.db, conn, lease, key, worker, item, error, retry_in_s)

    def release_claims(self, lease: Lease, key: str, worker: str) -> None:
        """Give back what this worker holds."""
        with self.db.writing() as conn:
            leases.lock_running(conn, lease)
            work_items.give_back(conn, lease, key, worker)

    def item_failures(self, lease: Lease, key: str, item: str) -> int:
        """Failures of an item."""
        with self.db.reading() as conn:
            return work_items.failures(conn, lease.operation_id, key, item)

    def item_counts(self, operation_id: str, key: str) -> ItemCounts:
        """How far the items are."""
        with self.db.reading() as conn:
            return work_items.counts(conn, operation_id, key)

    def item_outputs(self, operation_id: str, key: str) -> dict[str, Json]:
        """Outputs of done items."""
        with self.db.reading() as conn:
            return work_items.outputs(conn, operation_id, key)

    def current_lease(self, operation_id: str) -> Lease | None:
        """Somebody's lease on a running operation."""
        with self.db.reading() as conn:
            row = conn.execute(
                sa.select(operation.c.tenant_id, operation.c.owner, operation.c.token).where(
                    operation.c.id == operation_id,
                    operation.c.owner.is_not(None),
                    operation.c.lease_until >= self.db.clock(),
                )
            ).one_or_none()
        if row is None:
            return None
        return Lease(operation_id, row.tenant_id, row.owner, row.token, work_items.CLAIM_S)

    def _event(self, conn: Connection, lease: Lease, kind: str, detail: dict[str, Any]) -> None:
        add_event(self.db, conn, lease.operation_id, lease.token, kind, "engine", detail)

    def _insert_step(self, conn: Connection, lease: Lease, begun: Step) -> Row[Any]:
        before = sa.select(sa.func.count()).select_from(step).where(step.c.operation_id == lease.operation_id)
        return conn.execute(
            step.insert()
            .values(
                operation_id=lease.operation_id,
                key=begun.key,
                title=begun.title,
                ord=before.scalar_subquery() + 1,
                kind=begun.kind,
                critical=begun.critical,
                status=StepStatus.INTENT,
                attempt=1,
                failures=0,
                token=lease.token,
                exact=True,
                detail={},
                first_at=self.db.clock(),
                last_at=self.db.clock(),
            )
            .returning(step)
        ).one()

    def _update_step(self, conn: Connection, lease: Lease, key: str, **changes: Any) -> None:
        conn.execute(self._step_update(lease, key).values(**changes))

    def _step_update(self, lease: Lease, key: str) -> sa.Update:
        return (
            step.update()
            .where(step.c.operation_id == lease.operation_id, step.c.key == key)
            .values(token=lease.token, last_at=self.db.clock())
        )

    def _end_step(self, conn: Connection, lease: Lease, end: StepEnd | None) -> None:
        if end is None:
            return
        self._update_step(
            conn,
            lease,
            end.key,
            status=end.status,
            error=error_json(end.error),
            failures=end.failures,
            next_try_at=end.next_try_at,
        )
        _consume(conn, lease, end.consumed)
        if end.error is not None:
            detail = {"step": end.key, "error": end.error.kind, "failures": end.failures}
            self._event(conn, lease, "step_failed", detail)


def _pending(conn: Connection, operation_id: str, kinds: Sequence[str], skip: Sequence[int]) -> Any:
    return conn.execute(
        sa.select(signal)
        .where(
            signal.c.operation_id == operation_id,
            signal.c.kind.in_(list(kinds)),
            signal.c.consumed_token.is_(None),
            signal.c.seq.not_in(list(skip)),
        )
        .order_by(signal.c.seq)
        .limit(1)
    ).one_or_none()


def _consume(conn: Connection, lease: Lease, consumed: Sequence[int]) -> None:
    if consumed:
        conn.execute(
            signal.update()
            .where(signal.c.operation_id == lease.operation_id, signal.c.seq.in_(list(consumed)))
            .values(consumed_token=lease.token)
        )


def _told(release: Release) -> dict[str, Any]:
    """What the history says about a release; the why may be shown as it is to anybody who sees the operation."""
    told: dict[str, Any] = {"why": release.why} if release.why else {}
    if release.error is not None:
        told["error"] = release.error.kind
    return told
