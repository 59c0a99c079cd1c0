"""How long to wait before trying again: exponential, with jitter, kept in the journal's rows."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tenant_lifecycle.errors import LifecycleError


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
