"""The steps of a migration, as a pure function of what the journal says is done.

    preflight, provision, arm, feed, copy, catch up, way back, verify,
    then as often as people want:  [promote/1]  flip/n  settle/n      (odd n: to the target, even n: back)
    and at the end:                 verify before leaving, leave

In a maintenance window: preflight, provision, arm, window (wait for it), feed, hold-writes, and from copy to flip/1
under that fence.

With routers, before every flip to the target:

    shift/10  shift/25  shift/50            each until its gates pass (the second time: shift/10/2 ...)
    back/n  postmortem/n  hold/n            when one failed: requests go back, a person decides what then

A flow that grows is how a rollback "any number of times" stays one operation with one journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.steps import OnError, Step, StepKind
from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.gates import OnFailure
from tenant_lifecycle.model.operation import Operation, Outputs, State
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.operations.migrate import (
    copying,
    holding,
    leaving,
    postmortem,
    proving,
    provision,
    rolling,
    settling,
    shifting,
    turning,
)
from tenant_lifecycle.operations.migrate import routes as routing
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, OpenSession, Session

#: Waiting for a server that restarts or a network that comes back is not a reason to call a person.
PATIENT = Retry(attempts=200, first_s=0.2, factor=1.6, ceiling_s=15.0)


def way_of(turn: int) -> str:
    """Direction of flip number ``turn``, counted from 1."""
    return FORWARD if turn % 2 else BACK


class Migrate(Definition):
    """One tenant from ``spec['source']`` to ``spec['target']``."""

    name = "migrate@1"
    kind = "migrate"

    def __init__(self, open_session: OpenSession) -> None:
        self._open = open_session

    @contextmanager
    def _session(self, operation: Operation, token: int) -> Iterator[Session]:
        session = self._open(operation, token)
        try:
            yield session
        finally:
            session.close()

    def session(self, operation: Operation, token: int) -> AbstractContextManager[Session]:
        return self._session(operation, token)

    def filling(self, operation: Operation) -> Sequence[Step]:
        """Everything up to the first flip."""
        return _filling_in_window() if _windowed(operation) else _filling()

    def flip(self, operation: Operation, turn: int) -> Step:
        """Flip number ``turn``."""
        return _flip(turn, in_window=turn == 1 and _windowed(operation))

    def leaving(self) -> list[Step]:
        """What comes after the settle time."""
        return _leaving()

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        steps = list(self.filling(operation))
        climbs = Climbs(tuple(operation.spec.get("steps") or ()))
        if operation.spec.get("cutover") == Cutover.MANUAL:
            steps.append(
                Step("promote/1", "wait for a person to promote", StepKind.WAIT, turning.await_promote)
            )
        turn = 1
        while True:
            if way_of(turn) == FORWARD and not climbs.climb(steps, outputs):
                return steps
            steps.append(self.flip(operation, turn))
            if way_of(turn) == BACK:
                climbs.report(steps)
            steps.append(_settle(turn))
            settled = outputs.get(f"settle/{turn}")
            if settled is None:
                return steps
            if settled["next"] == "complete":
                return steps + self.leaving()
            turn += 1

    def abort_steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        if "leave" in outputs.begun:
            raise WrongState(
                "too late to abort: the old side is being emptied",
                next_step="let it finish; a new migration brings the tenant back",
            )
        routes = (
            Step(
                "abort/routes",
                "send every request to the source",
                StepKind.IDEMPOTENT,
                routing.route_home,
                retry=PATIENT,
            ),
        )
        return (
            *(routes if any(key.startswith("shift/") for key in outputs.begun) else ()),
            Step(
                "abort/return",
                "bring writes back to the source",
                StepKind.IDEMPOTENT,
                leaving.bring_back,
                retry=PATIENT,
            ),
            Step(
                "abort/clean",
                "remove feeds, fence and the copy",
                StepKind.IDEMPOTENT,
                leaving.clean_target,
                retry=PATIENT,
            ),
        )

    def aborted_state(self, operation: Operation, outputs: Outputs) -> State:  # noqa: ARG002
        return State.ROLLED_BACK if any(key.startswith("flip/") for key in outputs.begun) else State.ABORTED


class Roll(Migrate):
    """The requests of one tenant from ``spec['source']`` to ``spec['target']``, which use the same stores."""

    name = "roll@1"

    def filling(self, operation: Operation) -> Sequence[Step]:  # noqa: ARG002
        return (
            Step(
                "preflight",
                "make sure that no data has to move",
                StepKind.IDEMPOTENT,
                rolling.preflight,
                retry=PATIENT,
                on_error=OnError.FAIL,
            ),
        )

    def flip(self, operation: Operation, turn: int) -> Step:  # noqa: ARG002
        where = "the target" if way_of(turn) == FORWARD else "the source again"
        return Step(
            f"flip/{turn}", f"every request to {where}", StepKind.IDEMPOTENT, rolling.turn, retry=PATIENT
        )

    def leaving(self) -> list[Step]:
        return [Step("leave", "end it", StepKind.IDEMPOTENT, rolling.end, retry=PATIENT, critical=True)]

    def abort_steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        if "leave" in outputs.begun:
            raise WrongState("too late to abort: it has ended", next_step="move the tenant the other way")
        home = Step(
            "abort/routes",
            "every request to the source",
            StepKind.IDEMPOTENT,
            rolling.send_home,
            retry=PATIENT,
        )
        return (home,) if any(key.startswith(("shift/", "flip/")) for key in outputs.begun) else ()


def _windowed(operation: Operation) -> bool:
    return operation.spec.get("strategy") == Strategy.MAINTENANCE_WINDOW


def _filling() -> tuple[Step, ...]:
    """Everything up to the first flip; writes stay where they are."""
    run = StepKind.IDEMPOTENT
    return (
        Step(
            "preflight",
            "look for reasons not to move",
            run,
            provision.preflight,
            retry=PATIENT,
            on_error=OnError.FAIL,
        ),
        Step("provision", "make the target ready", run, provision.provision, retry=PATIENT),
        Step("arm", "arm the fence on both sides", run, provision.arm, retry=PATIENT),
        Step("feed", "hold back changes from now on", run, copying.create_feed, retry=PATIENT),
        Step("copy", "copy what is there", run, copying.copy, retry=PATIENT),
        Step("catch-up", "apply what changed meanwhile", run, copying.catch_up, retry=PATIENT),
        Step("way-back", "prepare and prove the way back", run, copying.prepare_way_back, retry=PATIENT),
        Step("verify", "verify every item", run, proving.verify, retry=PATIENT),
    )


def _filling_in_window() -> tuple[Step, ...]:
    """The same, under a fence from before the copy: everything that can be done beforehand is done beforehand."""
    before = [replace(step, on_error=OnError.FAIL) for step in _filling()]
    at = next(index for index, step in enumerate(before) if step.key == "feed")
    wait = Step("window", "wait for the window", StepKind.WAIT, holding.await_window, on_error=OnError.FAIL)
    hold = Step(
        "hold-writes", "hold writes for the window", StepKind.IDEMPOTENT, holding.hold_writes, retry=PATIENT,
        on_error=OnError.FAIL,
    )  # fmt: skip
    inside = (replace(step, run=holding.in_window(step.run)) for step in before[at + 1 :])
    return (*before[:at], wait, before[at], hold, *inside)


class Climbs:
    """The ways up to a flip, step by step, counted over the whole operation."""

    def __init__(self, percents: tuple[int, ...]) -> None:
        self._percents = percents
        self._climb = 0
        #: Times that requests went back so far; each has its own report.
        self._incident = 0

    def climb(self, steps: list[Step], outputs: Outputs) -> bool:
        """Add the steps of every climb until one gets to the top, or is thought to; False: none does yet."""
        while self._percents:
            self._climb += 1
            if not self._shifts(steps, outputs):
                return True
            self._incident += 1
            steps.append(_back(self._incident))
            steps.append(_report(self._incident))
            returned = outputs.get(f"back/{self._incident}", {})
            if returned.get("next") == OnFailure.ABORT:
                steps.append(_give_up(self._incident))
                return False
            steps.append(_hold(self._incident))
            if f"hold/{self._incident}" not in outputs:
                return False
        return True

    def report(self, steps: list[Step]) -> None:
        """Add the report of a flip back; without steps there was nothing to watch."""
        if self._percents:
            self._incident += 1
            steps.append(_report(self._incident))

    def _shifts(self, steps: list[Step], outputs: Outputs) -> bool:
        """Add the steps of this climb; whether one of them decided to go back."""
        again = f"/{self._climb}" if self._climb > 1 else ""
        for percent in self._percents:
            key = f"shift/{percent}{again}"
            steps.append(
                Step(
                    key,
                    f"{percent} % of the requests to the target",
                    StepKind.IDEMPOTENT,
                    shifting.shift,
                    retry=PATIENT,
                )
            )
            if outputs.get(key, {}).get("next") == "back":
                return True
        return False


def _back(incident: int) -> Step:
    return Step(
        f"back/{incident}",
        "every request back to the source",
        StepKind.IDEMPOTENT,
        shifting.send_back,
        retry=PATIENT,
    )


def _report(incident: int) -> Step:
    return Step(
        f"postmortem/{incident}",
        "write the post-mortem",
        StepKind.IDEMPOTENT,
        postmortem.write,
        retry=PATIENT,
    )


def _hold(incident: int) -> Step:
    return Step(f"hold/{incident}", "keep the target ready", StepKind.WAIT, settling.hold, retry=PATIENT)


def _give_up(incident: int) -> Step:
    return Step(
        f"give-up/{incident}",
        "take the migration back",
        StepKind.IDEMPOTENT,
        shifting.give_up,
        on_error=OnError.FAIL,
    )


def _flip(turn: int, *, in_window: bool = False) -> Step:
    where = "the target" if way_of(turn) == FORWARD else "the source again"
    step = Step(f"flip/{turn}", f"make {where} the writer", StepKind.IDEMPOTENT, turning.flip, retry=PATIENT)
    return replace(step, run=holding.in_window(step.run), on_error=OnError.FAIL) if in_window else step


def _settle(turn: int) -> Step:
    title = "keep the old side ready" if way_of(turn) == FORWARD else "rolled back, keep the target ready"
    return Step(f"settle/{turn}", title, StepKind.WAIT, settling.settle, retry=PATIENT)


def _leaving() -> list[Step]:
    run = StepKind.IDEMPOTENT
    return [
        Step(
            "final-verify",
            "verify once more before the old side goes",
            run,
            proving.verify_before_leaving,
            retry=PATIENT,
        ),
        Step("leave", "empty the old side", run, leaving.leave, retry=PATIENT, critical=True),
    ]
