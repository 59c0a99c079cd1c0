"""When waiting for an operation is over, and with which exit code: pure functions of what the journal says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle import errors
from tenant_lifecycle.cli.exit_codes import OUTCOMES, ExitCode, code_of
from tenant_lifecycle.cli.why import current_step
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepRecord, StepStatus

#: States in which nothing goes on before a person does something.
STANDS = frozenset({State.PAUSED, State.ATTENTION})


class Goal(Protocol):
    """What a command waits for."""

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:
        """The exit code once waiting is over; None: wait on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The operation ended, or stands until a person does something."""

    #: States that were asked for, and so are a success.
    wanted: frozenset[State] = frozenset({State.SUCCEEDED})

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:  # noqa: ARG002
        if operation.state in self.wanted:
            return ExitCode.OK
        return _ended_otherwise(operation)


@dataclass(frozen=True, slots=True)
class Flipped:
    """A flip was done: the ``turn``-th of the operation, counted from 1."""

    turn: int

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:
        if flips_done(steps) >= self.turn:
            return ExitCode.OK
        if operation.state not in TERMINAL | STANDS and waits_for_promote(steps):
            return ExitCode.WAITS_FOR_PERSON
        return _ended_otherwise(operation)


@dataclass(frozen=True, slots=True)
class Promoted:
    """The ``turn``-th flip was done; that the operation still waits for its promote is only a moment."""

    turn: int
    #: Key of the step that was told; "" for whichever waits. If another one waits later, a gate failed again.
    told: str = ""

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:
        waits = waits_for_promote(steps)
        step = current_step(steps)
        same = step is not None and self.told in ("", step.key)
        if waits and same and operation.state not in TERMINAL | STANDS:
            return None
        return Flipped(self.turn).reached(operation, steps)


@dataclass(frozen=True, slots=True)
class SentBack:
    """Requests went back to the source: the ``times``-th time of the operation, counted from 1."""

    times: int

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:
        if times_sent_back(steps) >= self.times:
            return ExitCode.OK
        return _ended_otherwise(operation)


@dataclass(frozen=True, slots=True)
class LiveErased:
    """The live systems of an erasure are verified; rescans follow. Or a person is needed, or it ended."""

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:
        if operation.state in TERMINAL | STANDS:
            return outcome(operation)
        step = current_step(steps)
        if step is not None and step.status is StepStatus.WAITING:
            if step.key.startswith(("rescan/", "age/")):
                return ExitCode.OK
            if step.key.startswith(("residual/", "holds")):
                return ExitCode.WAITS_FOR_PERSON
        return None


@dataclass(frozen=True, slots=True)
class Previewed:
    """A restore lies beside what is live and waits for a word; or it ended."""

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:
        step = current_step(steps)
        if step is not None and step.key == "decide" and step.status is StepStatus.WAITING:
            return ExitCode.OK
        return outcome(operation) if operation.state in TERMINAL | STANDS else None


@dataclass(frozen=True, slots=True)
class Paused:
    """It stands as asked, or ended before it came to a safe point."""

    def reached(self, operation: Operation, steps: Sequence[StepRecord]) -> ExitCode | None:  # noqa: ARG002
        if operation.state is State.PAUSED:
            return ExitCode.OK
        return _ended_otherwise(operation)


def _ended_otherwise(operation: Operation) -> ExitCode | None:
    """The code where nothing more will come; a good end is a failure too if it is not what was asked for."""
    if operation.state not in TERMINAL | STANDS:
        return None
    return outcome(operation) or ExitCode.FAILED


def flips_done(steps: Sequence[StepRecord]) -> int:
    """How many flips of the operation are done."""
    return sum(1 for step in steps if step.key.startswith("flip/") and step.status is StepStatus.DONE)


def times_sent_back(steps: Sequence[StepRecord]) -> int:
    """How many times requests went back from a step before the flip."""
    return sum(1 for step in steps if step.key.startswith("back/") and step.status is StepStatus.DONE)


def waits_for_promote(steps: Sequence[StepRecord]) -> bool:
    """Whether the operation stays where it is until a person says promote."""
    step = current_step(steps)
    return step is not None and step.key.startswith(("promote/", "hold/"))


def is_shifting(steps: Sequence[StepRecord]) -> bool:
    """Whether some of the requests go to the target, and a person may say promote or rollback."""
    step = current_step(steps)
    return step is not None and step.key.startswith("shift/")


def outcome(operation: Operation) -> ExitCode:
    """The exit code of an operation as it is; a failed one has that of its cause."""
    if operation.state is State.FAILED and operation.error is not None:
        kind = getattr(errors, operation.error.kind, None)
        if isinstance(kind, type) and issubclass(kind, errors.LifecycleError):
            return code_of(kind)
    return OUTCOMES[operation.state]
