"""What a driver does next: a pure function of the journal and of the definition."""

from __future__ import annotations

from dataclasses import dataclass

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.journal import View
from tenant_lifecycle.engine.steps import Step
from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.operation import Desired, Json, Outputs, State, StepRecord, StepStatus


@dataclass(frozen=True, slots=True)
class RunStep:
    """Begin or continue this step."""

    step: Step
    record: StepRecord | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Let go until somebody resumes."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """Leave the operation to another driver, now."""


@dataclass(frozen=True, slots=True)
class BeginAbort:
    """Turn round."""


@dataclass(frozen=True, slots=True)
class RefuseAbort:
    """Too late to turn round."""

    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do."""

    state: State
    result: Json | None


Action = RunStep | Pause | LetGo | BeginAbort | RefuseAbort | Finish


def next_action(view: View, definition: Definition, *, stopping: bool) -> Action:
    """Decide what to do at a safe point, between steps."""
    operation, outputs = view.operation, Outputs.of(view.steps)
    if operation.desired is Desired.PAUSE:
        return Pause()
    if operation.desired is Desired.ABORT and not operation.aborting:
        try:
            definition.abort_steps(operation, outputs)
        except WrongState as refusal:
            return RefuseAbort(str(refusal))
        return BeginAbort()
    if stopping:
        return LetGo()
    steps = (definition.abort_steps if operation.aborting else definition.steps)(operation, outputs)
    records = {record.key: record for record in view.steps}
    for step in steps:
        record = records.get(step.key)
        if record is None or record.status is not StepStatus.DONE:
            return RunStep(step, record)
    if not operation.aborting:
        return Finish(State.SUCCEEDED, outputs[steps[-1].key] if steps else {})
    if operation.cause is not None:
        return Finish(State.FAILED, None)
    return Finish(definition.aborted_state(operation, outputs), None)
