"""Bring a tenant's writes back to where they came from."""

from __future__ import annotations

import time

from l3_m14_tenant_lifecycle.offline import Result, require_text, skipped
from l3_m14_tenant_lifecycle.online import actor, await_flip, lifecycle, pause_ms
from l3_m14_tenant_lifecycle.status import MigrationStatus, flips_done, status_of
from tenant_lifecycle.errors import WrongState

PLAN = (
    "check that the source has every write the target acknowledged",
    "fence the target for milliseconds and let the last changes through",
    "compare what is still in doubt",
    "make the source the writer again",
    "keep the target up to date, ready to be promoted again",
)


def rollback_migration(
    tenant_id: str,
    rollback_snapshot: str | None = None,
    offline: bool = False,
    *,
    timeout_s: float | None = None,
) -> Result:
    """Roll back the tenant's active migration; no acknowledged write is lost.

    Args:
        rollback_snapshot: named in the result. It is not used: the source was kept up to date all along, and
            going back to a snapshot would lose what was written since.
        timeout_s: leave after so long; the rollback goes on.

    Returns:
        ``status`` (a `MigrationStatus`), ``tenant_id``, ``operation_id``, ``duration_seconds`` from the
        decision until the source is the writer, ``write_pause_ms``, ``snapshot_used``.

    Raises:
        ValueError: an argument is empty.
        UnknownOperation: the tenant has no migration.
        WrongState: the source is the writer, or the migration is over.
    """
    require_text(tenant_id=tenant_id)
    facts = {"rollback_snapshot": rollback_snapshot, "snapshot_used": False}
    if offline:
        return skipped(MigrationStatus.SKIPPED, tenant_id, PLAN, **facts)
    began = time.monotonic()
    with lifecycle() as opened:
        operation = opened.operation(tenant_id, kind="migrate")
        turn = flips_done(opened.steps(operation.id)) + 1
        if turn % 2:
            raise WrongState(
                f"{operation.spec['source']} is the writer of {tenant_id!r}: there is nothing to roll back",
                next_step=f"tenantctl op why {operation.id}",
            )
        opened.signal(operation.id, "rollback", actor=actor(), reason="rollback_migration")
        opened.ensure_runner()
        operation, steps = await_flip(opened, operation.id, turn, timeout_s)
    back = flips_done(steps) >= turn
    return {
        "status": MigrationStatus.ROLLED_BACK if back else status_of(operation, steps),
        "tenant_id": tenant_id,
        "operation_id": operation.id,
        "duration_seconds": round(time.monotonic() - began, 3),
        "write_pause_ms": pause_ms(steps, turn),
        **facts,
        "error": operation.error.message if operation.error is not None else None,
    }
