"""The plan: what a migration would do, what it would cost, and why it would be refused."""

from __future__ import annotations

from tenant_lifecycle.errors import UnknownTenant
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.plan import Estimate, MigrationPlan, StorePlan
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.model.strategy import EXPLAINED, Strategy
from tenant_lifecycle.operations.migrate.feeds import keyed_stores
from tenant_lifecycle.operations.migrate.provision import look
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
) -> MigrationPlan:
    """Look at both environments and say what would happen; changes nothing.

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
    findings: list[Finding] = look(pair, tenant)
    steps = steps_of(policy, steering)
    findings += [*look_at_strategy(policy), *look_at_traffic(steps, steering), *look_at_writers(pair)]
    moved = tuple(_store_plan(stores, tenant, exact) for stores in pair.stores)
    size = sum(store.bytes for store in moved)
    seconds = size / (ASSUMED_BYTES_PER_S * min(policy.workers, 4))
    return MigrationPlan(
        tenant=tenant,
        source=pair.source,
        target=pair.target,
        cutover=policy.cutover,
        settle_s=policy.settle_s,
        workers=policy.workers,
        stores=(*moved, *(_staying_plan(store) for store in pair.staying)),
        findings=tuple(findings),
        estimate=Estimate(
            seconds, f"{ASSUMED_BYTES_PER_S / 1e6:.0f} MB/s per worker assumed, {size / 1e6:.1f} MB"
        ),
        strategy=policy.strategy,
        why=explain(policy),
        steps=steps,
    )


def steps_of(policy: MigrationPolicy, steering: Steering | None) -> tuple[int, ...]:
    """The shares that requests move by; none without a router."""
    return policy.cutover_steps if steering is not None else ()


def explain(policy: MigrationPolicy) -> str:
    """Which strategy, why, and what it does, in one sentence."""
    return f"{policy.strategy.value} ({policy.strategy_why}): {EXPLAINED[policy.strategy]}"


def look_at_strategy(policy: MigrationPolicy) -> list[Finding]:
    """A strategy that this version cannot follow is refused: half of one would be worse than none."""
    if policy.strategy is Strategy.ZERO_DOWNTIME:
        return []
    if policy.strategy is Strategy.HYBRID:
        why = "hybrid is no way to move one tenant: it says which way each tier has"
    else:
        why = f"this version does not move tenants by {policy.strategy.value} yet"
    return [
        Finding(
            "plan.strategy", Severity.REFUSAL, f"{why} ({policy.strategy_why})",
            "tenantctl migrate plan --strategy zero_downtime", "strategy",
        )
    ]  # fmt: skip


def look_at_writers(pair: Pair) -> list[Finding]:
    """What nobody but the application can know: whether its writes are entered in the journal."""
    return [
        Finding(
            "plan.client", Severity.WARNING,
            "changes of the tenant here are followed, and held at the flip, only if every application that writes "
            "them uses tenant_lifecycle.client; a write past it during the move may be lost",
            "make sure of it (docs/client.md), or stop those writers for the length of the move", one.source.name,
        )
        for one in keyed_stores(pair)
    ]  # fmt: skip


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


def _store_plan(stores: StorePair, tenant: TenantId, exact: bool) -> StorePlan:
    how = []
    if isinstance(stores.source, Copies):
        how.append("copy in parts")
    if isinstance(stores.source, Follows):
        how.append("follow the change stream")
    elif isinstance(stores.source, Keyed):
        how.append("follow the journal of touched keys")
    sets = tuple(stores.source.inventory(tenant, exact=exact))
    return StorePlan(stores.name, stores.source.kind, sets, " + ".join(how) or "not moved")


def _staying_plan(store: Store) -> StorePlan:
    return StorePlan(store.name.rpartition("/")[2], store.kind, (), "stays where it is (moves: false)")
