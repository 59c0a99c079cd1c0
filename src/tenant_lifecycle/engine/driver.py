"""The driver: one function, `Driver.drive`, that takes an operation as far as it goes now.

It takes the lease, runs steps until the operation ends, waits or is stopped, and lets go. Killed at any
instruction it leaves rows from which another driver goes on. After the loss of the lease it touches nothing:
the new owner owns the truth.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from typing import Any

from tenant_lifecycle.engine.attempt import Attempt
from tenant_lifecycle.engine.decide import (
    BeginAbort,
    Finish,
    LetGo,
    Pause,
    RefuseAbort,
    RunStep,
    next_action,
)
from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.heartbeat import Heartbeat
from tenant_lifecycle.engine.journal import Journal, Lease, Release, Standing, View
from tenant_lifecycle.engine.owner import Owner
from tenant_lifecycle.engine.retry import error_record
from tenant_lifecycle.engine.steps import Step
from tenant_lifecycle.errors import Fenced, LeaseLost
from tenant_lifecycle.model.operation import DRIVABLE, State, StepRecord

logger = logging.getLogger(__name__)

#: Asks the stores for the largest driver token they have seen of a tenant (repair after a restored journal).
Floor = Callable[[str], int]


class Drove(StrEnum):
    """How a drive ended."""

    #: The lease was not to be had: somebody drives, or it is not time yet. Ask again later.
    DENIED = "denied"
    #: Another driver took over in the middle.
    LOST = "lost"
    #: The operation waits for a time, a signal, a person, or the next driver.
    RELEASED = "released"
    #: The operation is in a terminal state.
    ENDED = "ended"


class Driver:
    """Drives operations of the definitions it knows; used by any number of threads at once."""

    def __init__(
        self,
        journal: Journal,
        definitions: Iterable[Definition],
        *,
        ttl_s: float = 10.0,
        floor: Floor | None = None,
    ) -> None:
        self._journal = journal
        self._definitions: Mapping[str, Definition] = {d.name: d for d in definitions}
        self._ttl_s = ttl_s
        self._floor = floor

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the definitions it can drive."""
        return tuple(sorted(self._definitions))

    def drive(self, operation_id: str, stopping: Callable[[], bool] = lambda: False) -> Drove:
        """Take the operation as far as it goes now.

        ``stopping`` is asked at safe points; once true, the operation is left to other drivers.

        Raises:
            UnknownOperation: there is none with that id.
            StoreError: the control database does not answer; the lease runs out by itself.
        """
        started = time.monotonic()
        lease = self._acquire(operation_id)
        if lease is None:
            return Drove.DENIED
        definition = self._definitions[self._journal.peek(operation_id).definition]
        with Heartbeat(self._journal, lease, stopping, started) as pulse:
            try:
                return Drive(self._journal, lease, pulse, definition, stopping).run()
            except (LeaseLost, Fenced) as error:
                logger.info(
                    "driver stops: %s",
                    type(error).__name__,
                    extra={"action": "lost", "operation": operation_id},
                )
                return Drove.LOST

    def _acquire(self, operation_id: str) -> Lease | None:
        operation = self._journal.peek(operation_id)
        if operation.state not in DRIVABLE or operation.definition not in self._definitions:
            return None
        floor = 0
        if self._floor is not None:
            try:
                floor = self._floor(operation.tenant_id)
            except Exception as error:
                # Without an answer the token may be too small; stores refuse it then, and nothing is harmed.
                logger.warning("no token floor: %s", type(error).__name__, extra={"action": "floor"})
        owner = str(Owner.of_this_process())
        return self._journal.acquire(operation_id, owner, self._ttl_s, self.known, floor)


class Drive:
    """One drive under one lease."""

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        pulse: Heartbeat,
        definition: Definition,
        stopping: Callable[[], bool],
    ) -> None:
        self._journal = journal
        self._lease = lease
        self._pulse = pulse
        self._definition = definition
        self._stopping = stopping
        self._ahead = journal.now() - time.time()
        self._session = ExitStack()
        self._opened: list[Any] = []

    def run(self) -> Drove:
        """Drive until the operation ends or is released; the session is left before the lease is."""
        try:
            try:
                release = self._loop()
            except BaseException as error:
                self._leave(error)
                raise
            self._leave(None)
        except (LeaseLost, Fenced):
            raise
        except BaseException as error:
            self._drop(error)
            raise
        if release is None:
            return Drove.ENDED
        self._journal.release(self._lease, release)
        return Drove.RELEASED

    def _loop(self) -> Release | None:
        """Go from step to step; None when the operation ended."""
        while True:
            asked = time.monotonic()
            view = self._journal.view(self._lease)
            operation = view.operation
            self._pulse.see(Standing(True, operation.desired, operation.aborting), asked)
            try:
                action = next_action(view, self._definition, stopping=self._stopping())
            except Exception as error:
                record = error_record(error, "")
                return Release(State.ATTENTION, record.message, error=record)
            match action:
                case Pause():
                    return Release(State.PAUSED, why="paused by a person")
                case LetGo():
                    return Release(State.ABORTING if operation.aborting else State.QUEUED)
                case BeginAbort():
                    self._journal.begin_abort(self._lease, None, None)
                case RefuseAbort(why):
                    self._journal.refuse_abort(self._lease, why)
                case Finish(state, result):
                    self._leave(None)
                    self._journal.finish(self._lease, state, result)
                    return None
                case RunStep(step, before):
                    release = self._attempt(view, step, before).run()
                    if release is not None:
                        return release

    def _attempt(self, view: View, step: Step, before: StepRecord | None) -> Attempt:
        return Attempt(self._journal, self._lease, self._pulse, view, step, before, self.open, self.now)

    def now(self) -> float:
        """The database's clock, near enough, without a round trip."""
        return time.time() + self._ahead

    def open(self) -> Any:
        """The session, opened on the first call."""
        if not self._opened:
            operation = self._journal.peek(self._lease.operation_id)
            self._opened.append(
                self._session.enter_context(self._definition.session(operation, self._lease.token))
            )
        return self._opened[0]

    def _leave(self, error: BaseException | None) -> None:
        """Leave the session; what it says on leaving changes nothing about the operation."""
        session, self._session = self._session, ExitStack()
        self._opened.clear()
        try:
            session.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except Exception as failure:
            if failure is not error:
                logger.warning("session: %s", type(failure).__name__, extra={"action": "session"})

    def _drop(self, error: BaseException) -> None:
        """Let others go on soon, if that can be said; without it, the lease has to run out first."""
        try:
            standing = self._journal.guard(self._lease)
            self._journal.event(self._lease, "driver_stopped", {"error": type(error).__name__})
            state = State.ABORTING if standing.aborting else State.QUEUED
            # An error of ours, not an order to stop: not again at once.
            wake_at = self.now() + 1.0 if isinstance(error, Exception) else 0.0
            self._journal.release(self._lease, Release(state, wake_at=wake_at, stalled=True))
        except Exception:
            logger.info(
                "lease left to run out", extra={"action": "drop", "operation": self._lease.operation_id}
            )
