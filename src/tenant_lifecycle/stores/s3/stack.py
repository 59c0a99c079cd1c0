"""What a bucket holds under one key, oldest first, and what a target lacks to hold the same.

Version ids cannot be kept: the service gives them. What is kept is the *sequence* of versions, and whether the
key is live (its newest version is no delete marker). Older delete markers are carried over, but not compared:
listings tell times by the second, and compatible services list markers apart from versions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

#: Versions per key that are carried over and compared, counted from the newest.
HISTORY_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, as a listing shows it; its content and metadata never change."""

    id: str
    etag: str
    #: Bytes.
    size: int
    modified: datetime
    storage_class: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class Marker:
    """A delete marker."""

    id: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything under one key. Without history it holds the current version only."""

    key: str
    #: Oldest first.
    versions: tuple[Version, ...] = ()
    markers: tuple[Marker, ...] = ()
    #: Whether the newest entry is a version: a reader finds an object.
    live: bool = False
    #: There are older versions than these.
    cut: bool = False

    @property
    def current(self) -> Version | None:
        """What a reader finds; None: nothing."""
        return self.versions[-1] if self.live else None

    def entries(self) -> list[Version | Marker]:
        """Versions and markers in order, oldest first; the last one decides whether the key is live."""
        ordered: list[Version | Marker] = sorted(
            [*self.versions, *self.markers], key=lambda one: (one.modified, isinstance(one, Marker))
        )
        if self.live:
            newest = self.versions[-1]
            ordered.remove(newest)
            ordered.append(newest)
        return ordered


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes the target's stack equal to the source's."""

    #: To be written on top, in this order.
    append: tuple[Version | Marker, ...] = ()
    #: Ids on the target to be deleted for good, after the appending.
    strays: tuple[str, ...] = ()
    #: Delete the current object: a marker where the bucket keeps versions.
    delete: bool = False

    @property
    def empty(self) -> bool:
        return not (self.append or self.strays or self.delete)


Same = Callable[[Version, Version], bool]


def plan(source: Stack, target: Stack, same: Same) -> Plan:
    """Decide, with history. ``same`` tells whether two versions have equal content and metadata.

    The target's versions that follow the source's sequence from its beginning are kept; what the source has
    beyond them is appended, and what the target has besides them is a stray.
    """
    kept, strays = _align(source, target, same)
    if not source.versions and not source.live:
        gone = (*(one.id for one in target.versions), *(one.id for one in target.markers))
        return Plan(strays=gone if target.versions else ())
    entries = source.entries()
    if kept < len(source.versions):
        last = entries.index(source.versions[kept - 1]) + 1 if kept else 0
        return Plan(tuple(entries[last:]), strays)
    if source.live:
        # Only markers can lie above what is kept; without them the last kept version is the current one.
        above = () if target.live else _markers_above(target)
        return Plan(strays=(*strays, *above))
    return Plan(strays=strays, delete=target.live)


def plan_current(source: Stack, target: Stack, same: Same) -> Plan:
    """Decide where only the current state is kept."""
    if source.current is None:
        return Plan(delete=target.live)
    if target.current is not None and same(source.current, target.current):
        return Plan()
    return Plan(append=(source.current,))


def _align(source: Stack, target: Stack, same: Same) -> tuple[int, tuple[str, ...]]:
    """How many of the source's versions the target has, from the first on, and the ids of its others."""
    kept = 0
    strays: list[str] = []
    for version in target.versions:
        if kept < len(source.versions) and same(source.versions[kept], version):
            kept += 1
        elif kept or not source.cut:
            strays.append(version.id)
    return kept, tuple(strays)


def _markers_above(target: Stack) -> tuple[str, ...]:
    newest = target.versions[-1].modified if target.versions else None
    return tuple(one.id for one in target.markers if newest is None or one.modified >= newest)


def same_history(source: Stack, target: Stack, same: Same) -> bool:
    """Whether the sequences of versions agree; of cut ones, the newest."""
    if len(source.versions) != len(target.versions):
        return False
    return all(same(a, b) for a, b in zip(source.versions, target.versions, strict=True))
