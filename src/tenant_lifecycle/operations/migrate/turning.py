"""The flip as a step: attempts until one commits, and recovery that knows from the fences where it was."""

from __future__ import annotations

import time
from contextlib import nullcontext

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import FlipAbandoned, InvariantViolated, SourceChanged, StoreBusy
from tenant_lifecycle.model.cutover import Action, decide
from tenant_lifecycle.model.flip import FlipTiming
from tenant_lifecycle.model.operation import Json, TenantUpdate
from tenant_lifecycle.operations.migrate.flip import Direction, attempt, make_ready
from tenant_lifecycle.operations.migrate.holding import tell_lost
from tenant_lifecycle.operations.migrate.proving import ensure_proved
from tenant_lifecycle.operations.migrate.provision import seen
from tenant_lifecycle.operations.migrate.routes import follow_writer
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.stores.base import Schemas

#: Pauses between attempts grow from the first to the second, so many times each.
RETRY_FIRST_S, RETRY_MOST_S, RETRY_GROWTH = 0.03, 2.0, 1.3


def await_promote(ctx: StepContext) -> Outcome:
    """Step: keep everything running and proved until a person says ``promote``."""
    from tenant_lifecycle.operations.migrate.settling import keep_ready

    signal = keep_ready(
        ctx, FORWARD, until=None, signals=("promote",), why="verified; waits for tenantctl migrate promote"
    )
    return Done({"by": signal.actor if signal else ""})


def flip(ctx: StepContext) -> Outcome:
    """Step ``flip/n``: odd n makes the target the writer, even n the source again."""
    session: Session = ctx.session
    way = FORWARD if int(ctx.key.rsplit("/", 1)[1]) % 2 else BACK
    return turn(ctx, session, way)


def turn(ctx: StepContext, session: Session, way: str) -> Done:
    """Make ``way``'s target the writer, from whatever an earlier attempt left behind."""
    began = time.monotonic()
    pair = session.way(way)
    tries = 0
    while True:
        ctx.check()
        session.check_window()
        tell_lost(session, ctx.event)
        action, epoch = _look(session, way)
        if action is Action.RELEASE and session.window is not None:
            # The fence that is up is our window's.
            action = Action.ATTEMPT
        match action:
            case Action.ATTEMPT:
                tries += 1
                timing = _try_once(ctx, session, way, epoch, tries)
                if timing is not None:
                    return _turned(ctx, session, way, tries, began, timing)
            case Action.RELEASE:
                session.fences(way)[0].release(session.tenant, None)
            case Action.ACTIVATE:
                session.fences(way)[1].activate(session.tenant, epoch)
                ctx.event("rolled-forward", writer=pair.target)
            case Action.FINISHED:
                return _turned(ctx, session, way, tries, began, None)
            case Action.CONTRADICTION:
                raise InvariantViolated(
                    f"the fences of {pair.source} and {pair.target} contradict each other for this tenant",
                    next_step="look at tenant_lifecycle.fence in both databases before anything else",
                )


def _look(session: Session, way: str) -> tuple[Action, int]:
    judge = session.way(way).judge
    source, target = session.fences(way)
    here, there = source.fence_row(session.tenant), target.fence_row(session.tenant)
    if here is None:
        raise InvariantViolated(
            f"{judge.source.name} has no fence row of this tenant", next_step="tenantctl doctor"
        )
    return decide(seen(here), seen(there)), here.epoch


def _try_once(ctx: StepContext, session: Session, way: str, epoch: int, tries: int) -> FlipTiming | None:
    """One attempt; None if it was abandoned and is worth another try."""
    budget = session.policy.flip.for_attempt(tries, back=way == BACK)
    try:
        ensure_proved(ctx, way)
        _refuse_changed_shape(session, way)
        direction: Direction = session.direction(way, ctx.check)
        epochs = {name: follower.epoch() for name, follower in direction.way_back.items()}
        make_ready(direction, budget)
        session.tell_foreign_writes(ctx.event)
        with session.window.attempt() if session.window is not None else nullcontext():
            timing = attempt(direction, epoch, budget)
        session.end_window()
        session.turned(way, ctx.check, epochs)
        return timing
    except (FlipAbandoned, StoreBusy) as error:
        if tries >= budget.attempts:
            raise
        ctx.event("flip-abandoned", attempt=tries, why=str(error))
        ctx.publish({"why": str(error), "attempts": tries})
        time.sleep(min(RETRY_MOST_S, RETRY_FIRST_S * RETRY_GROWTH ** min(tries, 30)))
        return None


def _refuse_changed_shape(session: Session, way: str) -> None:
    """DDL without a row change after it does not show in a stream; the shape shows it."""
    for pair in session.way(way).stores:
        source, target = pair.source, pair.target
        if not (isinstance(source, Schemas) and isinstance(target, Schemas)):
            continue
        if source.shape(session.tenant) != target.shape(session.tenant):
            raise SourceChanged(
                f"the tenant's tables no longer have the same shape in {source.name} and {target.name}",
                store=source.name,
                next_step="apply the schema change to both, or abort and start again",
            )


def _turned(
    ctx: StepContext, session: Session, way: str, tries: int, began: float, timing: FlipTiming | None
) -> Done:
    pair = session.way(way)
    routed = follow_writer(ctx, session, pair.target)
    output: Json = {
        "writer": pair.target,
        "attempts": tries,
        "seconds": round(time.monotonic() - began, 4),
        **({"timing": timing.as_json()} if timing else {}),
        **routed,
    }
    return Done(output, tenant=TenantUpdate(session.tenant, environment=pair.target))
