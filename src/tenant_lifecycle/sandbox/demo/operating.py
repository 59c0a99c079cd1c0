"""Waiting for an operation in a demonstration."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.operation import TERMINAL, Operation, State
from tenant_lifecycle.wiring import Lifecycle

_PATIENCE_S = 240.0


def ended(lifecycle: Lifecycle, operation: Operation, *, waits: bool = False) -> Operation:
    """The operation when it ended, however it did; with ``waits`` also when it waits for a person's word."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        found = lifecycle.operation(operation.id)
        if found.state in TERMINAL or (waits and found.state is State.WAITING and found.wake_signals):
            return found
        if found.state is State.ATTENTION or time.monotonic() > end:
            raise _stopped(found)
        time.sleep(0.02)


def succeeded(lifecycle: Lifecycle, operation: Operation, *, waits: bool = False) -> Operation:
    """As `ended`.

    Raises:
        LifecycleError: it failed.
    """
    found = ended(lifecycle, operation, waits=waits)
    if found.state in (State.SUCCEEDED, State.WAITING):
        return found
    raise _stopped(found)


def output(lifecycle: Lifecycle, operation: Operation, key: str) -> Mapping[str, Any]:
    """What a step of it said."""
    return next((step.output or {} for step in lifecycle.steps(operation.id) if step.key == key), {})


def _stopped(operation: Operation) -> LifecycleError:
    error = operation.error or operation.cause
    message = error.message if error else operation.why
    return LifecycleError(
        f"{operation.kind} of {operation.tenant_id} is {operation.state}: {message}",
        next_step=error.next_step if error else "",
    )
