"""What a base consists of, and which moments can be restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.model.names import TenantId


class BaseKind(StrEnum):
    """How a base came about."""

    #: Read whole from the stores.
    FULL = "full"
    #: What changed since its parent, taken from the change log or by comparison; no use without the parent.
    DELTA = "delta"
    #: Parent and deltas merged in the repository; the stores were not read.
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class SetStored:
    """One set of a base."""

    shape: Shape
    fingerprint: Fingerprint
    #: As the store gave them, and as they lie in the repository, bytes.
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class StoreBase:
    """One store's part of a base, and where its log goes on."""

    #: Name inside the environment: ``postgres``.
    store: str
    #: Microseconds since 1970 by the judge's clock: the snapshot; without one, the end of reading (every item's own
    #: time lies before it). A restore to a moment before it needs an older base.
    at_us: int
    #: The first log position that may hold something which the base has not: of PostgreSQL the snapshot's, of stores
    #: whose writes are captured the judge's time when reading began, in microseconds.
    log_from: int
    snapshot: Snapshot | None
    sets: Mapping[str, SetStored]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One base of one tenant: the signed commit point in the repository."""

    #: ULID.
    id: str
    tenant: TenantId
    environment: str
    kind: BaseKind
    parent: str | None
    started_us: int
    finished_us: int
    stores: Mapping[str, StoreBase]
    tier: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Microseconds since 1970 from which retention may delete it; None: never by itself.
    expires_us: int | None = None
    #: The time-line it belongs to; an in-place restore begins a new one.
    timeline: int = 1
    tool_version: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """From and to, both included, microseconds since 1970; every moment inside can be restored exactly."""

    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Gap:
    """From and to, both not included, and why nothing inside can be restored exactly."""

    from_us: int
    to_us: int
    why: str
    #: The store that is the reason.
    store: str


@dataclass(frozen=True, slots=True)
class RestoreWindow:
    """What can be restored: of all stores at once, in order."""

    intervals: tuple[Interval, ...]
    gaps: tuple[Gap, ...]
