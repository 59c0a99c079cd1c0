"""Where the tenant's requests go during a migration: told to every router, from what the journal and fences say."""

from __future__ import annotations

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.cutover import writer
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.operation import Json
from tenant_lifecycle.operations.migrate.provision import seen
from tenant_lifecycle.operations.migrate.session import FORWARD, Session
from tenant_lifecycle.traffic.base import Route
from tenant_lifecycle.traffic.steering import Steering


def steering_of(session: Session) -> Steering:
    """Routers and sources of the installation.

    Raises:
        WrongState: the migration began with routers, and ``lifecycle.yaml`` names none any more.
    """
    if session.steering is None:
        raise WrongState(
            "this migration moves requests step by step, and no router is configured any more",
            next_step="put the routers back into lifecycle.yaml, then tenantctl op retry",
        )
    return session.steering


def route_with(session: Session, percent: int) -> Route:
    """``percent`` of the requests to the target, all that write to the source."""
    pair = session.pair
    return Route(session.tenant, pair.source, {pair.source: 100 - percent, pair.target: percent})


def route_to(session: Session, environment: str) -> Route:
    """Everything to one environment."""
    return Route(session.tenant, environment, {environment: 100})


def drifting(steering: Steering, session: Session) -> list[str]:
    """What routers do otherwise than is written down, one sentence each."""
    return [f"{finding.subject}: {finding.message}" for finding in refusals(steering.check(session.tenant))]


def follow_writer(ctx: StepContext, session: Session, environment: str) -> Json:
    """After a flip: every request to the new writer. Nothing without routers.

    Raises:
        StoreUnavailable: a router does not have the route yet; writes go to the new writer all the same.
    """
    if session.steering is None:
        return {}
    session.steering.route(route_to(session, environment))
    return {"routed_at": ctx.now(), "share": {environment: 100}}


def route_home(ctx: StepContext) -> Outcome:
    """Abort step: no request to the target any more, unless it is the writer (then the flip back brings them)."""
    session: Session = ctx.session
    if session.steering is None:
        ctx.event("routes-left", why="no router is configured any more")
        return Done()
    source, target = session.fences(FORWARD)
    now = writer(seen(source.fence_row(session.tenant)), seen(target.fence_row(session.tenant)))
    if now != "target":
        session.steering.route(route_with(session, 0))
    return Done({"writer": session.pair.target if now == "target" else session.pair.source})
