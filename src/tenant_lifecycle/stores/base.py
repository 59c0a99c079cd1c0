"""The contracts of stores: a small base, and abilities that are each a protocol of their own.

A plan asks for abilities, never for names: ``isinstance(store, Fences)``. Abilities that work on a pair
(copy, follow, compare) are asked of the *source* and get the *target*, a store of the same kind.

Words: a *set* is one named part of a tenant's data in a store (a table, a key family, a namespace, a
prefix). A *key* is the opaque, exact name of one item of a set. A *feed* is a named, durable stream of
changes from one store to its counterpart; a *marker* is put into the stream at the source and comes out at
the target when everything before it was applied. Stores without a change log of their own are *keyed*: a
*journal* in the tenant's database says which of their keys were touched, and what is carried over is the
source's current state of those keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tenant_lifecycle.model.cutover import Fence as FenceState
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.verification import Difference, DifferenceKind

__all__ = [
    "Check", "Compared", "Copied", "Copies", "Difference", "DifferenceKind", "Digests", "Feed", "FenceRow", "FenceState",
    "Fences", "Follower", "Follows", "Glances", "Hints", "Journals", "Keyed", "Keys", "Lag", "Listening", "Overlaps", "Part",
    "Prepares", "Removes", "Resolves", "Schemas", "SetSize", "Stays", "Store", "Touch",
]  # fmt: skip

#: Called between chunks of long work; raises when the driver lost its lease or a person wants a stop.
Check = Callable[[], None]
#: Keys by set name. The bytes are the store's own exact form of a key.
Keys = Mapping[str, frozenset[bytes]]


@dataclass(frozen=True, slots=True)
class Feed:
    """One direction of one operation: who reads where, in whose name, with which token."""

    #: Unique per operation and direction, [a-z0-9_]{1,50}: names slots, publications, spool folders.
    name: str
    tenant: TenantId
    #: The driver token; stores refuse a smaller one than they have seen.
    token: int


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a copy that is done in one transaction, or not at all."""

    name: str
    set: str
    #: Items in it; exact when the store counted them for splitting.
    items: int
    done: bool
    #: A part may begin only when every part of a smaller level is done: its items hang on theirs.
    level: int = 0


@dataclass(frozen=True, slots=True)
class Copied:
    """What one part brought over."""

    items: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a follower is behind."""

    #: Bytes of change log at the source that were not yet received.
    bytes: int
    #: Age of the oldest change that was received and not applied, seconds; 0 if there is none.
    seconds: float
    #: Owned changes that wait, received and not applied.
    waiting: int
    #: Owned changes applied since the follower started.
    applied: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Result of one pass over a set or a store; ``suspects`` still have to be looked at again."""

    items: int
    leaves: int
    suspects: Keys = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FenceRow:
    """The fence of one tenant in one store."""

    state: FenceState
    epoch: int
    #: The environment this store belongs to, and, when MOVED or STANDBY, the one that is the writer.
    environment: str
    target: str | None
    #: Seconds until a FENCED row frees itself, on the store's clock; None unless FENCED.
    remaining_s: float | None


@runtime_checkable
class Store(Protocol):
    """One instance of a system in one environment, opened and ready. Safe to use from several threads."""

    #: For people: ``blue/postgres``.
    name: str
    #: The system, as in the configuration: ``postgres``.
    kind: str
    #: The environment's name.
    environment: str

    def probe(self) -> list[Finding]:
        """Look whether the store can do what this product needs; never raises for what it finds."""

    def tenants(self) -> list[TenantId]:
        """Ids of the tenants that are here, at most 10,000 of them, in order."""

    def holds(self, tenant: TenantId) -> bool:
        """Whether the tenant exists here: its root row, schema or database."""

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        """What the tenant has here, set by set; estimates unless ``exact``.

        Raises:
            UnmappedData: something in the store has no rule in the ownership map.
        """

    def close(self) -> None:
        """Give back connections; safe to repeat."""


