"""The contracts of stores that are backed up and restored to.

A *base* is everything of one tenant in one store at one time. The *log* is every change since. What a moment
looked like is computed from both outside of the store (`backups`), so a store only reads, and loads.

Order of a restore: `Previews.open_preview` (a place beside the live data, empty) - `Preview.load` set by set -
`Preview.fingerprints` (read back) - `Preview.diff` against what is live - `Preview.promote` under the tenant's
fence, or `Preview.discard`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Frame, Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check

__all__ = [
    "Answers", "Archive", "Archives", "Arrived", "Backs", "BaseReading", "Captures", "CapturesBig", "Clocked",
    "Migrates", "Preview", "Previews", "ReadsBack", "Remembers", "ReservesIds", "SetDiff", "TellsTime", "Version",
    "Writing",
]  # fmt: skip


class BaseReading(Protocol):
    """A base while it is read; ends with its context."""

    #: When it was taken, microseconds since 1970 by the judge's (PostgreSQL's) clock; for stores that have no
    #: snapshot, when reading began: each item then says when it was read.
    at_us: int
    #: Which transactions it contains; None where a store has no snapshot.
    snapshot: Snapshot | None
    #: By set, parents before children.
    shapes: Mapping[str, Shape]
    #: For the manifest, JSON: the system's version, extensions, sequences, the model of an index. Nothing personal.
    facts: Mapping[str, Any]

    def items(self, set_name: str) -> Iterator[Item]:
        """Every item of the set, ordered by key bytes where the store can; at most a few MiB in memory."""


@runtime_checkable
class Backs(Protocol):
    """A store that can be read whole, for one tenant, while writes go on."""

    def read_base(self, tenant: TenantId, check: Check) -> AbstractContextManager[BaseReading]:
        """Everything the tenant has here.

        Raises:
            UnmappedData: something has no rule in the ownership map, so it would be forgotten.
        """


@dataclass(frozen=True, slots=True)
class Writing:
    """In whose name a tenant's live data is replaced."""

    #: Unique per operation, [a-z0-9_]{1,40}.
    name: str
    tenant: TenantId
    #: The driver token; stores that can, refuse a smaller one than they have seen.
    token: int


@dataclass(frozen=True, slots=True)
class SetDiff:
    """How a preview differs from what is live, by counts; exact."""

    set: str
    #: Items that a restore brings back.
    only_restored: int
    #: Items that a restore takes away.
    only_live: int
    changed: int
    equal: int
    #: Some keys that differ, printable, at most as many as were asked for.
    examples: tuple[str, ...] = ()


@runtime_checkable
class Preview(Protocol):
    """A restored tenant beside the live one: a schema, a prefix, a namespace of its own."""

    name: str

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        """Replace the preview's set by these items, in bounded memory; their count. Killed halfway: call again."""

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        """Of every set, read back from the store in the form of `Backs`: equal to the fingerprints of what was loaded."""

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        """Against the live tenant, now."""

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        """Make the live tenant's sets (all, or these and nothing else) equal to the preview; items changed, by set.

        The caller holds the tenant's fence. Where the store has transactions it is one; else it is idempotent and
        told again after a crash. Triggers and outboxes of the application do not fire. Other tenants: untouched.
        """

    def discard(self) -> None:
        """Remove the preview; safe to repeat."""


@runtime_checkable
class ReadsBack(Protocol):
    """A preview that can be read, item by item; of one that cannot, no clone is made."""

    def items(self, set_name: str) -> Iterator[Item]:
        """What lies there now, in the form of `Backs`, in bounded memory."""


@runtime_checkable
class Answers(Protocol):
    """A preview of vectors that can be asked, as an application would ask the live ones."""

    def nearest(self, set_name: str, beside: bytes, vector: Sequence[float], n: int) -> list[bytes]:
        """Keys of the preview's items with the nearest vectors, the nearest first, at most ``n``.

        Only of the namespace or collection that the key ``beside`` belongs to. Reads after writes.
        """


@runtime_checkable
class Migrates(Protocol):
    """A preview that can be brought to the shape which the live sets have meanwhile; done after loading."""

    def migrate(self, check: Check) -> Mapping[str, Shape]:
        """Run the application's migrations on it if its shapes differ from the live ones; its shapes then. Repeatable.

        Raises:
            PreconditionRefused: it still does not fit; names the columns.
        """


