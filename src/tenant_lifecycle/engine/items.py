"""Work items: a large step split into parts that any worker, on any machine, may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tenant_lifecycle.model.operation import Json


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One part of a step's work."""

    #: Unique within the step, stable over restarts.
    key: str
    payload: Json = field(default_factory=dict)
    #: 1 on the first run.
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How far a step's items are."""

    total: int
    done: int
    #: Given up after all attempts.
    failed: int


class Items(Protocol):
    """The work items of one step of one operation."""

    def seed(self, items: Iterable[WorkItem]) -> int:
        """Record the items; those already there (by key) stay as they are. Returns how many there are."""

    def run(self, work: Callable[[WorkItem], Json | None], workers: int = 1) -> ItemCounts:
        """Work on all items with ``workers`` threads of this process until every one is done.

        ``work`` is called with one item, by any of the threads; it must bear being repeated for an item, and
        should call ``ctx.check()`` between chunks. What it returns is kept as the item's output. Errors that
        are ``retryable`` are tried again later, with back-off; the first other error stops all threads and is
        raised. Items claimed by other processes are waited for.

        Raises:
            LeaseLost, Interrupted: as `StepContext.check`.
        """

    def outputs(self) -> dict[str, Json]:
        """Outputs of the done items by key."""

    def counts(self) -> ItemCounts:
        """How far it is, now."""
