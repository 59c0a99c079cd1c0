"""Rows of the control database as values of the model, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Row

from tenant_lifecycle.model.operation import (
    Desired,
    ErrorRecord,
    Event,
    Operation,
    Signal,
    State,
    StepKind,
    StepRecord,
    StepStatus,
)


def error_json(error: ErrorRecord | None) -> dict[str, Any] | None:
    """An error as a JSON object."""
    if error is None:
        return None
    return {
        "kind": error.kind,
        "message": error.message,
        "next_step": error.next_step,
        "retryable": error.retryable,
        "step": error.step,
    }


def error_of(value: dict[str, Any] | None) -> ErrorRecord | None:
    """The error that `error_json` wrote."""
    return None if value is None else ErrorRecord(**value)


def operation_of(row: Row[Any]) -> Operation:
    """A row of ``operation``."""
    values = dict(row._mapping)
    values["state"] = State(values["state"])
    values["desired"] = Desired(values["desired"])
    values["wake_signals"] = tuple(values["wake_signals"])
    values["error"] = error_of(values["error"])
    values["cause"] = error_of(values["cause"])
    return Operation(**values)


def step_of(row: Row[Any]) -> StepRecord:
    """A row of ``step``."""
    values = dict(row._mapping)
    values["kind"] = StepKind(values["kind"])
    values["status"] = StepStatus(values["status"])
    values["error"] = error_of(values["error"])
    return StepRecord(**values)


def event_of(row: Row[Any]) -> Event:
    """A row of ``event``."""
    return Event(**row._mapping)


def signal_of(row: Row[Any]) -> Signal:
    """A row of ``signal``."""
    return Signal(row.seq, row.operation_id, row.kind, row.payload, row.actor, row.at)
