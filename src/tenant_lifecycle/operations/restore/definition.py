"""The steps of a restore, as a pure function of what the journal says is done.

    check, load/STORE ..., prove/STORE ..., migrate/STORE ..., compare/STORE ..., decide
    then, if somebody says promote:   arm, safety, promote, rebase, disarm, discard/STORE ...
    or, if somebody says discard:     discard/STORE ...

Until `promote` nothing live is touched, and all of it can be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.steps import OnError, Step, StepKind
from tenant_lifecycle.model.operation import Operation, Outputs
from tenant_lifecycle.operations.restore import loading, promoting
from tenant_lifecycle.operations.restore.session import OpenRestore, RestoreSession

_RUN = StepKind.IDEMPOTENT
PATIENT = Retry(attempts=30, first_s=0.2, factor=1.6, ceiling_s=15.0)


class Restore(Definition):
    """One tenant in ``spec['environment']`` as it was at ``spec['at_us']``."""

    name = "restore@1"
    kind = "restore"

    def __init__(self, open_session: OpenRestore) -> None:
        self._open = open_session

    @contextmanager
    def _session(self, operation: Operation, token: int) -> Iterator[RestoreSession]:
        session = self._open(operation, token)
        try:
            yield session
        finally:
            session.close()

    def session(self, operation: Operation, token: int) -> AbstractContextManager[RestoreSession]:
        return self._session(operation, token)

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        stores = operation.spec["stores"]
        following = outputs.get("decide", {}).get("next")
        steps = _beside(stores)
        if following is None:
            return steps
        return [*steps, *(_in_place() if following == promoting.PROMOTE else []), *_discard(stores)]


def _beside(stores: Sequence[str]) -> list[Step]:
    """Everything up to a person's word; a failure takes the previews away again."""
    fail = OnError.FAIL
    return [
        Step("check", "see that it can be restored", _RUN, loading.check, on_error=fail, retry=PATIENT),
        *(
            Step(
                f"load/{name}", f"{name}: load beside what is live", _RUN, loading.load,
                undo=loading.discard, on_error=fail, retry=PATIENT,
            )
            for name in stores
        ),
        *(
            Step(f"prove/{name}", f"{name}: prove it", _RUN, loading.prove, on_error=fail, retry=PATIENT)
            for name in stores
        ),
        *(
            Step(
                f"migrate/{name}", f"{name}: bring it to today's schema", _RUN, loading.migrate,
                on_error=fail, retry=PATIENT,
            )
            for name in stores
        ),
        *(
            Step(f"compare/{name}", f"{name}: compare with what is live", _RUN, loading.compare, retry=PATIENT)
            for name in stores
        ),
        Step("decide", "wait for a person's word", StepKind.WAIT, promoting.decide),
    ]  # fmt: skip


def _in_place() -> list[Step]:
    return [
        Step("arm", "see that writes can be held", _RUN, promoting.arm, undo=promoting.disarm, retry=PATIENT),
        Step("safety", "back up what is live", _RUN, promoting.safety, retry=PATIENT),
        Step("promote", "replace what is live", _RUN, promoting.promote, critical=True, retry=PATIENT),
        Step("rebase", "begin the new time-line", _RUN, promoting.rebase, retry=PATIENT),
        Step("disarm", "leave the fence as it was", _RUN, promoting.disarm, retry=PATIENT),
    ]


def _discard(stores: Sequence[str]) -> list[Step]:
    return [
        Step(f"discard/{name}", f"{name}: take the preview away", _RUN, loading.discard, retry=PATIENT)
        for name in stores
    ]
