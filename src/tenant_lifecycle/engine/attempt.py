"""One attempt at one step: intent, the effect, the outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from tenant_lifecycle.engine.context import RunningStep
from tenant_lifecycle.engine.heartbeat import Heartbeat
from tenant_lifecycle.engine.journal import Journal, Lease, Release, StepEnd, View
from tenant_lifecycle.engine.retry import error_record
from tenant_lifecycle.engine.steps import (
    Done,
    Interrupted,
    OnError,
    Outcome,
    Probed,
    Step,
    StepKind,
    Wait,
)
from tenant_lifecycle.errors import Fenced, LeaseLost
from tenant_lifecycle.model.operation import ErrorRecord, Outputs, State, StepRecord, StepStatus

logger = logging.getLogger(__name__)

#: How often a driver that holds an operation while waiting looks for signals.
HOLD_POLL_S = 0.1
#: Far enough; a finite number, so that it is the same in every database.
_NEVER = 1e11
#: What an attempt that was cut off or failed may have left behind is unknown to the journal.
_DOUBTFUL = frozenset({StepStatus.INTENT, StepStatus.FAILED, StepStatus.UNKNOWN})


class Attempt:
    """Runs a step once; `run` says whether, and how, the operation is to be released."""

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        pulse: Heartbeat,
        view: View,
        step: Step,
        before: StepRecord | None,
        open_session: Callable[[], Any],
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._lease = lease
        self._pulse = pulse
        self._view = view
        self._step = step
        self._before = before
        self._open_session = open_session
        self._clock = clock
        self._failures = before.failures if before else 0
        self._taken: tuple[int, ...] = ()

    def run(self) -> Release | None:
        """Do it. None: go on with whatever is next."""
        record = self._journal.intent(self._lease, self._step, self._before)
        logger.info("step starts: %s", self._step.title, extra={"action": "step", "step": self._step.key})
        try:
            outcome = self._act(record)
        except Interrupted:
            return None
        except LeaseLost:
            raise
        except Fenced as error:
            # Raises LeaseLost if the store was right. If the lease still is ours the journal is behind the
            # stores (it was restored): the next lease takes a token above theirs.
            self._journal.guard(self._lease)
            return self._failed(error, again=self._failures + 1 < self._step.retry.attempts)
        except Exception as error:
            return self._failed(error, again=self._step.retry.tries_again(error, self._failures + 1))
        if isinstance(outcome, Probed):
            return self._unknown()
        if isinstance(outcome, Done):
            self._journal.done(self._lease, self._step.key, outcome, self._taken)
            return None
        return self._wait(outcome)

    def _act(self, record: StepRecord) -> Outcome | Probed:
        """Probe if need be, and run; whatever happens, the latest progress is written."""
        session = self._open_session()
        outputs = Outputs.of(self._view.steps)
        ctx = RunningStep(
            self._journal,
            self._lease,
            self._pulse,
            self._view.operation,
            record,
            outputs,
            session,
            self._step.retry,
            self._clock,
        )
        try:
            ctx.check()
            outcome = self._probe(ctx) or self._step.run(ctx)
        except LeaseLost:
            raise
        except Exception:
            self._keep(ctx)
            raise
        self._keep(ctx)
        return outcome

    def _keep(self, ctx: RunningStep) -> None:
        ctx.flush()
        self._failures = ctx.failures
        self._taken = tuple(ctx.taken)

    def _probe(self, ctx: RunningStep) -> Outcome | Probed | None:
        """Ask the outside about an attempt before; None: nothing happened, or there was none."""
        before, probe = self._before, self._step.probe
        if probe is None or self._step.kind is not StepKind.PROBE:
            return None
        if before is None or before.status not in _DOUBTFUL:
            return None
        match probe(ctx):
            case Probed.DONE:
                return Done({"probed": True})
            case Probed.NOT_DONE:
                return None
            case unknown:
                return unknown

    def _wait(self, wait: Wait) -> Release | None:
        end = StepEnd(self._step.key, StepStatus.WAITING, consumed=self._taken)
        wake_at = _NEVER if wait.until is None else wait.until
        state = State.ABORTING if self._view.operation.aborting else State.WAITING
        release = Release(state, wait.why, wake_at, wait.signals, step=end)
        if not wait.hold:
            return release
        self._journal.hold(self._lease, release)
        while self._clock() < wake_at and not self._signalled(wait.signals):
            try:
                self._pulse.check()
            except Interrupted:
                return None
            time.sleep(max(0.0, min(HOLD_POLL_S, wake_at - self._clock())))
        return None

    def _signalled(self, kinds: tuple[str, ...]) -> bool:
        return bool(kinds) and self._journal.next_signal(self._lease.operation_id, kinds, ()) is not None

    def _failed(self, error: Exception, *, again: bool) -> Release | None:
        record = error_record(error, self._step.key)
        logger.warning(
            "step fails: %s: %s",
            self._step.title,
            record.kind,
            extra={"action": "step", "step": self._step.key, "error": record.kind},
        )
        failures = self._failures + 1
        if again:
            pause = self._step.retry.delay_s(failures)
            wake_at = self._clock() + pause
            end = StepEnd(self._step.key, StepStatus.FAILED, record, failures, wake_at)
            state = State.ABORTING if self._view.operation.aborting else State.WAITING
            why = f"{self._step.title}: {record.message}; try {failures + 1} of {self._step.retry.attempts}"
            return Release(state, why, wake_at, step=end)
        end = StepEnd(self._step.key, StepStatus.FAILED, record, failures)
        if self._step.on_error is OnError.FAIL and not self._view.operation.aborting:
            self._journal.begin_abort(self._lease, record, end)
            return None
        return Release(State.ATTENTION, f"{self._step.title}: {record.message}", error=record, step=end)

    def _unknown(self) -> Release:
        record = ErrorRecord(
            "OutcomeUnknown",
            f"whether {self._step.title!r} happened cannot be told; doing it twice could do harm",
            "find out, then retry the operation or resolve the step by hand",
            step=self._step.key,
        )
        end = StepEnd(self._step.key, StepStatus.UNKNOWN, record, self._failures)
        return Release(State.ATTENTION, record.message, error=record, step=end)
