"""The gates while they are watched: asked every second, over the whole step and over its last moments."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tenant_lifecycle.engine.steps import StepContext
from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.gates import (
    GatePolicy,
    GateResult,
    Judgement,
    Verdict,
    confirm,
    failures,
    judge_readings,
    sentences,
)
from tenant_lifecycle.model.health import Health, Reading
from tenant_lifecycle.model.operation import Json, Outputs, Signal
from tenant_lifecycle.operations.migrate.session import Session
from tenant_lifecycle.traffic.steering import Steering


@dataclass
class Gates:
    """The gates of one step."""

    steering: Steering
    session: Session
    policy: GatePolicy
    #: When the window of the numbers begins, on the clock of the step's context.
    began: float
    #: What the other side was like before a flip, by source; None: it is asked at the same time.
    before: dict[str, Health] | None = None
    #: What the sources said last, over the whole step.
    readings: list[Reading] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def judge(self, now: float) -> Judgement:
        """Ask every source and judge what it says."""
        elapsed = max(now - self.began, 0.001)
        over = elapsed >= self.policy.soak_s
        self.readings = self._read(elapsed)
        judgement = judge_readings(self.readings, self.policy, before=self.before, over=over)
        if elapsed > 2 * self.policy.recent_s:
            # Looked at so often without a memory, it must be surer of itself.
            strict = replace(self.policy, error_risk=self.policy.error_risk / 100)
            recent = judge_readings(self._read(self.policy.recent_s), strict, before=self.before)
            judgement += failures(recent)
        judgement, self._seen = confirm(judgement, self._seen, self.policy.looks)
        return judgement

    def _read(self, window_s: float) -> list[Reading]:
        pair = self.session.pair
        return self.steering.health(self.session.tenant, pair.target, pair.source, window_s)


class GateFailed(Exception):
    """A gate failed after the flip; carries the output that `settle` ends with."""

    def __init__(self, output: Json) -> None:
        super().__init__(str(output["why"]))
        self.output = output


@dataclass
class AfterFlip:
    """The gates after the flip, for as long as the policy says.

    The other side serves nothing any more; the target is compared with what it was like at the last step.
    """

    ctx: StepContext
    gates: Gates
    until: float
    _next: float = 0.0

    @classmethod
    def open(cls, ctx: StepContext, began: float) -> AfterFlip | None:
        """None without steps, without routers, or when nothing is to be watched."""
        session: Session = ctx.session
        policy = session.policy.gates
        if session.steering is None or not ctx.operation.spec.get("steps") or policy.watch_s <= 0:
            return None
        # There is no end at which it has held for long enough: what is above a limit has to be proven.
        endless = replace(policy, soak_s=math.inf)
        gates = Gates(session.steering, session, endless, began, before=health_before(ctx.outputs))
        return cls(ctx, gates, began + policy.watch_s)

    def check(self) -> None:
        """A safe point of the driver at which, when it is time to, the gates are looked at.

        Raises:
            GateFailed: the requests, and the writes, have to go back.
        """
        self.ctx.check()
        now = self.ctx.now()
        if now >= self.until or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.gates.policy.interval_s
        judgement = self.gates.judge(now)
        decided_at = self.ctx.now()
        self.ctx.publish({"gates": [result.as_json() for result in judgement.results]})
        failed = judgement.of(Verdict.FAIL)
        if failed:
            self.ctx.event("gate-failed", percent=100, why=sentences(failed))
            raise GateFailed(failure_output("rollback", 100, self.gates, judgement, failed, decided_at))


def failure_output(
    following: str,
    percent: int,
    gates: Gates,
    judgement: Judgement,
    failed: Sequence[GateResult],
    decided_at: float,
) -> Json:
    """What a step ends with that was watched: what comes next, and everything a post-mortem is made of."""
    return {
        "next": following,
        "percent": percent,
        "why": sentences(failed),
        "began": gates.began,
        "decided_at": decided_at,
        "seconds": round(decided_at - gates.began, 3),
        "failed": [result.as_json() for result in failed],
        "gates": [result.as_json() for result in judgement.results],
        "health": health_of(gates.readings),
    }


def told_to_roll_back(now: float) -> Json:
    """The output of `settle` when a person said rollback: the fifth trigger, reported like the others."""
    said = GateResult("person", Verdict.FAIL, "a person said rollback")
    return {
        "next": "rollback",
        "percent": 100,
        "why": said.sentence,
        "decided_at": now,
        "failed": [said.as_json()],
        "gates": [],
        "health": {},
    }


def health_of(readings: list[Reading]) -> Json:
    """What every source said, by source; sides that did not answer are None."""
    return {
        reading.source: {
            "target": reading.target.as_json() if reading.target else None,
            "other": reading.other.as_json() if reading.other else None,
            "why": reading.why,
        }
        for reading in readings
    }


def health_before(outputs: Outputs) -> dict[str, Health]:
    """What the side that the requests came from was like at the last step before the flip, by source."""
    before: dict[str, Health] = {}
    for key in outputs.begun:
        if key.startswith("shift/") and outputs.get(key, {}).get("next") == "on":
            found = {name: said["other"] for name, said in outputs[key]["health"].items()}
            before |= {name: Health.from_json(other) for name, other in found.items() if other}
    return before


def last_failure(outputs: Outputs) -> tuple[str, Json]:
    """Key and output of the newest step that ended with the decision to go back.

    Raises:
        WrongState: none did.
    """
    for key in reversed(outputs.begun):
        if key in outputs and outputs[key].get("next") in ("back", "rollback"):
            return key, outputs[key]
    raise WrongState("no step of this migration decided to go back")


def take_promote(ctx: StepContext, since: float) -> Signal | None:
    """A ``promote`` that was said since then; an older one was meant for a step that is over, and is dropped.

    Without this, a person who skips the time of a step at the moment in which its gate fails would send the
    requests to the target again.
    """
    while (signal := ctx.take_signal("promote")) is not None:
        if signal.at >= since:
            return signal
        ctx.event("promote-dropped", why="it was said before this step began")
    return None
