"""Ends of a migration: empty the old side after its grace time, or undo everything and stay."""

from __future__ import annotations

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, Wait
from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.cutover import Action, decide, writer
from tenant_lifecycle.model.operation import TenantUpdate
from tenant_lifecycle.operations.migrate import feeds
from tenant_lifecycle.operations.migrate.provision import seen
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.operations.migrate.turning import turn
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.stores.base import Removes
from tenant_lifecycle.stores.erasing import Erases

#: How often a decommissioning that a hold stops looks at the register.
HOLD_POLL_S = 3600.0


def leave(ctx: StepContext) -> Outcome:
    """Step: stop the feeds, delete the tenant's items on the old side, keep its fence MOVED for latecomers.

    The eraser does it where the store has one: a manifest, holds read before every batch, a look afterwards.
    A legal hold keeps the old side as it is for as long as it blocks.
    """
    session: Session = ctx.session
    _refuse_unless_writer(session, "target")
    _end_feeds(session)
    removed: dict[str, int] = {}
    for pair in session.pair.judge_last:
        held = _empty(ctx, session, pair, removed)
        if held:
            return Wait(ctx.now() + HOLD_POLL_S, ("again",), f"hold {held} keeps the old side")
    if session.emptying is not None:
        session.emptying.end(ctx, session.tenant, [pair.source for pair in session.pair.stores])
    _forget_feeds(session)
    return Done(
        {"removed": sum(removed.values()), "sets": removed},
        tenant=TenantUpdate(session.tenant, state="active"),
    )


def _empty(ctx: StepContext, session: Session, pair: StorePair, removed: dict[str, int]) -> str:
    """Empty one store of the old side; "" or the hold that forbids it."""
    system, emptying = pair.source.name, session.emptying
    if emptying is not None:
        hold = emptying.hold_on(session.tenant, system)
        if hold is not None:
            return hold.id
        if isinstance(pair.source, Erases):
            done = emptying.empty(ctx, session.tenant, system, pair.source)
            removed[pair.name] = done["deleted"]
            return ", ".join(sorted(done["held"].values()))
    if isinstance(pair.source, Removes):
        for name, items in pair.source.remove(session.feed(BACK), ctx.check).items():
            removed[f"{pair.name}/{name}"] = items
            ctx.progress(sum(removed.values()))
    return ""


def bring_back(ctx: StepContext) -> Outcome:
    """Abort step: if writes go to the target by now, flip them back first, with everything a flip demands."""
    session: Session = ctx.session
    session.end_window()
    _finish_a_flip(session)
    source, target = session.fences(FORWARD)
    if writer(seen(source.fence_row(session.tenant)), seen(target.fence_row(session.tenant))) == "target":
        return turn(ctx, session, BACK)
    return Done({"writer": session.pair.source})


def _finish_a_flip(session: Session) -> None:
    """A driver that died between the commit point and the activation left nobody who may write: roll forward."""
    for way in (FORWARD, BACK):
        source, target = session.fences(way)
        here, there = source.fence_row(session.tenant), target.fence_row(session.tenant)
        if here is not None and decide(seen(here), seen(there)) is Action.ACTIVATE:
            target.activate(session.tenant, here.epoch)


def clean_target(ctx: StepContext) -> Outcome:
    """Abort step: drop the feeds, delete what was copied, take the fence away.

    Rows of the target are deleted only if this operation began to copy: pre-flight and the armed fence had
    made sure by then that there were none before. After a flip the fences stay: an application that still
    believes in the target must go on being told TL001, or its write would be lost.
    """
    session: Session = ctx.session
    begun = ctx.outputs.begun
    _end_feeds(session)
    removed = 0
    if "copy" in begun:
        _refuse_unless_writer(session, "source")
        for pair in session.pair.judge_last:
            if isinstance(pair.target, Removes):
                removed += sum(pair.target.remove(session.feed(FORWARD), ctx.check).values())
    if "arm" in begun and not any(key.startswith("flip/") for key in begun):
        for fences in session.fences(BACK):
            fences.disarm(session.tenant)
    _forget_feeds(session)
    return Done({"removed": removed, "writer": session.pair.source})


def _end_feeds(session: Session) -> None:
    session.stop_following()
    for way in (FORWARD, BACK):
        feeds.drop(session.way(way), session.feed(way))
    session.forget_spools()


def _forget_feeds(session: Session) -> None:
    """The last thing: until then it refuses older drivers, and says which keys were the tenant's."""
    for way in (FORWARD, BACK):
        feeds.forget(session.way(way), session.feed(way))


def _refuse_unless_writer(session: Session, expected: str) -> None:
    """Nothing is deleted anywhere unless the *other* side is the writer, by the databases' own word."""
    source, target = session.fences(FORWARD)
    now = writer(seen(source.fence_row(session.tenant)), seen(target.fence_row(session.tenant)))
    if now != expected:
        raise InvariantViolated(
            f"nothing was deleted: the {expected} should be the writer, the fences say {now or 'nobody'}",
            next_step="look at tenant_lifecycle.fence in both databases",
        )