@runtime_checkable
class Previews(Protocol):
    """A store that a tenant can be restored to."""

    def check_restore(
        self, tenant: TenantId, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> list[Finding]:
        """Every reason why this base cannot be loaded here; changes nothing.

        Codes: ``*.column-mismatch`` names the columns, ``*.version``, ``*.room``, ``*.rights``.
        """

    def open_preview(
        self, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> Preview:
        """The preview of that name ([a-z0-9_]{1,40}), created empty in the base's shape if it is not there. Idempotent."""

    def previews(self) -> list[str]:
        """Names of those that are there."""


@runtime_checkable
class Captures(Protocol):
    """A keyed store: what touched keys are now."""

    def capture(self, tenant: TenantId, keys: Sequence[bytes]) -> list[Item | None]:
        """Each key's item now, None if it is not there; in the order asked. Reads after writes, whatever it takes.

        An item without any cell is too big for one piece of memory: `CapturesBig` has it.
        """


@runtime_checkable
class CapturesBig(Protocol):
    """A keyed store whose items may be too big for memory."""

    def capture_big(self, tenant: TenantId, key: bytes) -> Iterator[Item]:
        """The key's item now, after its parts (`model.backup.parts`); nothing if it is not there.

        All of them belong to one state of the key, and into the log before what comes after it.
        """


@dataclass(frozen=True, slots=True)
class Version:
    """A state that a key had, and when it got it."""

    #: Not before this and not after that, microseconds since 1970 by the store's clock.
    not_before_us: int
    at_us: int
    #: None: it was deleted. Without any cell: too big for one piece of memory; it is current, or a base has it.
    item: Item | None


@runtime_checkable
class Remembers(Protocol):
    """A keyed store that keeps what a key was before it was written again."""

    def versions(self, tenant: TenantId, key: bytes, since_us: int) -> list[Version]:
        """What the key was since then, the oldest first and complete; the last one is what it is now.

        Raises:
            UnsupportedByStore: it keeps none (any more).
        """


@runtime_checkable
class ReservesIds(Protocol):
    """A store that numbers rows of all tenants from one source."""

    def reserve_ids(self, set_name: str, column: str, count: int) -> int | None:
        """So many numbers in a row that the column gives nobody else; the first. None: nothing numbers the column."""


@runtime_checkable
class Clocked(Protocol):
    """A store without a clock that could judge; whoever puts it to use gives it the judge's."""

    #: Microseconds since 1970 by the judge's clock; the machine's, unless it was set.
    clock: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came out of a store's change log."""

    #: In commit order; a transaction that touched several tenants is there once for each.
    frames: tuple[tuple[TenantId, Frame], ...]
    #: Everything up to here is in ``frames`` of this and earlier calls.
    position: int
    #: Every commit until this moment (microseconds since 1970, the store's clock) is.
    complete_us: int


@runtime_checkable
class TellsTime(Protocol):
    """A store whose clock judges: the database of an environment."""

    def now_us(self) -> int:
        """Microseconds since 1970."""


class Archive(Protocol):
    """One database's change log while it is archived, for all tenants at once."""

    #: Where it begins: what was confirmed before. Later than that if changes are lost in between (the index of owners,
    #: the slot): then there is a gap, and bases are needed anew.
    begins_position: int
    begins_us: int

    def read(self, timeout_s: float) -> Arrived:
        """The next changes, or only a later ``complete_us`` if nothing happened (heartbeats).

        Raises:
            FeedGap: changes are lost; bases are needed anew, and the window has a gap.
        """

    def confirm(self, position: int) -> None:
        """The store may forget what is before: it is durable in the repository."""

    def held_bytes(self) -> int:
        """Bytes of log that the store keeps for us."""

    def room_bytes(self) -> int | None:
        """How many it keeps at most before it gives up on us; None: until its disk is full."""

    def close(self) -> None:
        """Stop reading; what was not confirmed comes again."""


@runtime_checkable
class Archives(Protocol):
    """A store whose own change log can be archived."""

    def create_archive(self, name: str) -> int:
        """Make the store keep changes from now on, under this name ([a-z0-9_]{1,40}); its position. Idempotent."""

    def open_archive(self, name: str, spool: Path) -> Archive:
        """Begin, or go on, reading. A second reader of the same name is refused (StoreBusy)."""

    def uncovered(self) -> Mapping[str, str]:
        """Sets that cannot be archived, and why: no key, unlogged, large objects. Empty is good."""

    def drop_archive(self, name: str) -> None:
        """The store may forget; safe to repeat."""
