"""Between flips: both sides are kept equal and the next flip is kept ready, until somebody decides."""

from __future__ import annotations

import time

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.model.operation import Signal
from tenant_lifecycle.operations.migrate.comparing import LOOK_S, look
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.operations.migrate.watching import (
    AfterFlip,
    GateFailed,
    last_failure,
    take_promote,
    told_to_roll_back,
)

#: How often a signal is looked for.
SIGNAL_S = 0.02


def settle(ctx: StepContext) -> Outcome:
    """Step ``settle/n``: after a flip to the target until its grace time is over, after a flip back for ever.

    With routers the gates go on watching for a while after a flip to the target, and a failure ends the step.
    Its output says what comes next: ``rollback``, ``promote`` or ``complete``.
    """
    session: Session = ctx.session
    moved = int(ctx.key.rsplit("/", 1)[1]) % 2 == 1
    if not moved:
        keep_ready(
            ctx,
            FORWARD,
            until=None,
            signals=("promote",),
            why="rolled back; promote again, or abort to clean up",
        )
        return Done({"next": "promote"})
    until = ctx.cursor or ctx.now() + session.policy.settle_s
    ctx.progress(0, cursor=until)
    why = "the old side is kept ready for a rollback; complete empties it"
    gates = AfterFlip.open(ctx, until - session.policy.settle_s)
    try:
        signal = keep_ready(ctx, BACK, until=until, signals=("rollback", "complete"), why=why, gates=gates)
    except GateFailed as failure:
        return Done(failure.output)
    if signal is not None and signal.kind == "rollback" and gates is not None:
        return Done(told_to_roll_back(ctx.now()))
    return Done({"next": signal.kind if signal else "complete"})


def hold(ctx: StepContext) -> Outcome:
    """Step ``hold/N``: after requests went back, until a person says ``promote``: up again from the first step."""
    _, failure = last_failure(ctx.outputs)
    source = ctx.session.pair.source
    since = ctx.cursor or ctx.now()
    ctx.progress(0, cursor=since)
    keep_ready(
        ctx,
        FORWARD,
        until=None,
        signals=("promote",),
        why=f"every request is back at {source}: {failure['why']}; promote tries again, abort cleans up",
        promote_since=since,
    )
    return Done({"next": "promote"})


def keep_ready(
    ctx: StepContext,
    way: str,
    *,
    until: float | None,
    signals: tuple[str, ...],
    why: str,
    gates: AfterFlip | None = None,
    promote_since: float | None = None,
) -> Signal | None:
    """Follow, compare and report until a signal comes or the time is over; return the signal.

    A store that is away for a while is waited for: the tenant works on the other side meanwhile. A promote
    from before ``promote_since`` does not count.

    Raises:
        GateFailed: one of ``gates`` did.
    """
    session: Session = ctx.session
    check = ctx.check if gates is None else gates.check
    next_look = 0.0
    while True:
        check()
        signal = ctx.take_signal(*signals) if promote_since is None else take_promote(ctx, promote_since)
        if signal is not None:
            return signal
        if until is not None and ctx.now() >= until:
            return None
        if time.monotonic() >= next_look:
            ctx.publish({"why": why, "until": until, **look(session, way, check, ctx.event)})
            next_look = time.monotonic() + LOOK_S
        time.sleep(SIGNAL_S)