@runtime_checkable
class Stays(Protocol):
    """A store that a move leaves where it is, because the configuration says so (``moves: false``): analytics, logs.

    It needs no counterpart in the other environment. Erasing and searching it is another matter.
    """

    #: Always False; a store that moves has no such attribute, or True.
    moves: bool


@runtime_checkable
class Prepares(Protocol):
    """A store that can say whether a tenant may move to another one, and make that one ready."""

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        """Every reason not to move the tenant to ``target``, and what was found in order. Changes nothing.

        Among the refusals: data that no rule mentions (code ``*.unmapped``), items of the tenant on the target
        (``*.target-occupied``), a right, a setting or room that is missing.
        """

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:
        """Create on the target what the tenant's sets need and it lacks; say what, one line each. Idempotent."""


@runtime_checkable
class Overlaps(Protocol):
    """A store whose items are found by names that contain a tenant's id."""

    def overlaps(self, tenant: TenantId, others: Iterable[TenantId]) -> list[Finding]:
        """A refusal (code ``*.overlap``) if, by the rules, keys of ``tenant`` could be another's as well."""


@runtime_checkable
class Schemas(Protocol):
    """A store whose data has a shape that both sides must share."""

    def shape(self, tenant: TenantId) -> str:
        """Digest of the shape of the tenant's sets; changes when somebody alters them."""

    def check_references(self, tenant: TenantId) -> list[Finding]:
        """Refusals for items of the tenant here that refer to something that is not here; asked of the target."""

    def carry_counters(self, target: Store, tenant: TenantId, margin: int) -> int:
        """Raise the target's sequences to the source's plus ``margin``; never lower one. Return how many."""


@runtime_checkable
class Copies(Protocol):
    """A store that can copy a tenant's data in parts."""

    def split(self, target: Store, feed: Feed) -> list[Part]:
        """Cut the tenant's data into parts and remember them in the target. Idempotent: later calls, by any
        driver, return the same parts with what is done."""

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        """Copy one part and its done-mark in one transaction of the target. Done before: does nothing new.

        Any number of threads and machines may copy parts of one level of a feed at once.
        """


@runtime_checkable
class Follower(Protocol):
    """Carries one feed's changes from source to target in threads of its own, from `start` to `stop`."""

    def start(self) -> None:
        """Begin to receive (and spool) changes; applying waits for `apply`. Continues where it stopped.

        Raises:
            FeedGap: changes between what was applied and what the source can still send are lost.
        """

    def apply(self) -> None:
        """Begin to apply what was spooled, then follow."""

    def mark(self) -> str:
        """Put a marker into the source's stream and return its name."""

    def await_marker(self, marker: str, timeout_s: float) -> bool:
        """Wait until everything before the marker is applied; False when the time is over.

        Raises:
            StoreError: the time is over, and this is why it is not there yet (retryable).
            FeedError: the follower failed; it will not get there.
        """

    def lag(self) -> Lag:
        """How far behind, now. Raises like `check`."""

    def take_touched(self) -> Keys:
        """Keys of owned items changed in the stream since the last call (applied ones), and forget them."""

    def take_foreign(self) -> Keys:
        """Keys of items that somebody changed at the source although the target is the writer.

        They were not carried over; nobody but us may write there. Forgotten once taken.
        """

    def patience_s(self) -> float:
        """How long a marker may take while nothing is fenced."""

    def settles_in_s(self) -> float:
        """What the last changes will take to arrive under a fence, beyond `lag`, as far as is known."""

    def check(self) -> None:
        """Raise the error that stopped the follower's threads, if one did."""

    def epoch(self) -> str:
        """Changes when changes may have been missed (a store restarted, a notification got lost).

        What was verified under another epoch counts for nothing: it has to be verified in full again.
        """

    def stop(self) -> None:
        """End the threads; what was spooled stays. Safe to repeat."""


