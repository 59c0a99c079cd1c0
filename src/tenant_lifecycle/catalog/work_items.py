"""Rows of work items: claimed with ``SKIP LOCKED``, so that any number of workers share them.

Each function runs inside a transaction of its caller, which holds takeovers off (`leases.lock_running`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.rows import error_json
from tenant_lifecycle.catalog.tables import work_item
from tenant_lifecycle.engine.items import ItemCounts, WorkItem
from tenant_lifecycle.engine.journal import Lease
from tenant_lifecycle.model.operation import ErrorRecord, Json

#: Lease of the claims of a worker that helps somebody else's driver.
CLAIM_S = 10.0
#: Rows per INSERT, below every database's limit of parameters.
_BATCH = 500


def _of(lease: Lease, step: str) -> sa.ColumnElement[bool]:
    return sa.and_(work_item.c.operation_id == lease.operation_id, work_item.c.step == step)


def _mine(lease: Lease, step: str, worker: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        _of(lease, step),
        work_item.c.worker == worker,
        work_item.c.token == lease.token,
        work_item.c.status == "claimed",
    )


def seed(conn: Connection, lease: Lease, step: str, items: Iterable[WorkItem]) -> int:
    """Insert what is missing, in the order given; return how many items the step has."""
    known = set(conn.execute(sa.select(work_item.c.key).where(_of(lease, step))).scalars())
    rows: list[dict[str, Any]] = []
    for item in items:
        if item.key in known:
            continue
        known.add(item.key)
        rows.append(
            {
                "operation_id": lease.operation_id,
                "step": step,
                "key": item.key,
                "ord": len(known),
                "payload": dict(item.payload),
                "status": "todo",
                "attempt": 0,
                "failures": 0,
                "token": lease.token,
                "claimed_until": 0.0,
                "next_try_at": 0.0,
            }
        )
    for start in range(0, len(rows), _BATCH):
        conn.execute(work_item.insert(), rows[start : start + _BATCH])
    return len(known)


def claim(
    db: ControlDatabase, conn: Connection, lease: Lease, step: str, worker: str, ttl_s: float
) -> WorkItem | None:
    """Take the first item that is free, or whose claim is void, and whose time has come."""
    void = sa.and_(
        work_item.c.status == "claimed",
        sa.or_(work_item.c.token < lease.token, work_item.c.claimed_until < db.clock()),
    )
    free = sa.and_(work_item.c.status == "todo", work_item.c.next_try_at <= db.clock())
    row = conn.execute(
        sa.select(work_item.c.key, work_item.c.payload, work_item.c.attempt)
        .where(_of(lease, step), sa.or_(free, void))
        .order_by(work_item.c.ord)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    conn.execute(
        work_item.update()
        .where(_of(lease, step), work_item.c.key == row.key)
        .values(
            status="claimed",
            worker=worker,
            token=lease.token,
            attempt=row.attempt + 1,
            claimed_until=db.clock() + ttl_s,
        )
    )
    return WorkItem(row.key, row.payload, row.attempt + 1)


def renew(db: ControlDatabase, conn: Connection, lease: Lease, step: str, worker: str, ttl_s: float) -> None:
    """Keep all claims of a worker."""
    conn.execute(
        work_item.update().where(_mine(lease, step, worker)).values(claimed_until=db.clock() + ttl_s)
    )


def finish(conn: Connection, lease: Lease, step: str, worker: str, key: str, output: Json) -> bool:
    """Record the outcome of an item that is still this worker's; False if it is not."""
    changed = conn.execute(
        work_item.update()
        .where(_mine(lease, step, worker), work_item.c.key == key)
        .values(status="done", output=dict(output), error=None)
    )
    return changed.rowcount == 1


def fail(
    db: ControlDatabase,
    conn: Connection,
    lease: Lease,
    step: str,
    worker: str,
    key: str,
    error: ErrorRecord,
    retry_in_s: float | None,
) -> None:
    """Give an item back for a later try; for good if ``retry_in_s`` is None."""
    conn.execute(
        work_item.update()
        .where(_mine(lease, step, worker), work_item.c.key == key)
        .values(
            status="failed" if retry_in_s is None else "todo",
            failures=work_item.c.failures + 1,
            next_try_at=db.clock() + (retry_in_s or 0.0),
            error=error_json(error),
            worker=None,
        )
    )


def give_back(conn: Connection, lease: Lease, step: str, worker: str) -> None:
    """Free what a worker holds."""
    conn.execute(work_item.update().where(_mine(lease, step, worker)).values(status="todo", worker=None))


def reopen(conn: Connection, operation_id: str) -> None:
    """Let items that failed for good be tried again."""
    conn.execute(
        work_item.update()
        .where(work_item.c.operation_id == operation_id, work_item.c.status == "failed")
        .values(status="todo", failures=0, next_try_at=0.0)
    )


def failures(conn: Connection, operation_id: str, step: str, key: str) -> int:
    """Failures of one item."""
    return int(
        conn.execute(
            sa.select(work_item.c.failures).where(
                work_item.c.operation_id == operation_id, work_item.c.step == step, work_item.c.key == key
            )
        ).scalar_one()
    )


def counts(conn: Connection, operation_id: str, step: str) -> ItemCounts:
    """How far the items of a step are."""
    rows = conn.execute(
        sa.select(work_item.c.status, sa.func.count())
        .where(work_item.c.operation_id == operation_id, work_item.c.step == step)
        .group_by(work_item.c.status)
    )
    by_status = {str(row[0]): int(row[1]) for row in rows}
    return ItemCounts(sum(by_status.values()), by_status.get("done", 0), by_status.get("failed", 0))


def outputs(conn: Connection, operation_id: str, step: str) -> dict[str, Json]:
    """Outputs of the done items, in order."""
    rows = conn.execute(
        sa.select(work_item.c.key, work_item.c.output)
        .where(
            work_item.c.operation_id == operation_id, work_item.c.step == step, work_item.c.status == "done"
        )
        .order_by(work_item.c.ord)
    )
    return {row.key: row.output for row in rows}
