"""Crews: threads that work through the items of a step, in the driver's process or in helping ones.

A claim is a row: it is void as soon as the driver token grows, or when its worker stops renewing it. What an
item does must bear repetition, because a worker that only seemed dead may still be at it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from tenant_lifecycle.engine.items import ItemCounts, WorkItem
from tenant_lifecycle.engine.journal import ItemJournal, Lease
from tenant_lifecycle.engine.owner import Owner
from tenant_lifecycle.engine.retry import Retry, error_record
from tenant_lifecycle.engine.steps import Interrupted
from tenant_lifecycle.errors import Fenced, LeaseLost, LifecycleError
from tenant_lifecycle.model.operation import Json

Work = Callable[[WorkItem], Json | None]
#: How long a worker that found nothing to claim waits before it looks again.
IDLE_S = 0.1


class JournaledItems:
    """The items of one step (`Items`)."""

    def __init__(
        self, journal: ItemJournal, lease: Lease, step: str, check: Callable[[], None], retry: Retry
    ) -> None:
        self._journal = journal
        self._lease = lease
        self._step = step
        self._check = check
        self._retry = retry

    def seed(self, items: Iterable[WorkItem]) -> int:
        """Record the items."""
        return self._journal.seed_items(self._lease, self._step, items)

    def run(self, work: Work, workers: int = 1) -> ItemCounts:
        """Work on all items until every one is done."""
        counts = self._crew(work, workers)
        while counts.done + counts.failed < counts.total:
            # A thread that died before it could say so left items: a step must not be done without them.
            time.sleep(IDLE_S)
            self._check()
            counts = self._crew(work, workers)
        if counts.failed:
            raise LifecycleError(
                f"{counts.failed} of {counts.total} parts of {self._step!r} failed for good",
                next_step="see the operation's events for the cause, mend it, then retry the operation",
            )
        return counts

    def _crew(self, work: Work, workers: int) -> ItemCounts:
        Crew(self._journal, self._lease, self._step, self._check, self._retry, work).run(workers)
        return self.counts()

    def outputs(self) -> dict[str, Json]:
        """Outputs of the done items by key."""
        return self._journal.item_outputs(self._lease.operation_id, self._step)

    def counts(self) -> ItemCounts:
        """How far it is, now."""
        return self._journal.item_counts(self._lease.operation_id, self._step)


def assist(
    journal: ItemJournal,
    operation_id: str,
    step: str,
    work: Callable[[WorkItem, int], Json | None],
    *,
    workers: int = 1,
    retry: Retry | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Help a driver, from any process, with the items of one step until they are done.

    ``work`` is called with the item and the driver token to give to stores.

    Returns:
        False: nobody drives the operation now, or its driver changed; call again to go on.
    """
    lease = journal.current_lease(operation_id)
    if lease is None:
        return False
    token = lease.token

    def check() -> None:
        if stopping():
            raise Interrupted

    crew = Crew(journal, lease, step, check, retry or Retry(), lambda item: work(item, token))
    try:
        crew.run(workers)
    except (LeaseLost, Interrupted):
        return False
    return True


class Crew:
    """Threads that share the work on one step's items."""

    def __init__(
        self,
        journal: ItemJournal,
        lease: Lease,
        step: str,
        check: Callable[[], None],
        retry: Retry,
        work: Work,
    ) -> None:
        self._journal = journal
        self._lease = lease
        self._step = step
        self._check = check
        self._retry = retry
        self._work = work
        self._name = str(Owner.of_this_process())
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, workers: int) -> None:
        """Return when all items are done or failed; raise the first thing that stopped a thread."""
        crew = [
            threading.Thread(target=self._labour, name=f"{self._step} {number}", daemon=True)
            for number in range(max(1, workers))
        ]
        renewer = threading.Thread(target=self._renew, name=f"{self._step} claims", daemon=True)
        for thread in (*crew, renewer):
            thread.start()
        try:
            for thread in crew:
                while thread.is_alive():
                    thread.join(0.5)
        finally:
            # Whatever ends this step: no thread of it may work on under a lease that somebody else gets.
            self._over.set()
            for thread in (*crew, renewer):
                thread.join()
        if self._errors:
            self._give_back()
            raise self._errors[0]

    def _labour(self) -> None:
        try:
            while not self._over.is_set():
                self._check()
                item = self._journal.claim_item(self._lease, self._step, self._name, self._lease.ttl_s)
                if item is not None:
                    self._do(item)
                    continue
                counts = self._journal.item_counts(self._lease.operation_id, self._step)
                if counts.done + counts.failed >= counts.total:
                    return
                self._over.wait(IDLE_S)
        except BaseException as error:
            self._errors.append(error)
            self._over.set()

    def _do(self, item: WorkItem) -> None:
        try:
            output = self._work(item) or {}
        except (LeaseLost, Fenced, Interrupted):
            raise
        except Exception as error:
            self._failed(item, error)
        else:
            self._journal.finish_item(self._lease, self._step, self._name, item.key, output)

    def _failed(self, item: WorkItem, error: Exception) -> None:
        failures = self._journal.item_failures(self._lease, self._step, item.key) + 1
        again = self._retry.tries_again(error, failures)
        record = error_record(error, self._step)
        pause = self._retry.delay_s(failures) if again else None
        self._journal.fail_item(self._lease, self._step, self._name, item.key, record, pause)
        if again:
            return
        if not record.retryable:
            raise error
        raise LifecycleError(
            f"part {item.key!r} of {self._step!r} failed {failures} times: {record.message}",
            next_step=record.next_step,
        ) from error

    def _renew(self) -> None:
        renew_at = time.monotonic() + self._lease.ttl_s / 3
        while not self._over.wait(min(0.5, self._lease.ttl_s / 6)):
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self._lease.ttl_s / 3
                try:
                    self._journal.renew_claims(self._lease, self._step, self._name, self._lease.ttl_s)
                except LeaseLost:
                    return
                except LifecycleError:
                    continue  # no answer now; the claims still run for two thirds of their time

    def _give_back(self) -> None:
        try:
            self._journal.release_claims(self._lease, self._step, self._name)
        except LifecycleError:
            return  # the claims run out by themselves, or belong to the next driver
