"""Stretches of time in which a store's state is not known exactly, read from the frames that say so.

A captured write whose content nobody saw makes its item unknown from when it began to when the item is seen again.
A change of the schema that does not say what old rows have in a column makes them unknown until the next base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenant_lifecycle.backups.moments.columns import untold
from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Delete,
    Frame,
    Op,
    Reshape,
    Truncate,
    Unknown,
    Upsert,
)
from tenant_lifecycle.model.backup.manifest import StoreBase
from tenant_lifecycle.model.backup.shape import Shape


@dataclass(frozen=True, slots=True)
class Doubt:
    """Moments from ``from_us`` (included) to ``to_us`` (not included; None: until the next base) are not exact."""

    from_us: int
    to_us: int | None
    #: Of the frame that began it: a base whose log goes on behind it is not concerned.
    position: int
    why: str


@dataclass(frozen=True, slots=True)
class Reshaped:
    """A change of the schema, with the frame that it came in."""

    frame: Frame
    change: Reshape


class Doubts:
    """Collects what frames say; in order."""

    def __init__(self) -> None:
        self.reshaped: list[Reshaped] = []
        self._ended: list[Doubt] = []
        self._open: dict[tuple[str, bytes], Doubt] = {}

    @property
    def waiting(self) -> bool:
        """Whether some item was not seen again yet, so that the next frames matter as well."""
        return bool(self._open)

    def take(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            for op in frame.ops:
                self._take_one(frame, op)

    def found(self) -> list[Doubt]:
        """Those that ended, and those that did not."""
        return [*self._ended, *self._open.values()]

    def _take_one(self, frame: Frame, op: Op) -> None:
        match op:
            case Unknown(name, key):
                doubt = Doubt(
                    frame.counts_from_us,
                    None,
                    frame.position,
                    f"what was written to an item of {name} was not seen",
                )
                self._open.setdefault((name, key), doubt)
            case Upsert():
                self._written(frame.counts_from_us, op)
            case Delete(name, key):
                self._seen(name, key, frame.counts_from_us)
            case Truncate(name):
                for place in [place for place in self._open if place[0] == name]:
                    self._seen(*place, frame.counts_from_us)
            case Reshape():
                self.reshaped.append(Reshaped(frame, op))

    def _written(self, at_us: int, op: Upsert) -> None:
        """Seen again, but for cells that were not sent: those are as unknown as before, also under a new key."""
        came_from = op.key if op.old_key is None else op.old_key
        before = self._open.get((op.set, came_from)) if UNCHANGED in op.cells else None
        self._seen(op.set, came_from, at_us)
        self._seen(op.set, op.key, at_us)
        if before is not None:
            self._open[op.set, op.key] = before

    def _seen(self, name: str, key: bytes, at_us: int) -> None:
        doubt = self._open.pop((name, key), None)
        if doubt is not None:
            self._ended.append(Doubt(doubt.from_us, at_us, doubt.position, doubt.why))


def of_base(base: StoreBase, found: Iterable[Doubt], reshaped: Iterable[Reshaped]) -> list[Doubt]:
    """Those that concern moments computed from this base."""
    doubts = [doubt for doubt in found if doubt.position >= base.log_from]
    shapes: dict[str, Shape] = {name: stored.shape for name, stored in base.sets.items()}
    for one in reshaped:
        if not _applies(base, one.frame):
            continue
        doubts += _of_change(shapes, one)
        shapes[one.change.shape.set] = one.change.shape
    return doubts


def _applies(base: StoreBase, frame: Frame) -> bool:
    seen = base.snapshot is not None and frame.xid is not None and base.snapshot.sees(frame.xid)
    return frame.position >= base.log_from and not seen


def _of_change(shapes: Mapping[str, Shape], one: Reshaped) -> list[Doubt]:
    before = shapes.get(one.change.shape.set)
    columns = () if before is None else untold(one.change, before)
    if not columns:
        return []
    why = f"rows of {one.change.shape.set} from before have unknown values in {', '.join(columns)}"
    return [Doubt(one.frame.at_us, None, one.frame.position, why)]
