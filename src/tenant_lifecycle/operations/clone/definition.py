"""The steps of a clone, and of taking one away.

check, enter, build, expose/STORE ..., confirm/STORE ..., discard/STORE ..., show
mark, empty/STORE ..., forget
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.steps import OnError, Outcome, Step, StepContext, StepKind
from tenant_lifecycle.model.operation import Operation, Outputs
from tenant_lifecycle.operations.clone import exposing
from tenant_lifecycle.operations.clone.masking import build
from tenant_lifecycle.operations.clone.session import CloneSession, OpenClone

PATIENT = Retry(attempts=30, first_s=0.2, factor=1.6, ceiling_s=15.0)
_Run = Callable[[StepContext], Outcome]


class _OfClone(Definition):
    def __init__(self, open_session: OpenClone) -> None:
        self._open = open_session

    @contextmanager
    def session(self, operation: Operation, token: int) -> Iterator[CloneSession]:
        session = self._open(operation, token)
        try:
            yield session
        finally:
            session.close()


class MakeClone(_OfClone):
    """One clone under ``spec['as']`` in ``spec['environment']``."""

    name = "clone@1"
    kind = "clone"

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        stores = operation.spec["stores"]
        return [
            _step("check", "see that it can be masked and put there", exposing.check),
            _step("enter", "note whose it is, and until when", exposing.enter, exposing.destroyed),
            _step("build", "mask it, and look through it for leaks", build, exposing.discard_all),
            *(_step(f"expose/{s}", f"{s}: put it there", exposing.expose, exposing.empty) for s in stores),
            *(_step(f"confirm/{s}", f"{s}: read it back", exposing.confirm) for s in stores),
            *(_step(f"discard/{s}", f"{s}: take the preview away", exposing.discard) for s in stores),
            _step("show", "note that it is there", exposing.show),
        ]


class DeleteClone(_OfClone):
    """Everything of the clone ``spec['clone']`` out of its environment."""

    name = "clone-delete@1"
    kind = "clone-delete"

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        run = StepKind.IDEMPOTENT
        stores = operation.spec["stores"]
        return [
            Step("mark", "note that it goes", run, exposing.mark_deleting, retry=PATIENT),
            *(Step(f"empty/{s}", f"{s}: take it away", run, exposing.empty, retry=PATIENT) for s in stores),
            Step("forget", "note that it is gone", run, exposing.deleted, retry=PATIENT),
        ]


def _step(key: str, title: str, run: _Run, undo: _Run | None = None) -> Step:
    return Step(key, title, StepKind.IDEMPOTENT, run, undo=undo, retry=PATIENT, on_error=OnError.FAIL)
