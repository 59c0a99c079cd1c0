"""What the repository offers to operations. `repository` has it over any `Storage`; drivers stay out of here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Frame, Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, RestoreWindow, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId


class Storage(Protocol):
    """Write-once objects by name, on a folder or in a bucket. Names: ``[a-zA-Z0-9._/-]``.

    Errors: `RepositoryUnavailable` (retry helps) and `RepositoryRejected` (full, forbidden, vanished: it does not).
    """

    #: For people: a path or a bucket with its prefix; without secrets.
    where: str

    def put(self, name: str, data: bytes) -> bool:
        """Create it durably, whole or not at all; False if that name exists already (its bytes are left alone)."""

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Its bytes. Raises `RepositoryDamaged` if there is none of that name."""

    def names(self, prefix: str, after: str = "") -> Iterator[tuple[str, int, float]]:
        """Name, size and modification time (seconds since 1970, the storage's clock), in order of names."""

    def delete(self, name: str) -> None:
        """Safe to repeat. Only the sweeper and shredding call it."""


class BaseWriter(Protocol):
    """A base while it is written; nothing is visible before `commit`, and what was written without it is garbage."""

    def add(self, store: str, shape: Shape, items: Iterable[Item]) -> SetStored:
        """Store one set, in bounded memory; items in any order. In a delta: the items that changed."""

    def gone(self, store: str, set_name: str, keys: Iterable[bytes]) -> None:
        """In a delta: keys of the parent that are not there any more."""

    def commit(self, stores: Mapping[str, StoreBase], finished_us: int, expires_us: int | None) -> Manifest:
        """Write index, shapes and, last, the signed manifest. The base is there from then on."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A stretch of one store's log that is complete in the repository."""

    store: str
    timeline: int
    from_position: int
    through_position: int
    #: Everything that happened in here (microseconds since 1970, both included) is in the segments.
    from_us: int
    through_us: int


class Moment(Protocol):
    """A tenant as it was at one moment."""

    at_us: int
    manifest: Manifest

    def stores(self) -> Sequence[str]: ...

    def base(self, store: str) -> StoreBase:
        """The base it is computed from, for facts."""

    def shapes(self, store: str) -> Mapping[str, Shape]:
        """As they were at that moment."""

    def items(self, store: str, set_name: str) -> Iterator[Item]:
        """Ordered by key, in bounded memory, decrypted as they are read."""

    def fingerprints(self, store: str) -> Mapping[str, Fingerprint]:
        """Computed from the base's and the changes since, without the items; what a restore has to arrive at."""


class TenantRepository(Protocol):
    """One tenant's part."""

    tenant: TenantId

    def begin_base(
        self,
        environment: str,
        kind: BaseKind,
        parent: str | None,
        labels: Mapping[str, str],
        timeline: int = 1,
        tier: str = "",
    ) -> BaseWriter: ...

    def manifests(self) -> list[Manifest]:
        """Every committed base, oldest first; signatures checked. A manifest without a valid one is an error by name."""

    def items(self, manifest: Manifest, store: str, set_name: str) -> Iterator[Item]:
        """Of the base with its parents merged in; ordered by key."""

    def append(self, store: str, timeline: int, frames: Sequence[Frame], covered: Covered) -> None:
        """Seal frames into a segment and extend the coverage; durable on return. Repeating it adds nothing."""

    def frames(self, store: str, timeline: int, from_position: int, through_us: int) -> Iterator[Frame]:
        """In order of position. Raises `RepositoryDamaged` where the chain of segments is broken."""

    def coverage(self) -> list[Covered]: ...

    def window(self) -> RestoreWindow: ...

    def moment(self, at_us: int, timeline: int | None = None) -> Moment:
        """``timeline`` None: the newest that has that moment. After an in-place restore the future that was given
        up belongs to the older one.

        Raises:
            NotRestorable: with the intervals and the nearest moments.
        """

    def fingerprint_key(self) -> bytes:
        """32 bytes; the same as long as the tenant's keys live."""


@runtime_checkable
class HasTimelines(Protocol):
    """A tenant's part that keeps apart what was before a restore in place and what came after it."""

    def timeline(self) -> int:
        """The newest; 1 is there from the beginning."""

    def begin_timeline(self, number: int, begun_us: int, restored_us: int) -> None:
        """From then on (microseconds since 1970) only bases of this one count for moments. Begun before: nothing."""
