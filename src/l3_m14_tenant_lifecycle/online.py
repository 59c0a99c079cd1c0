"""The real thing: opening the installation, and waiting for a flip."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from l3_m14_tenant_lifecycle.status import flips_done
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepRecord

if TYPE_CHECKING:
    from tenant_lifecycle.wiring import Lifecycle

POLL_S = 0.05


@contextmanager
def lifecycle() -> Iterator[Lifecycle]:
    """The installation of ``TENANT_LIFECYCLE_CONFIG`` or ``./lifecycle.yaml``, open for the length of a block.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    # Imported here so that nothing offline needs a driver.
    from tenant_lifecycle.wiring import open_lifecycle

    opened = open_lifecycle(None)
    try:
        yield opened
    finally:
        opened.close()


def actor() -> str:
    """Who asks, for the history."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def await_flip(
    opened: Lifecycle, operation_id: str, turn: int, timeout_s: float | None
) -> tuple[Operation, list[StepRecord]]:
    """Wait until the ``turn``-th flip is done, or it cannot come without a person, or the time is over."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        steps = opened.steps(operation_id)
        operation = opened.operation(operation_id)
        stands = operation.state in TERMINAL | {State.PAUSED, State.ATTENTION}
        late = deadline is not None and time.monotonic() >= deadline
        if flips_done(steps) >= turn or stands or late:
            return operation, steps
        time.sleep(POLL_S)


def pause_ms(steps: list[StepRecord], turn: int) -> float | None:
    """How long writes waited in that flip; None if it was finished by a recovery, which does not know."""
    for step in steps:
        if step.key == f"flip/{turn}" and step.output is not None and "timing" in step.output:
            return float(step.output["timing"]["pause_ms"])
    return None
