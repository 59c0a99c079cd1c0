"""Between flips: both sides are kept equal and the next flip is kept ready, until somebody decides."""

from __future__ import annotations

import time

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import StoreBusy, StoreUnavailable
from tenant_lifecycle.model.operation import Json, Signal
from tenant_lifecycle.operations.migrate.proving import ensure_proved
from tenant_lifecycle.operations.migrate.provision import keep_counters_ahead
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session

#: How often the dirty items are looked at while nothing is asked for, and how often a signal is looked for.
LOOK_S, SIGNAL_S = 1.0, 0.02


def settle(ctx: StepContext) -> Outcome:
    """Step ``settle/n``: after a flip to the target until its grace time is over, after a flip back for ever.

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
    signal = keep_ready(ctx, BACK, until=until, signals=("rollback", "complete"), why=why)
    return Done({"next": signal.kind if signal else "complete"})


def keep_ready(
    ctx: StepContext, way: str, *, until: float | None, signals: tuple[str, ...], why: str
) -> Signal | None:
    """Follow, compare and report until a signal comes or the time is over; return the signal.

    A store that is away for a while is waited for: the tenant works on the other side meanwhile.
    """
    session: Session = ctx.session
    next_look = 0.0
    while True:
        ctx.check()
        signal = ctx.take_signal(*signals)
        if signal is not None:
            return signal
        if until is not None and ctx.now() >= until:
            return None
        if time.monotonic() >= next_look:
            ctx.publish({"why": why, "until": until, **_look(ctx, session, way)})
            next_look = time.monotonic() + LOOK_S
        time.sleep(SIGNAL_S)


def _look(ctx: StepContext, session: Session, way: str) -> Json:
    """Bring the proof of the next flip up to date; say whether that flip is ready."""
    try:
        session.followers(FORWARD)
        session.followers(BACK)
        session.check_followers()
        keep_counters_ahead(session, way)
        ensure_proved(ctx, way)
        dirty, lag_s = 0, 0.0
        for pair in session.way(way).stores:
            proof = session.proof(way, pair, ctx.check)
            dirty += proof.shrink()
            lag_s = max(lag_s, proof.follower.lag().seconds)
        session.tell_foreign_writes(ctx.event)
    except (StoreUnavailable, StoreBusy) as error:
        return {"ready": False, "not_ready": str(error)}
    return {"ready": True, "not_ready": None, "dirty": dirty, "lag_s": round(lag_s, 3)}
