"""The steps of an erasure, as a pure function of what the journal says is done.

    check, plant, close, neighbours/1/before, freeze/1/SYSTEM ..., compare, holds, no-return
    then in rounds n = 1, 2, ... until the verifier finds nothing:
        [freeze/n/SYSTEM ...]  erase/n/SYSTEM ...  settle/n/SYSTEM ...
        look/n/1/SYSTEM ...  pause/n  look/n/2/SYSTEM ...  neighbours/n/after  judge/n  [residual/n]
    and at the end: certificate/interim/n, interim/n, rescan/n/0 ..., age/n/0, then
        forget, shred, certificate/final/n, complete/n
    or, under a hold, certificate/partial/n, partial/n

A certificate is there before the request says that it is so far.

Every round ends with outcomes that are computed from evidence. A rescan that finds something begins another round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from tenant_lifecycle.engine.definition import Definition, undo_steps
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.steps import OnError, Outcome, Step, StepContext, StepKind
from tenant_lifecycle.model.operation import Operation, Outputs
from tenant_lifecycle.operations.erase import certifying, deleting, ending, opening, verifying
from tenant_lifecycle.operations.erase.session import ErasureSession, OpenErasure

#: A system that is down gets its outcome from the step itself; the engine only keeps trying until then.
PATIENT = Retry(attempts=100_000, first_s=0.2, factor=1.6, ceiling_s=15.0)
Run = Callable[[StepContext], Outcome]


class Erase(Definition):
    """One tenant out of every system of ``spec['systems']``, for the request ``spec['request']``."""

    name = "erase@1"
    kind = "erase"

    def __init__(self, open_session: OpenErasure) -> None:
        self._open = open_session

    @contextmanager
    def _session(self, operation: Operation, token: int) -> Iterator[ErasureSession]:
        session = self._open(operation.id, operation.spec["request"], token)
        try:
            yield session
        finally:
            session.close()

    def session(self, operation: Operation, token: int) -> AbstractContextManager[ErasureSession]:
        return self._session(operation, token)

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        systems = operation.spec["systems"]
        steps = _opening(systems)
        number = 1
        while True:
            steps += _round(number, systems)
            following = outputs.get(f"judge/{number}", {}).get("next")
            if following == "held":
                end = _step(f"partial/{number}", "keep what a hold keeps", ending.partial)
                return [*steps, _certificate("partial", number), end]
            if following == "on":
                following = _ending(steps, number, operation.spec["rescans"], outputs)
            elif following == "person":
                wait = f"residual/{number}"
                steps.append(_step(wait, "wait for a person", verifying.await_person, StepKind.WAIT))
                following = "again" if wait in outputs else None
            if following != "again":
                return steps
            number += 1

    def abort_steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        back = undo_steps(self.steps(operation, outputs), outputs)
        return [*back, _step("abort/request", "cancel the request", opening.give_back)]


def _step(key: str, title: str, run: Run, kind: StepKind = StepKind.IDEMPOTENT) -> Step:
    return Step(key, title, kind, run, retry=PATIENT)


def _certificate(stage: str, number: int) -> Step:
    return _step(f"certificate/{stage}/{number}", f"issue the {stage} certificate", certifying.certify)


def _opening(systems: Sequence[str]) -> list[Step]:
    """Everything that can be taken back, and the step after which nothing can."""
    run = StepKind.IDEMPOTENT
    return [
        Step("check", "see that the plan is the approved one", run, opening.check, on_error=OnError.FAIL),
        _step("plant", "plant canaries", opening.plant),
        Step("close", "refuse the tenant's writes", run, opening.close, undo=opening.reopen, retry=PATIENT),
        _step("neighbours/1/before", "count what others have", verifying.count_neighbours),
        *(_freeze(1, name) for name in systems),
        Step("compare", "compare with the approved plan", run, opening.compare, on_error=OnError.FAIL),
        _step("holds", "see that no hold keeps all of it", opening.await_release, StepKind.WAIT),
        Step(
            "no-return", "pass the point of no return", run, opening.no_return, retry=PATIENT, critical=True
        ),
    ]


def _freeze(number: int, name: str) -> Step:
    return Step(
        f"freeze/{number}/{name}",
        f"{name}: freeze what will go",
        StepKind.IDEMPOTENT,
        opening.freeze,
        undo=opening.shred if number == 1 else None,
        retry=PATIENT,
    )


def _round(number: int, systems: Sequence[str]) -> list[Step]:
    steps = [] if number == 1 else [_freeze(number, name) for name in systems]
    steps += [_step(f"erase/{number}/{name}", f"{name}: erase", deleting.erase) for name in systems]
    steps += [_step(f"settle/{number}/{name}", f"{name}: clean out", deleting.settle) for name in systems]
    steps += [_step(f"look/{number}/1/{name}", f"{name}: search", verifying.look) for name in systems]
    steps.append(_step(f"pause/{number}", "let it settle", verifying.pause, StepKind.WAIT))
    steps += [_step(f"look/{number}/2/{name}", f"{name}: search again", verifying.look) for name in systems]
    return [
        *steps,
        _step(f"neighbours/{number}/after", "count what others have now", verifying.count_neighbours),
        _step(f"judge/{number}", "judge from the evidence", verifying.judge),
    ]


def _ending(steps: list[Step], number: int, rescans: int, outputs: Outputs) -> str | None:
    """Add what follows a verified round; ``again`` if something came back, None if it ends here or goes on."""
    steps += [
        _certificate("interim", number),
        _step(f"interim/{number}", "live systems are verified", ending.interim),
    ]
    waits = [(f"rescan/{number}/{index}", "search once more", ending.rescan) for index in range(rescans)]
    waits.append((f"age/{number}/0", "wait for stated dates", ending.age))
    for key, title, run in waits:
        steps.append(_step(key, title, run, StepKind.WAIT))
        following = outputs.get(key, {}).get("next")
        if following != "on":
            return "again" if following == "again" else None
    steps += [
        _step("forget", "take the tombstones away", ending.forget),
        _step("shred", "destroy the manifest's key", opening.shred),
        _certificate("final", number),
        _step(f"complete/{number}", "state the result", ending.complete),
    ]
    return None
