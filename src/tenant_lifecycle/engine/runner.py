"""The embedded runner: threads of this process that drive whatever is ready; nothing to install.

It polls the journal, so no message can be lost. A sweeper ends the leases of drivers on this host that are
proven dead, so that a killed driver is replaced within a second.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from tenant_lifecycle.engine.driver import Driver
from tenant_lifecycle.engine.journal import Journal
from tenant_lifecycle.engine.owner import Owner
from tenant_lifecycle.model.operation import TERMINAL, Operation, State

logger = logging.getLogger(__name__)

#: States in which an operation stays until a person does something.
NEEDS_A_PERSON = frozenset({State.PAUSED, State.ATTENTION})


class Runner:
    """Drives up to ``parallel`` operations at once, from `start` to `stop`; a context manager."""

    def __init__(
        self,
        journal: Journal,
        driver: Driver,
        *,
        parallel: int = 4,
        poll_s: float = 0.25,
        sweep_s: float = 0.5,
    ) -> None:
        self._journal = journal
        self._driver = driver
        self._parallel = parallel
        self._poll_s = poll_s
        self._sweep_s = sweep_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Thread] = {}
        self._poller = threading.Thread(target=self._poll, name="runner", daemon=True)

    def start(self) -> None:
        """Begin to take operations."""
        self._poller.start()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Take nothing more and let go of what is being driven at the next safe point.

        Returns:
            False: something is still driven after ``timeout_s``; its lease is safe, and lost with the process.
        """
        self._over.set()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if self._poller.ident is not None:
            self._poller.join(timeout_s)
        for thread in self._threads():
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads())

    def __enter__(self) -> Runner:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def busy(self) -> bool:
        """Whether it drives anything now."""
        return bool(self._threads())

    def wait(self, operation_id: str, timeout_s: float | None = None) -> Operation:
        """Wait until the operation ends or needs a person, or the time is over; return it as it is then."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            operation = self._journal.peek(operation_id)
            if operation.state in TERMINAL | NEEDS_A_PERSON:
                return operation
            if deadline is not None and time.monotonic() >= deadline:
                return operation
            time.sleep(self._poll_s)

    def _threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._busy.values())

    def _poll(self) -> None:
        sweep_at = 0.0
        while not self._over.is_set():
            try:
                if time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + self._sweep_s
                    sweep(self._journal)
                self._take()
            except Exception as error:
                logger.warning("runner: %s", type(error).__name__, extra={"action": "poll"})
            self._over.wait(self._poll_s)

    def _take(self) -> None:
        with self._lock:
            free = self._parallel - len(self._busy)
        if free <= 0:
            return
        for operation_id in self._journal.ready(self._driver.known, self._parallel + free):
            with self._lock:
                if len(self._busy) >= self._parallel or self._over.is_set():
                    return
                if operation_id in self._busy:
                    continue
                thread = threading.Thread(
                    target=self._drive, args=(operation_id,), name=f"drive {operation_id}", daemon=True
                )
                self._busy[operation_id] = thread
            thread.start()

    def _drive(self, operation_id: str) -> None:
        try:
            self._driver.drive(operation_id, self._over.is_set)
        except Exception as error:
            logger.warning(
                "drive fails: %s", type(error).__name__, extra={"action": "drive", "operation": operation_id}
            )
        finally:
            with self._lock:
                self._busy.pop(operation_id, None)


def sweep(journal: Journal) -> list[str]:
    """End the leases of drivers that are proven dead; return the operations concerned."""
    freed = []
    for operation_id, text, token in journal.holders():
        owner = Owner.parse(text)
        if owner is not None and owner.is_dead() and journal.expire(operation_id, text, token):
            logger.info("driver is dead", extra={"action": "sweep", "operation": operation_id})
            freed.append(operation_id)
    return freed
