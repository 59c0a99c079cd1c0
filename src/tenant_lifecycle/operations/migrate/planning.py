"""The plan: what a migration would do, what it would cost, and why it would be refused."""

from __future__ import annotations

import time

from tenant_lifecycle.errors import UnknownTenant
from tenant_lifecycle.model.changes import FOLLOWED
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.plan import Estimate, MigrationPlan, StorePlan
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.operations.migrate.choosing import expected_pause, explain, look_at_window, window_of
from tenant_lifecycle.operations.migrate.learning import look_at_changes
from tenant_lifecycle.operations.migrate.provision import look
from tenant_lifecycle.operations.migrate.rolling import look_at_router, look_at_stores
from tenant_lifecycle.operations.pairs import Pair, StorePair
from tenant_lifecycle.stores.base import Copies, Follows, Keyed, Store
from tenant_lifecycle.traffic.steering import Steering

#: What one copy worker is assumed to move, until this installation has measured better. Source: bench copy,
#: two cores, loopback; a network will be slower.
ASSUMED_BYTES_PER_S = 20e6


def plan_migration(
    pair: Pair,
    tenant: TenantId,
    policy: MigrationPolicy,
    *,
    exact: bool = False,
    steering: Steering | None = None,
    now: float | None = None,
) -> MigrationPlan:
    """Look at both environments and say what would happen; changes nothing.

    ``now``, in seconds since 1970, tells when the next window opens.

    Raises:
        UnknownTenant: no store of the source holds the tenant.
        StoreError: a store could not be looked at.
    """
    _ = pair.judge
    if not any(stores.source.holds(tenant) for stores in pair.stores):
        raise UnknownTenant(
            f"no tenant {tenant!r} in environment {pair.source!r}",
            next_step=f"tenantctl tenant list --environment {pair.source}",
        )
    steps = steps_of(policy, steering)
    if policy.strategy is Strategy.ROLLING:
        findings = [*look_at_stores(pair, tenant), *look_at_router(steering is not None)]
        findings += look_at_traffic(steps, steering)
    else:
        findings = look(pair, tenant)
    moves_data = policy.strategy is not Strategy.ROLLING
    moved = tuple(_store_plan(stores, tenant, exact, moves_data=moves_data) for stores in pair.stores)
    size = sum(store.bytes for store in moved) if moves_data else 0
    copying = Estimate(
        size / (ASSUMED_BYTES_PER_S * min(policy.workers, 4)),
        f"{ASSUMED_BYTES_PER_S / 1e6:.0f} MB/s per worker assumed, {size / 1e6:.1f} MB",
    )
    pause = expected_pause(policy, copying)
    if moves_data:
        findings += look_at_window(pair, policy, pause)
        findings += [*look_at_traffic(steps, steering), *look_at_changes(pair)]
    return MigrationPlan(
        tenant=tenant,
        source=pair.source,
        target=pair.target,
        cutover=policy.cutover,
        settle_s=policy.settle_s,
        workers=policy.workers,
        stores=(*moved, *(_staying_plan(store) for store in pair.staying)),
        findings=tuple(findings),
        estimate=copying,
        strategy=policy.strategy,
        why=explain(policy),
        steps=steps,
        pause=pause,
        window=window_of(policy, time.time() if now is None else now),
    )


def steps_of(policy: MigrationPolicy, steering: Steering | None) -> tuple[int, ...]:
    """The shares that requests move by; none without a router, or while writes are held."""
    if steering is None or policy.strategy is Strategy.MAINTENANCE_WINDOW:
        return ()
    return policy.cutover_steps


def look_at_traffic(steps: tuple[int, ...], steering: Steering | None) -> list[Finding]:
    """What routers and health sources have to say to a gradual cutover; nothing where there is none."""
    if steering is None or not steps:
        return []
    findings = steering.probe()
    if not steering.sources:
        findings.append(
            Finding(
                "gates.no-source", Severity.WARNING,
                "no health source is configured, so no gate can pass: every step waits for a person",
                "add one under health in lifecycle.yaml", "health",
            )
        )  # fmt: skip
    return findings


def _store_plan(stores: StorePair, tenant: TenantId, exact: bool, *, moves_data: bool) -> StorePlan:
    how = []
    if not moves_data:
        how.append("stays where it is")
    elif isinstance(stores.source, Copies):
        how.append("copy in parts")
    if moves_data and isinstance(stores.source, Follows):
        how.append("follow the change stream")
    elif moves_data and isinstance(stores.source, Keyed):
        how.append(FOLLOWED[stores.changes])
    sets = tuple(stores.source.inventory(tenant, exact=exact))
    return StorePlan(stores.name, stores.source.kind, sets, " + ".join(how) or "not moved")


def _staying_plan(store: Store) -> StorePlan:
    return StorePlan(store.name.rpartition("/")[2], store.kind, (), "stays where it is (moves: false)")
