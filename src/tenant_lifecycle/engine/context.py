"""The running step's view of the engine: progress, signals, safe points."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tenant_lifecycle.engine.heartbeat import Heartbeat
from tenant_lifecycle.engine.items import Items
from tenant_lifecycle.engine.journal import Journal, Lease, Progress
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.workers import JournaledItems
from tenant_lifecycle.model.operation import Json, Operation, Outputs, Signal, StepRecord

#: At most one write of progress in this time.
PROGRESS_S = 1.0


class RunningStep:
    """One attempt at one step (a `StepContext`)."""

    def __init__(
        self,
        journal: Journal,
        lease: Lease,
        pulse: Heartbeat,
        operation: Operation,
        record: StepRecord,
        outputs: Outputs,
        session: Any,
        retry: Retry,
        clock: Callable[[], float],
    ) -> None:
        self.operation = operation
        self.outputs = outputs
        self.session = session
        self.key = record.key
        self.token = lease.token
        self.attempt = record.attempt
        self.cursor = record.cursor
        self.now = clock
        self.check = pulse.check
        #: Numbers of the signals taken by this attempt and not yet consumed by a journaled outcome.
        self.taken: list[int] = []
        self.failures = record.failures
        self._journal = journal
        self._lease = lease
        self._retry = retry
        self._lock = threading.Lock()
        self._pending: Progress | None = None
        self._far = (record.done_units, record.total_units, record.exact)
        self._detail: dict[str, Any] = dict(record.detail)
        self._written = 0.0

    @property
    def items(self) -> Items:
        """Work items of this step."""
        return JournaledItems(self._journal, self._lease, self.key, self.check, self._retry)

    def progress(
        self,
        done: int,
        total: int | None = None,
        exact: bool = True,
        cursor: Any = None,
        detail: Json | None = None,
    ) -> None:
        """Tell how far it is."""
        with self._lock:
            before = self._pending
            advanced = (
                cursor is not None or done > (self._far[0] or 0) or (before is not None and before.advanced)
            )
            self._far = (done, self._far[1] if total is None else total, exact)
            self._detail.update(detail or {})
            if cursor is None and before is not None:
                cursor = before.cursor
            self._pend(cursor, advanced)

    def publish(self, detail: Json) -> None:
        """Live facts for watchers."""
        with self._lock:
            self._detail.update(detail)
            before = self._pending
            self._pend(before.cursor if before else None, before.advanced if before else False)

    def event(self, kind: str, **detail: Any) -> None:
        """Append to the operation's history."""
        self._journal.event(self._lease, kind, {"step": self.key, **detail})

    def take_signal(self, *kinds: str) -> Signal | None:
        """The oldest signal of these kinds not taken yet."""
        with self._lock:
            signal = self._journal.next_signal(self._lease.operation_id, kinds, tuple(self.taken))
            if signal is not None:
                self.taken.append(signal.seq)
            return signal

    def flush(self) -> None:
        """Write what is pending, whatever the time."""
        with self._lock:
            if self._pending is not None:
                self._write(self._pending)

    def _pend(self, cursor: Any, advanced: bool) -> None:
        done, total, exact = self._far
        # A signal is consumed with a cursor only: without one the attempt could not go on after it.
        consumed = tuple(self.taken) if cursor is not None else ()
        self._pending = Progress(self.key, done, total, exact, cursor, dict(self._detail), advanced, consumed)
        if time.monotonic() - self._written >= PROGRESS_S:
            self._write(self._pending)

    def _write(self, progress: Progress) -> None:
        self._journal.progress(self._lease, progress)
        self._pending = None
        self._written = time.monotonic()
        self.taken = [seq for seq in self.taken if seq not in progress.consumed]
        if progress.advanced:
            self.failures = 0