@runtime_checkable
class Follows(Protocol):
    """A store with a stream of changes."""

    def create_feed(self, target: Store, feed: Feed) -> None:
        """Create at the source what holds back changes from now on (slot, publication). Idempotent."""

    def drop_feed(self, feed: Feed) -> None:
        """Remove it; safe to repeat, also when it was never there."""

    def forget_feed(self, feed: Feed) -> None:
        """Asked of the feed's *target*: delete what is remembered of a feed that ended for good. Safe to repeat."""

    def feed_exists(self, feed: Feed) -> bool:
        """Whether the source still holds the feed's changes."""

    def follow(self, target: Store, feed: Feed, spool: Path) -> Follower:
        """A follower, not yet started; ``spool`` is a folder of its own."""

    def prove_feed(self, feed: Feed, follower: Follower, timeout_s: float) -> bool:
        """Write a canary at the source, not as ours, and see it come out at the target."""


@runtime_checkable
class Keyed(Protocol):
    """A store without a change log, whose items are found by key: Redis, vectors, objects.

    What changes is told by the journal of the environment's judge (`Journals`), and carried over by
    `Digests.repair`: the target's items are made equal to what the source has now, so that order and
    repetition do not matter.
    """

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        """The set a key belongs to; None: not this tenant's, or no key of this store."""

    def incarnation(self) -> str:
        """Changes whenever the store may have lost writes that it had accepted: restart, failover, restore.

        Constant for a service that promises to keep what it accepted.

        Raises:
            StoreUnavailable: it did not answer.
        """


class Listening(Protocol):
    """Hints while they are listened to."""

    def settled(self, timeout_s: float) -> bool:
        """Wait until ``on_key`` was called for everything that was touched before this call; False: not in time,
        or nobody knows, for the connection was lost."""

    def stop(self) -> None:
        """End it; safe to repeat."""


@runtime_checkable
class Hints(Protocol):
    """A keyed store that tells by itself, without promise, which keys were touched (keyspace notifications)."""

    def listen(
        self, tenant: TenantId, on_key: Callable[[bytes], None], on_gap: Callable[[str], None]
    ) -> Listening:
        """Call ``on_key`` for every touched key of the tenant, from a thread of its own, until it is stopped.

        ``on_gap`` is called with the reason whenever something may have been missed (connection lost, buffer
        overrun); what was verified before it has to be verified again.

        Raises:
            StoreRejected: the server does not send notifications; the next step says which setting is missing.
        """


@dataclass(frozen=True, slots=True)
class Touch:
    """One entry of the journal: an application said that it would write this key."""

    seq: int
    key: bytes
    #: True while the application may still be at it; the key's state cannot be relied on yet.
    open: bool
    #: Seconds since it was entered, by the database's clock.
    age_s: float


@runtime_checkable
class Journals(Protocol):
    """A fencing store that keeps, for the keyed stores beside it, the journal of touched keys.

    The client enters a key *before* it writes it, and holds the tenant's lock until it is done; so after a
    fence has drained the writers, the journal names every key that was written here.
    """

    def open_journal(self, feed: Feed) -> None:
        """Have clients enter keys from now on. Returns when no transaction runs that does not. Idempotent.

        Raises:
            StoreBusy: a transaction from before stays open; try later.
        """

    def close_journal(self, feed: Feed) -> None:
        """Forget the feed, and its entries; with the last feed of a tenant clients stop entering. Idempotent."""

    def journal_open(self, feed: Feed) -> bool:
        """Whether the feed's journal is open."""

    def touched(self, feed: Feed, store: str, limit: int) -> list[Touch]:
        """The oldest entries of one store (its name inside the environment) that were not dropped."""

    def drop_touched(self, feed: Feed, seqs: list[int]) -> None:
        """Forget entries that were carried over.

        Raises:
            Fenced: a newer driver token was seen.
        """

    def touch(self, feed: Feed, store: str, keys: list[bytes]) -> None:
        """Enter keys ourselves: hints, and canaries. They are never open."""

    def await_touched(self, timeout_s: float) -> None:
        """Return when something was entered or closed, or the time is over; may return early."""

    def journal_epoch(self) -> str:
        """Changes when entries may have been lost (the server started anew: the journal is not crash-safe)."""


