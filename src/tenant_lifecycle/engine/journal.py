"""The journal: what the engine needs of the control database, and nothing else of it.

Every write is *guarded*: it happens in one transaction with a check, under a row lock, that the lease is
still this driver's. A write without the lease raises `LeaseLost` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tenant_lifecycle.engine.items import ItemCounts, WorkItem
from tenant_lifecycle.engine.steps import Done, Step
from tenant_lifecycle.model.operation import (
    Desired,
    ErrorRecord,
    Json,
    Operation,
    Signal,
    State,
    StepRecord,
    StepStatus,
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive one operation, as long as owner and token are those of its row."""

    operation_id: str
    tenant_id: str
    #: `str(Owner)`.
    owner: str
    #: Grows with every lease ever taken for the tenant, over all operations.
    token: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What the operation's row says about a lease and about what is wanted."""

    held: bool
    desired: Desired
    aborting: bool


@dataclass(frozen=True, slots=True)
class View:
    """An operation and its steps, read together under the guard."""

    operation: Operation
    steps: tuple[StepRecord, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is."""

    key: str
    done: int | None
    total: int | None
    exact: bool
    #: None keeps the last one.
    cursor: Any
    detail: Json
    #: True: something was achieved since the last write; failures and stalls are forgotten.
    advanced: bool
    #: Signals that count as consumed with this write.
    consumed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How an attempt at a step ended other than done."""

    key: str
    status: StepStatus
    error: ErrorRecord | None = None
    #: Failures in a row, this one included.
    failures: int = 0
    next_try_at: float | None = None
    consumed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """In which state an operation is left, and until when."""

    state: State
    #: One sentence for people.
    why: str = ""
    wake_at: float = 0.0
    wake_signals: tuple[str, ...] = ()
    error: ErrorRecord | None = None
    step: StepEnd | None = None
    #: True: nothing was achieved and nothing was said; it counts as a stall.
    stalled: bool = False


class ItemJournal(Protocol):
    """The rows of work items. A claim is void when the driver token grows, or when it was not renewed."""

    def seed_items(self, lease: Lease, key: str, items: Iterable[WorkItem]) -> int:
        """Record items not yet there, guarded; return how many the step has."""

    def claim_item(self, lease: Lease, key: str, worker: str, ttl_s: float) -> WorkItem | None:
        """Take the next free item whose time has come; None if there is none now.

        ``lease`` need not be this process' own: a helping worker passes the one `current_lease` gave it.

        Raises:
            LeaseLost: the lease is over.
        """

    def renew_claims(self, lease: Lease, key: str, worker: str, ttl_s: float) -> None:
        """Keep this worker's claims for another ``ttl_s``."""

    def finish_item(self, lease: Lease, key: str, worker: str, item: str, output: Json) -> bool:
        """Record the outcome; False when the claim was lost meanwhile (the item is somebody else's now)."""

    def fail_item(
        self, lease: Lease, key: str, worker: str, item: str, error: ErrorRecord, retry_in_s: float | None
    ) -> None:
        """Give the item back for a later try, or for good when ``retry_in_s`` is None."""

    def release_claims(self, lease: Lease, key: str, worker: str) -> None:
        """Give back whatever this worker holds, without counting a failure."""

    def item_failures(self, lease: Lease, key: str, item: str) -> int:
        """Failures of an item so far."""

    def item_counts(self, operation_id: str, key: str) -> ItemCounts:
        """How far the step's items are."""

    def item_outputs(self, operation_id: str, key: str) -> dict[str, Json]:
        """Outputs of the done items by key."""

    def current_lease(self, operation_id: str) -> Lease | None:
        """The lease somebody holds on a running operation, for workers that help; None if nobody does."""


class Journal(ItemJournal, Protocol):
    """Leases, steps, events and signals of operations."""

    def now(self) -> float:
        """Seconds since 1970 on the database's clock."""

    def peek(self, operation_id: str) -> Operation:
        """The operation as it is, without a lease.

        Raises:
            UnknownOperation: there is none.
        """

    def acquire(
        self, operation_id: str, owner: str, ttl_s: float, definitions: Sequence[str], floor: int
    ) -> Lease | None:
        """Take the lease if the operation can be driven now, by someone who knows its definition.

        The new token is larger than every one given before and than ``floor``. An operation whose lease was
        taken too often without progress is put into ATTENTION instead. None means: not now, ask again later.
        """

    def guard(self, lease: Lease) -> Standing:
        """Renew the lease. Also late, if nobody took it over.

        Raises:
            LeaseLost: somebody did, or it was released.
        """

    def standing(self, lease: Lease) -> Standing:
        """Read only: whether the lease is still this driver's, and what is wanted."""

    def view(self, lease: Lease) -> View:
        """Guarded read of the operation and its steps."""

    def intent(self, lease: Lease, step: Step, before: StepRecord | None) -> StepRecord:
        """Record that the step begins (again, if ``before`` is its record in this lease's last `view`)."""

    def progress(self, lease: Lease, progress: Progress) -> None:
        """Record how far a step is."""

    def done(self, lease: Lease, key: str, done: Done, consumed: Sequence[int]) -> None:
        """Record the step's outcome, together with `Done.tenant`."""

    def hold(self, lease: Lease, release: Release) -> None:
        """Show the operation as waiting while this driver keeps it."""

    def release(self, lease: Lease, release: Release) -> None:
        """Leave the operation to others; a signal it waits for that is already there wakes it at once."""

    def begin_abort(self, lease: Lease, cause: ErrorRecord | None, step: StepEnd | None) -> None:
        """From now on the steps to do are those of the abort; ``cause`` is the error that began it, if one did."""

    def refuse_abort(self, lease: Lease, why: str) -> None:
        """Forget that an abort was wanted."""

    def finish(self, lease: Lease, state: State, result: Json | None) -> None:
        """End the operation."""

    def next_signal(self, operation_id: str, kinds: Sequence[str], skip: Sequence[int]) -> Signal | None:
        """The oldest unconsumed signal of these kinds that is not in ``skip``."""

    def event(self, lease: Lease, kind: str, detail: Json) -> None:
        """Append to the history."""

    def ready(self, definitions: Sequence[str], limit: int) -> list[str]:
        """Ids of operations that could be acquired now, those that waited longest first."""

    def holders(self) -> list[tuple[str, str, int]]:
        """(operation id, owner, token) of every lease that still runs."""

    def expire(self, operation_id: str, owner: str, token: int) -> bool:
        """End the lease of an owner that is proven dead; False if it is not that owner's any more."""
