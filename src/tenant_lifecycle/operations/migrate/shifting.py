"""The gradual cutover as steps: so many percent of the requests to the target, watched, and back at once on failure.

The share stands in the step's key, so it is journaled before any router hears of it: a driver that takes over
sets the same share again and goes on from there. The decision to go back is the step's outcome, journaled
before the routers are told; a driver that dies between the two leaves a journal that says "back", never one
that shows the target again. Whoever leaves a step without an outcome (a pause, an abort, an error) sends the
requests home first: nobody is served by a target that nobody watches.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import Fenced, LeaseLost, PreconditionRefused
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.gates import Judgement, Verdict
from tenant_lifecycle.model.shifting import Decision, Move, StepLook, decide_step
from tenant_lifecycle.operations.migrate.comparing import DataWatch
from tenant_lifecycle.operations.migrate.routes import drifting, route_with, steering_of
from tenant_lifecycle.operations.migrate.session import Session
from tenant_lifecycle.operations.migrate.watching import Gates, failure_output, last_failure, take_promote

#: How often a signal is looked for between two looks at the gates, seconds.
SIGNAL_S = 0.05


def shift(ctx: StepContext) -> Outcome:
    """Step ``shift/P`` (again: ``shift/P/N``): P percent of the requests, until the gates pass or one fails.

    Its output says what comes next: ``on`` or ``back``.
    """
    session: Session = ctx.session
    watch = DataWatch(ctx)
    try:
        done = _hold(ctx, session, watch)
    except (LeaseLost, Fenced):
        # Somebody else has the routes now.
        watch.stop()
        raise
    except Exception:
        with suppress(Exception):
            steering_of(session).route(route_with(session, 0))
        watch.stop()
        raise
    if done.output["next"] == "on":
        watch.stop()
    else:
        # It may be in the middle of something long; `send_back` waits for it after the requests are back.
        watch.ask_to_stop()
        session.data_watch = watch
    return done


def _hold(ctx: StepContext, session: Session, watch: DataWatch) -> Done:
    percent = int(ctx.key.split("/")[1])
    steering, policy = steering_of(session), session.policy.gates
    ctx.check()
    arrived = ctx.now()
    steering.route(route_with(session, percent))
    fresh = {"arrived": arrived, "began": ctx.now(), "promoted": False}
    cursor: dict[str, Any] = dict(ctx.cursor or fresh)
    ctx.progress(0, cursor=dict(cursor))
    people = _People(ctx, cursor)
    ctx.event("shifted", percent=percent, environment=session.pair.target)
    watch.start()
    gates = Gates(steering, session, policy, cursor["began"])
    clear_at, told_unclear = ctx.now(), False
    while True:
        next_look = time.monotonic() + policy.interval_s
        judgement = gates.judge(ctx.now())
        now, data = ctx.now(), watch.state
        if judgement.verdict is Verdict.PASS and data.ready:
            clear_at, told_unclear = now, False
        people.listen()
        look = StepLook(
            judgement,
            data,
            elapsed_s=now - cursor["began"],
            unclear_s=now - clear_at,
            promoted=cursor["promoted"],
            rolled_back=people.rolled_back,
        )
        decision = decide_step(look, policy)
        facts = _facts(session, percent, judgement, decision)
        ctx.publish({**facts, **watch.detail, "until": cursor["began"] + policy.soak_s})
        if decision.move is not Move.STAY:
            return _decided(ctx, percent, gates, judgement, decision, now)
        if look.unclear_s > policy.inconclusive_s and not told_unclear:
            told_unclear = True
            ctx.event("gates-unclear", why=decision.why)
        people.pause(next_look)


@dataclass
class _People:
    """What people said during the step: a ``promote`` is kept in the cursor, a ``rollback`` ends the step."""

    ctx: StepContext
    #: When the step arrived here, when the route was first in effect, and whether a promote was heard.
    cursor: dict[str, Any]
    rolled_back: bool = False

    def listen(self) -> bool:
        """Take what was said since the last call; whether anything was."""
        promoted = take_promote(self.ctx, self.cursor["arrived"])
        if promoted is not None:
            self.cursor["promoted"] = True
            self.ctx.progress(0, cursor=dict(self.cursor))
        rolled_back = self.ctx.take_signal("rollback")
        if rolled_back is not None:
            self.rolled_back = True
        return promoted is not None or rolled_back is not None

    def pause(self, until: float) -> None:
        """Wait for the next look, or until a person says something."""
        while (left := until - time.monotonic()) > 0:
            self.ctx.check()
            if self.listen():
                return
            time.sleep(min(SIGNAL_S, left))


def _facts(session: Session, percent: int, judgement: Judgement, decision: Decision) -> dict[str, Any]:
    """Live facts for watchers."""
    pair = session.pair
    return {
        "share": {pair.source: 100 - percent, pair.target: percent},
        "writer": pair.source,
        "gates": [result.as_json() for result in judgement.results],
        "why": decision.why,
    }


def _decided(
    ctx: StepContext, percent: int, gates: Gates, judgement: Judgement, decision: Decision, decided_at: float
) -> Done:
    back = decision.move is Move.BACK
    if back:
        ctx.event("gate-failed", percent=percent, why=decision.why)
    following = "back" if back else "on"
    output = failure_output(following, percent, gates, judgement, decision.failed, decided_at)
    return Done({**output, "why": decision.why})


def send_back(ctx: StepContext) -> Outcome:
    """Step ``back/N``: every request to the source again, on every router; measured from the deciding look."""
    session: Session = ctx.session
    steering = steering_of(session)
    _, failure = last_failure(ctx.outputs)
    steering.route(route_with(session, 0))
    routed_at = ctx.now()
    took_ms = round((routed_at - failure["decided_at"]) * 1e3, 1)
    ctx.event("requests-back", environment=session.pair.source, detect_to_traffic_back_ms=took_ms)
    if session.data_watch is not None:
        session.data_watch.stop()
        session.data_watch = None
    return Done(
        {
            "next": session.policy.gates.on_failure.value,
            "writer": session.pair.source,
            "share": {session.pair.source: 100},
            "routed_at": routed_at,
            "detect_to_traffic_back_ms": took_ms,
            "routers": drifting(steering, session),
        }
    )


def give_up(ctx: StepContext) -> Outcome:
    """Step ``give-up/N``: end with what the gate said; the engine then takes everything back."""
    _, failure = last_failure(ctx.outputs)
    why = str(failure["why"])
    raise PreconditionRefused(
        f"a gate failed at {failure['percent']} %: {why}",
        findings=[Finding("gate.failed", Severity.REFUSAL, why, subject=ctx.session.pair.target)],
        next_step=f"tenantctl migrate postmortem {ctx.operation.id}",
    )
