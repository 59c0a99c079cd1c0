"""When waiting is over, and with which code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_why import OPERATION, STEP

from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import Ended, Flipped, Goal, Paused, Promoted, outcome
from tenant_lifecycle.model.operation import ErrorRecord, Operation, State, StepRecord, StepStatus


def flip(turn: int, status: StepStatus = StepStatus.DONE) -> StepRecord:
    return replace(STEP, key=f"flip/{turn}", ord=10 * turn, status=status)


def at(state: State) -> Operation:
    return replace(OPERATION, state=state)


PROMOTE = replace(STEP, key="promote/1", ord=9)
RUNNING, DONE = at(State.RUNNING), at(State.SUCCEEDED)


@pytest.mark.parametrize(
    ("goal", "operation", "steps", "code"),
    [
        (Ended(), RUNNING, [], None),
        (Ended(), DONE, [], ExitCode.OK),
        (Ended(), at(State.ABORTED), [], ExitCode.FAILED),
        (Ended(frozenset({State.ABORTED})), at(State.ABORTED), [], ExitCode.OK),
        (Ended(frozenset({State.ABORTED})), DONE, [], ExitCode.FAILED),
        (Ended(), at(State.ATTENTION), [], ExitCode.NEEDS_ATTENTION),
        (Ended(), at(State.PAUSED), [], ExitCode.WAITS_FOR_PERSON),
        (Flipped(1), RUNNING, [flip(1, StepStatus.INTENT)], None),
        (Flipped(1), RUNNING, [flip(1)], ExitCode.OK),
        (Flipped(2), RUNNING, [flip(1)], None),
        (Flipped(2), DONE, [flip(1)], ExitCode.FAILED),
        (Flipped(1), RUNNING, [PROMOTE], ExitCode.WAITS_FOR_PERSON),
        (Flipped(1), at(State.ATTENTION), [], ExitCode.NEEDS_ATTENTION),
        (Promoted(1), RUNNING, [PROMOTE], None),
        (Promoted(1), at(State.PAUSED), [PROMOTE], ExitCode.WAITS_FOR_PERSON),
        (Promoted(1), RUNNING, [replace(PROMOTE, status=StepStatus.DONE), flip(1)], ExitCode.OK),
        (Paused(), RUNNING, [], None),
        (Paused(), at(State.PAUSED), [], ExitCode.OK),
        (Paused(), DONE, [], ExitCode.FAILED),
    ],
)
def test_goals(goal: Goal, operation: Operation, steps: list[StepRecord], code: ExitCode | None) -> None:
    assert goal.reached(operation, steps) == code


def test_a_failed_operation_ends_with_the_code_of_its_cause() -> None:
    def failed(kind: str) -> Operation:
        return replace(at(State.FAILED), error=ErrorRecord(kind, "because"))

    assert outcome(failed("TargetOccupied")) is ExitCode.REFUSED
    assert outcome(failed("StoreUnavailable")) is ExitCode.UNREACHABLE
    assert outcome(failed("KeyError")) is ExitCode.FAILED
    assert outcome(failed("Sequence")) is ExitCode.FAILED
