"""The heartbeat: a thread that keeps the lease and sees what people want, so that `check` costs nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tenant_lifecycle.engine.journal import Journal, Lease, Standing
from tenant_lifecycle.engine.steps import Interrupted
from tenant_lifecycle.errors import LeaseLost
from tenant_lifecycle.model.operation import Desired

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews one lease until left; `check` may be called from any thread."""

    #: Seconds between looks at what is wanted.
    LOOK_S = 0.5

    def __init__(self, journal: Journal, lease: Lease, stopping: Callable[[], bool], started: float) -> None:
        """``started``: `time.monotonic` of before the lease was asked for, so it is never thought longer."""
        self._journal = journal
        self._lease = lease
        self._stopping = stopping
        self._renewed = started
        self._lost = False
        self._interrupt = False
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, name=f"heartbeat {lease.operation_id}", daemon=True
        )

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        # A renewal in flight may hang with the network; whoever lost the lease must not wait for it.
        self._thread.join(timeout=self._lease.ttl_s)

    def check(self) -> None:
        """A safe point.

        Raises:
            LeaseLost: another driver has the operation, or the lease ran out without a renewal.
            Interrupted: a pause, an abort or a stop is wanted.
        """
        if self._lost or time.monotonic() > self._renewed + self._lease.ttl_s * 0.9:
            raise LeaseLost(f"the lease on {self._lease.operation_id} is lost")
        if self._interrupt or self._stopping():
            raise Interrupted

    def see(self, standing: Standing, asked: float) -> None:
        """Take in what a guarded read or write of the driver found; ``asked``: monotonic time before it."""
        if not standing.held:
            self._lost = True
            return
        self._renewed = max(self._renewed, asked)
        self._want(standing)

    def _want(self, standing: Standing) -> None:
        self._interrupt = standing.desired is Desired.PAUSE or (
            standing.desired is Desired.ABORT and not standing.aborting
        )

    def _beat(self) -> None:
        renew_at = time.monotonic() + self._lease.ttl_s / 3
        while not self._end.wait(min(self.LOOK_S, self._lease.ttl_s / 6)) and not self._lost:
            asked = time.monotonic()
            try:
                if asked >= renew_at:
                    self.see(self._journal.guard(self._lease), asked)
                    renew_at = asked + self._lease.ttl_s / 3
                else:
                    standing = self._journal.standing(self._lease)
                    self._lost = self._lost or not standing.held
                    self._want(standing)
            except LeaseLost:
                self._lost = True
            except Exception as error:
                # No answer is no proof of loss; when it lasts, the lease runs out by `check`'s clock.
                logger.warning("heartbeat fails: %s", type(error).__name__, extra={"action": "heartbeat"})
