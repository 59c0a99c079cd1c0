"""Why an operation is where it is: one sentence, from its state, its steps and their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.operation import Desired, ErrorRecord, Operation, State, StepRecord, StepStatus


@dataclass(frozen=True, slots=True)
class _Case:
    """What a sentence is made from."""

    operation: Operation
    step: StepRecord | None
    now: float


def why(operation: Operation, steps: Sequence[StepRecord], now: float) -> str:
    """One sentence for people, ending with what they can do where they can do something."""
    return _SENTENCES[operation.state](_Case(operation, current_step(steps), now))


def current_step(steps: Sequence[StepRecord]) -> StepRecord | None:
    """The step that is at work or stands: the latest that is not done."""
    unfinished = [step for step in steps if step.status is not StepStatus.DONE]
    return max(unfinished, key=lambda step: step.ord, default=None)


def _queued(case: _Case) -> str:
    if case.operation.desired is Desired.ABORT:
        return "Waits for a driver, to be aborted."
    waited = format_duration(max(0.0, case.now - case.operation.created_at))
    return f"Waits for a driver, for {waited} now; tenantctl worker run starts one here."


def _running(case: _Case) -> str:
    silent = case.now - case.operation.lease_until
    if case.operation.owner is None or silent > 0:
        since = f" since {format_duration(silent)}" if silent > 0 and case.operation.lease_until else ""
        return f"Its driver does not report{since}; another takes over where it was."
    if case.operation.desired is not Desired.RUN:
        return f"A person wants {_WANTED[case.operation.desired]}; it is obeyed at the next safe point."
    if case.step is None:
        return "Runs: between two steps."
    return _at_work(case.step, case.now)


def _waiting(case: _Case) -> str:
    if case.step is not None and case.step.error is not None:
        return _failing(case.step, case.step.error, case.now)
    if case.operation.why:
        return _sentence(case.operation.why)
    if case.operation.wake_at > case.now:
        return f"Waits for {format_duration(case.operation.wake_at - case.now)}."
    return "Waits for a driver."


def _paused(case: _Case) -> str:
    at = f" at: {case.step.title}" if case.step is not None else ""
    return f"Paused by a person{at}; tenantctl op resume {case.operation.id} goes on."


def _aborting(case: _Case) -> str:
    if case.step is None:
        return "Takes back what was done."
    return "Takes back what was done. " + (
        _failing(case.step, case.step.error, case.now)
        if case.step.error is not None
        else _at_work(case.step, case.now)
    )


def _attention(case: _Case) -> str:
    error = case.operation.error or (case.step.error if case.step is not None else None)
    what = f"Stopped at: {case.step.title}. " if case.step is not None else "Stopped. "
    reason = (
        _of_error(error) if error is not None else _sentence(case.operation.why or "no reason was recorded")
    )
    return f"{what}{reason} Then: tenantctl op retry {case.operation.id}, or abort it."


def _succeeded(case: _Case) -> str:
    return f"Done{_took(case.operation)}; nothing is left to do."


def _failed(case: _Case) -> str:
    error = case.operation.error
    reason = f" {_of_error(error)}" if error is not None else ""
    return f"Failed, and nothing of it is left behind.{reason}"


def _aborted(case: _Case) -> str:
    return f"Aborted by a person{_took(case.operation)}; the tenant never left the source."


def _rolled_back(case: _Case) -> str:
    return (
        f"Rolled back and ended{_took(case.operation)}; "
        "the source is the writer again, with every acknowledged write."
    )


_WANTED = {Desired.PAUSE: "a pause", Desired.ABORT: "an abort", Desired.RUN: "it to go on"}
#: One sentence per state; complete by test.
_SENTENCES: Mapping[State, Callable[[_Case], str]] = {
    State.QUEUED: _queued,
    State.RUNNING: _running,
    State.WAITING: _waiting,
    State.PAUSED: _paused,
    State.ABORTING: _aborting,
    State.ATTENTION: _attention,
    State.SUCCEEDED: _succeeded,
    State.FAILED: _failed,
    State.ABORTED: _aborted,
    State.ROLLED_BACK: _rolled_back,
}


def _at_work(step: StepRecord, now: float) -> str:
    if step.error is not None and step.status is StepStatus.FAILED:
        return _failing(step, step.error, now)
    told = step.detail.get("not_ready") or step.detail.get("why")
    if told:
        until = step.detail.get("until")
        left = f" ({format_duration(until - now)} left)" if isinstance(until, int | float) else ""
        return f"{step.title.capitalize()}: {told}{left}."
    return f"Runs: {step.title}, for {format_duration(max(0.0, now - step.first_at))} now."


def _failing(step: StepRecord, error: ErrorRecord, now: float) -> str:
    again = ""
    if step.next_try_at is not None:
        again = f" Next try in {format_duration(max(0.0, step.next_try_at - now))} (failure {step.failures})."
    return f"{step.title.capitalize()} failed: {_of_error(error)}{again}"


def _of_error(error: ErrorRecord) -> str:
    hint = f" {_sentence(error.next_step)}" if error.next_step else ""
    return _sentence(error.message) + hint


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."


def _took(operation: Operation) -> str:
    if operation.started_at is None or operation.finished_at is None:
        return ""
    return f" in {format_duration(operation.finished_at - operation.started_at)}"
