"""A rolling move: only the code changes. Both environments use the same stores, so requests move and no data does.

The steps, the gates and the way back are those of the gradual cutover; what is missing is everything about data: no
copy, no feed, no fence. So it is refused as soon as one store would have to be copied.
"""

from __future__ import annotations

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TenantUpdate
from tenant_lifecycle.operations.migrate.provision import refuse
from tenant_lifecycle.operations.migrate.routes import drifting, follow_writer, route_with, steering_of
from tenant_lifecycle.operations.migrate.session import FORWARD, Session
from tenant_lifecycle.operations.pairs import Pair, StorePair
from tenant_lifecycle.stores.sharing import Shares


def look_at_stores(pair: Pair, tenant: TenantId) -> list[Finding]:
    """Store by store: shared, empty, or a refusal because data would have to move. Changes nothing."""
    return [_look(stores, tenant) for stores in pair.stores]


def _look(stores: StorePair, tenant: TenantId) -> Finding:
    source, target = stores.source, stores.target
    if isinstance(source, Shares) and source.same_as(target):
        return Finding("roll.shared", Severity.OK, "both environments use it", subject=stores.name)
    items = sum(size.items for size in source.inventory(tenant, exact=True))
    if not items and not any(size.items for size in target.inventory(tenant, exact=True)):
        return Finding("roll.empty", Severity.OK, "nothing of the tenant is in it", subject=stores.name)
    return Finding(
        "roll.data", Severity.REFUSAL,
        f"{source.name} and {target.name} are not known to be one store, and {items:,} item(s) of the tenant would have "
        "to move; rolling moves requests only",
        "--strategy zero_downtime or maintenance_window moves the data", stores.name,
    )  # fmt: skip


def look_at_router(steered: bool) -> list[Finding]:
    """Without a router there is nothing that this strategy could do."""
    if steered:
        return []
    return [
        Finding(
            "roll.no-router", Severity.REFUSAL,
            "no router is configured, and rolling moves requests only", "add one under traffic in lifecycle.yaml",
            "traffic",
        )
    ]  # fmt: skip


def preflight(ctx: StepContext) -> Outcome:
    """Step: the stores are still shared, at the moment of the start."""
    session: Session = ctx.session
    findings = look_at_stores(session.shared or session.pair, session.tenant)
    refuse(findings)
    return Done({"checks": len(findings)})


def turn(ctx: StepContext) -> Outcome:
    """Step ``flip/n``: odd n sends every request to the target, even n to the source again."""
    session: Session = ctx.session
    forward = int(ctx.key.rsplit("/", 1)[1]) % 2 == 1
    environment = session.pair.target if forward else session.pair.source
    steering = steering_of(session)
    routed = follow_writer(ctx, session, environment)
    output = {"writer": environment, "routers": drifting(steering, session), **routed}
    return Done(output, tenant=TenantUpdate(session.tenant, environment=environment))


def send_home(ctx: StepContext) -> Outcome:
    """Abort step: every request to the source."""
    session: Session = ctx.session
    steering_of(session).route(route_with(session, 0))
    source = session.way(FORWARD).source
    return Done({"writer": source}, tenant=TenantUpdate(session.tenant, environment=source))


def end(ctx: StepContext) -> Outcome:
    """Step: nothing is left to be emptied; the target is the tenant's environment."""
    session: Session = ctx.session
    return Done({"removed": 0}, tenant=TenantUpdate(session.tenant, state="active"))
