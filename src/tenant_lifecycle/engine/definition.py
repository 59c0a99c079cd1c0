"""Definitions: what an operation of a kind consists of, as a pure function of what was journaled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from tenant_lifecycle.engine.steps import Step, undo_key
from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.operation import Operation, Outputs, State, StepKind


class Definition(ABC):
    """The steps of one kind of operation.

    A change of what a step means needs a new version (``migrate@2``); running operations keep theirs. Adding
    a step is compatible.
    """

    #: Name and version, ``migrate@1``.
    name: ClassVar[str]
    #: The operation's kind, ``migrate``.
    kind: ClassVar[str]

    @abstractmethod
    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        """All steps so far known, in order; the first one that is not done runs next.

        Pure. Called again after every step, so a flow may grow (``flip/1``, ``settle/1``, ``flip/2``). Every
        step that began must stay in it. The operation has succeeded when all of them are done.
        """

    def abort_steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        """What an abort has to do, all of it, done or not; the default undoes what began, newest first.

        Pure, and re-evaluated like `steps`. Must not depend on the outputs of abort steps for its order.

        Raises:
            WrongState: too late (a critical step began); the message says why, the operation goes on.
        """
        return undo_steps(self.steps(operation, outputs), outputs)

    def aborted_state(self, operation: Operation, outputs: Outputs) -> State:  # noqa: ARG002
        """The state after an abort asked for by a person: ABORTED, or ROLLED_BACK where traffic moved back."""
        return State.ABORTED

    def session(self, operation: Operation, token: int) -> AbstractContextManager[Any]:  # noqa: ARG002
        """Opened by the driver before its first step and held for as long as it drives.

        For connections and feeds that outlive a step. Left on release, pause, retry and loss of the lease;
        leaving must not undo anything: another driver may already be at work.
        """
        return nullcontext()


def undo_steps(steps: Sequence[Step], outputs: Outputs) -> list[Step]:
    """Undo everything that began, newest first.

    Raises:
        WrongState: a critical step began.
    """
    begun = set(outputs.begun)
    for step in steps:
        if step.critical and step.key in begun:
            raise WrongState(
                f"too late to abort: {step.title!r} has begun and cannot be taken back",
                next_step="let it finish",
            )
    return [
        Step(undo_key(step.key), f"undo: {step.title}", StepKind.IDEMPOTENT, step.undo, retry=step.retry)
        for step in reversed(steps)
        if step.undo is not None and step.key in begun
    ]
