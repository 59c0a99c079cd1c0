"""Leases: who may drive an operation, and the token that grows each time somebody new may.

Each function runs inside a transaction of its caller. The guard's UPDATE locks the operation's row until
that transaction ends, so between the check and what is written under it nobody can take the lease over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Row

from tenant_lifecycle.catalog import audit
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.rows import error_json
from tenant_lifecycle.catalog.tables import event, operation, tenant_token
from tenant_lifecycle.engine.journal import Lease
from tenant_lifecycle.errors import LeaseLost
from tenant_lifecycle.model.operation import DRIVABLE, ErrorRecord, State

#: Leases taken in a row without any progress, after which nobody tries again by himself.
MAX_STALLS = 5
_READY_STATES = sorted(DRIVABLE)


def can_be_driven(db: ControlDatabase, definitions: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether an operation could be acquired now."""
    return sa.and_(
        operation.c.state.in_(_READY_STATES),
        operation.c.wake_at <= db.clock(),
        sa.or_(operation.c.owner.is_(None), operation.c.lease_until < db.clock()),
        operation.c.definition.in_(list(definitions)),
    )


def acquire(
    db: ControlDatabase,
    conn: Connection,
    operation_id: str,
    owner: str,
    ttl_s: float,
    definitions: Sequence[str],
    floor: int,
) -> Lease | None:
    """Take the lease, or quarantine an operation that never gets anywhere; None if there is no lease."""
    row = conn.execute(
        sa.select(operation.c.tenant_id, operation.c.stalls, operation.c.aborting, operation.c.token)
        .where(operation.c.id == operation_id, can_be_driven(db, definitions))
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    if row.stalls >= MAX_STALLS:
        _quarantine(db, conn, operation_id, row.token)
        return None
    token = next_token(conn, row.tenant_id, floor)
    conn.execute(
        operation.update()
        .where(operation.c.id == operation_id)
        .values(
            owner=owner,
            token=token,
            lease_until=db.clock() + ttl_s,
            stalls=operation.c.stalls + 1,
            rev=operation.c.rev + 1,
            state=State.ABORTING if row.aborting else State.RUNNING,
            why="",
            wake_signals=[],
            started_at=sa.func.coalesce(operation.c.started_at, db.clock()),
        )
    )
    add_event(db, conn, operation_id, token, "lease", "engine", {"stalls": row.stalls})
    return Lease(operation_id, row.tenant_id, owner, token, ttl_s)


def next_token(conn: Connection, tenant_id: str, floor: int) -> int:
    """One more than every token given for the tenant, and than ``floor``; its row lock orders takeovers."""
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = insert(tenant_token).values(tenant_id=tenant_id, token=floor + 1)
    larger = sa.case((tenant_token.c.token > floor, tenant_token.c.token), else_=floor)
    return int(
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=[tenant_token.c.tenant_id], set_={"token": larger + 1}
            ).returning(tenant_token.c.token)
        ).scalar_one()
    )


def _quarantine(db: ControlDatabase, conn: Connection, operation_id: str, token: int) -> None:
    error = ErrorRecord(
        "Stalled",
        f"{MAX_STALLS} drivers in a row were lost without any progress",
        "look for what kills them (out of memory?), then retry the operation",
    )
    conn.execute(
        operation.update()
        .where(operation.c.id == operation_id)
        .values(
            state=State.ATTENTION,
            owner=None,
            why=error.message,
            error=error_json(error),
            rev=operation.c.rev + 1,
        )
    )
    add_event(db, conn, operation_id, token, "attention", "engine", {"error": error.kind})


def guard(db: ControlDatabase, conn: Connection, lease: Lease, **changes: Any) -> Row[Any]:
    """First statement of every write of a driver: renew the lease, lock the row, change it.

    Returns:
        The row's desired, aborting and state as they are now.

    Raises:
        LeaseLost: the lease is somebody else's, or nobody's.
    """
    statement = (
        operation.update()
        .where(_is_of(lease))
        .values({"rev": operation.c.rev + 1, "lease_until": db.clock() + lease.ttl_s, **changes})
        .returning(operation.c.desired, operation.c.aborting, operation.c.state)
    )
    return _held(conn.execute(statement), lease)


def lock_running(conn: Connection, lease: Lease) -> None:
    """Hold off takeovers until this transaction ends, together with other workers under the same lease.

    Raises:
        LeaseLost: the lease is over.
    """
    _held(conn.execute(sa.select(operation.c.id).where(_is_of(lease)).with_for_update(read=True)), lease)


def lock_progress(conn: Connection, lease: Lease) -> None:
    """As `lock_running`, alone, and forget the stalls: something was achieved.

    A transaction takes one or the other: two that held the shared lock would wait for each other for this one.
    """
    statement = operation.update().where(_is_of(lease)).values(stalls=0).returning(operation.c.id)
    _held(conn.execute(statement), lease)


def _is_of(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(
        operation.c.id == lease.operation_id,
        operation.c.owner == lease.owner,
        operation.c.token == lease.token,
    )


def _held(result: sa.CursorResult[Any], lease: Lease) -> Row[Any]:
    row = result.one_or_none()
    if row is None:
        raise LeaseLost(f"another driver has {lease.operation_id}", next_step="nothing to do: it goes on")
    return row


def add_event(
    db: ControlDatabase,
    conn: Connection,
    operation_id: str,
    token: int,
    kind: str,
    actor: str,
    detail: dict[str, Any],
) -> None:
    """Append to the history and to the audit log; the caller holds the operation's row lock.

    Comes last in a transaction: from here to its end no other one can append to the audit log.
    """
    conn.execute(
        event.insert().values(
            operation_id=operation_id, token=token, at=db.clock(), kind=kind, actor=actor, detail=detail
        )
    )
    audit.record(db, conn, operation_id, kind, actor, detail)