@runtime_checkable
class Resolves(Protocol):
    """A relational store that knows the ids which the other stores' templates are filled with."""

    def ids(self, tenant: TenantId) -> TenantIds:
        """All id sets of the ownership map for one tenant, read in one snapshot."""


@runtime_checkable
class Digests(Protocol):
    """A store that can compare a tenant's data with its counterpart without moving it."""

    def sets(self, tenant: TenantId) -> list[str]:
        """Names of the sets to be compared."""

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        """Digest the set on both sides and name the items whose digests differ. Reads only; enumerates by
        logic of its own, which shares nothing with the copier. Writes may go on: suspects may be in flight."""

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        """Compare just these items, both sides read now; an item absent on both sides is equal."""

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        """Make the target's items equal to the source's (absent included); return how many changed."""


@runtime_checkable
class Glances(Protocol):
    """A store whose `compare_keys` reads again what seems to differ, because reads may lag; it can do without."""

    def glance_at_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        """As `compare_keys`, read once: what it names may be equal; what it does not name is."""


@runtime_checkable
class Fences(Protocol):
    """A store that can refuse or delay one tenant's writes, and is the judge of who is the writer."""

    def arm(self, tenant: TenantId, state: FenceState, epoch: int, target: str | None) -> FenceRow:
        """Install the fence on the tenant's sets (short lock timeouts, retried) and its row if there is none.

        An existing row is left as it is and returned. ``state`` is ACTIVE on the writer, STANDBY elsewhere.

        Raises:
            StoreBusy: the locks were not free within the budget; nothing waits on us. Try later.
        """

    def fence_row(self, tenant: TenantId) -> FenceRow | None:
        """The row now; None if the tenant is not managed here."""

    def fence(self, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float) -> str:
        """ACTIVE at ``epoch`` -> FENCED: drain writers in flight, hold new ones for at most ``ttl_s``.

        Returns a ticket that names this fencing. What a driver learned under one fencing says nothing about
        a later one, so the commit point demands the ticket (tests/model shows the lost write without it).

        Raises:
            StoreBusy: somebody holds the tenant's lock longer than the budget; the message says who.
            WrongState: the row is not ACTIVE at that epoch.
        """

    def release(self, tenant: TenantId, ticket: str | None) -> None:
        """FENCED -> ACTIVE, if it still is; writers go on here. None: whichever fencing it is (recovery)."""

    def commit_move(self, tenant: TenantId, ticket: str, target: str) -> bool:
        """The commit point: FENCED by ``ticket`` -> MOVED at the next epoch while the deadline holds.

        False: the fence ran out or another driver's fencing took its place; the flip did not happen.
        """

    def activate(self, tenant: TenantId, epoch: int) -> None:
        """STANDBY or MOVED below ``epoch`` -> ACTIVE at ``epoch``; at ``epoch`` already: does nothing.

        Raises:
            WrongState: the row carries a larger epoch.
        """

    def disarm(self, tenant: TenantId) -> None:
        """Take the tenant's row away, and the triggers with the last tenant."""

    def blockers(self, tenant: TenantId, older_than_s: float) -> list[str]:
        """What forbids a flip now, one sentence each: transactions from before the arming, transactions of more
        than ``older_than_s`` seconds that hold the tenant's lock, prepared ones, sets without the fence."""


@runtime_checkable
class Removes(Protocol):
    """A store that can take a tenant's data away again (abort, decommission)."""

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        """Delete the tenant's items here, children first, in batches, as ours; return counts by set."""
