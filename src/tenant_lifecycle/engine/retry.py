"""Errors as the journal keeps them, and how long to wait before trying again: exponential, with jitter."""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.operation import ErrorRecord


@dataclass(frozen=True, slots=True)
class Retry:
    """The policy of a step. Only errors whose ``retryable`` is true are tried again."""

    #: Failures in a row, without progress between them, after which a person must look.
    attempts: int = 8
    first_s: float = 0.5
    factor: float = 2.0
    ceiling_s: float = 60.0
    #: Share of the pause that is random, so that many operations do not come back at once.
    jitter: float = 0.3

    def delay_s(self, failures: int, draw: float | None = None) -> float:
        """Pause after the ``failures``-th failure in a row (1, 2, ...); ``draw`` in [0, 1) for tests."""
        # The exponent is bounded so that a policy with many attempts cannot overflow.
        pause = min(self.first_s * self.factor ** min(failures - 1, 64), self.ceiling_s)
        share = random.random() if draw is None else draw
        return pause * (1.0 - self.jitter + 2.0 * self.jitter * share)

    def tries_again(self, error: BaseException, failures: int) -> bool:
        """Whether the error that made it ``failures`` in a row is worth another attempt."""
        return isinstance(error, LifecycleError) and error.retryable and failures < self.attempts


def error_record(error: BaseException, step: str) -> ErrorRecord:
    """The error as the journal keeps it."""
    if isinstance(error, LifecycleError):
        return ErrorRecord(type(error).__name__, str(error), error.next_step, error.retryable, step)
    # The text of a stranger's error may quote a row; where it happened is enough to find it.
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    message = f"unexpected {type(error).__name__} at {where}"
    return ErrorRecord(type(error).__name__, message, "report it; then retry or abort", step=step)
