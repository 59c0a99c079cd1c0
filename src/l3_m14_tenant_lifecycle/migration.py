"""Move a tenant to another environment with no downtime."""

from __future__ import annotations

import time

from l3_m14_tenant_lifecycle.offline import Result, require_different, require_text, skipped
from l3_m14_tenant_lifecycle.online import actor, await_flip, lifecycle, pause_ms
from l3_m14_tenant_lifecycle.status import MigrationStatus, flips_done, status_of
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions

#: What would be done, in order.
PLAN = (
    "pre-flight: look for every reason not to move",
    "provision: create on {target} what the tenant's data needs and it lacks",
    "arm the fence on both sides; {source} stays the writer",
    "copy what is there, while changes are held back",
    "catch up: apply what changed meanwhile",
    "prepare and prove the way back",
    "verify every item",
    "cutover: make {target} the writer",
    "settle: keep {source} up to date and ready for a rollback",
    "decommission: verify once more, then empty {source}",
)


def migrate_tenant_blue_green(
    tenant_id: str,
    source_env: str,
    target_env: str,
    offline: bool = False,
    *,
    timeout_s: float | None = None,
) -> Result:
    """Move the tenant and return once ``target_env`` is its writer; the old side is then kept for a rollback.

    Args:
        timeout_s: leave after so long; the migration goes on.

    Returns:
        ``status`` (a `MigrationStatus`), ``tenant_id``, ``operation_id``, ``duration_seconds``,
        ``traffic_percentage`` on the target, and ``write_pause_ms``, None unless it was measured.

    Raises:
        ValueError: an argument is empty, or source and target are the same.
        LifecycleError: it was refused, or could not begin.
    """
    require_text(tenant_id=tenant_id, source_env=source_env, target_env=target_env)
    require_different(source_env, target_env)
    if offline:
        plan = [line.format(source=source_env, target=target_env) for line in PLAN]
        return skipped(MigrationStatus.SKIPPED, tenant_id, plan, source_env=source_env, target_env=target_env)
    began = time.monotonic()
    with lifecycle() as opened:
        operation_id = opened.start_migration(
            TenantId(tenant_id),
            source_env,
            target_env,
            MigrationOptions(cutover=Cutover.AUTO),
            reason="migrate_tenant_blue_green",
            actor=actor(),
        )
        opened.ensure_runner()
        operation, steps = await_flip(opened, operation_id, 1, timeout_s)
    moved = flips_done(steps) % 2 == 1
    return {
        "status": status_of(operation, steps),
        "tenant_id": tenant_id,
        "source_env": source_env,
        "target_env": target_env,
        "operation_id": operation_id,
        "duration_seconds": round(time.monotonic() - began, 3),
        "traffic_percentage": 100 if moved else 0,
        "write_pause_ms": pause_ms(steps, 1),
        "error": operation.error.message if operation.error is not None else None,
    }
