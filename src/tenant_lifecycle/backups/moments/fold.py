"""One set's state: the base's items with the operations of the log folded over them, column by column.

Folding does not need the base. An entry says which cells the log knows, and of which item of the base the others
are; `Folded` then fetches those in one pass over the base, which streams. So a key that moved takes its cells along,
and a value that was not sent again stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from tenant_lifecycle.backups.moments.columns import Columns, Untold, moved
from tenant_lifecycle.backups.moments.overlay import Entry, Overlay
from tenant_lifecycle.errors import NotRestorable, RepositoryDamaged
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Cell,
    Delete,
    Item,
    Op,
    PatchCell,
    Reshape,
    Truncate,
    Unchanged,
    Unknown,
    Upsert,
)  # fmt: skip
from tenant_lifecycle.model.backup.shape import Shape

#: Opens the base's items of a set, ordered by key.
BaseItems = Callable[[], Iterable[Item]]


class SetFold:
    """What the log did to one set since its base."""

    def __init__(self, shape: Shape) -> None:
        self.columns = Columns.of(shape)
        #: Whether nothing of the base is left: it was truncated.
        self.emptied = False
        #: Whether some entry may need a cell of the base.
        self.looks_back = False
        self.entries = Overlay()

    def apply(self, op: Op, at_us: int) -> None:
        """In the order of the log.

        Raises:
            RepositoryDamaged: a row has not as many cells as its set has columns, or a cell of no row is kept.
        """
        match op:
            case Upsert():
                self._upsert(op, at_us)
            case Delete():
                self.entries.put(op.key, Entry(None, at_us=at_us))
            case Unknown():
                self.entries.put(op.key, Entry((), at_us=at_us, unknown=True))
            case Truncate():
                self.emptied = True
                self.entries.clear()
            case Reshape():
                self._reshape(op)
            case _ as never:
                assert_never(never)

    def is_later(self, op: Op, at_us: int) -> bool:
        """Whether nothing later was folded for this key: stores without a log tell of writes in any order."""
        if isinstance(op, Truncate | Reshape):
            return True
        entry = self.entries.get(op.key)
        return entry is None or entry.at_us <= at_us

    def _upsert(self, op: Upsert, at_us: int) -> None:
        if len(op.cells) != len(self.columns.shape.columns):
            raise RepositoryDamaged(
                f"the change log has {len(op.cells)} cells for an item of {op.set!r}, which has "
                f"{len(self.columns.shape.columns)} columns then",
                next_step="run: tenantctl backup check --level L3",
            )
        came_from = op.key if op.old_key is None else op.old_key
        cells: tuple[PatchCell, ...] = op.cells
        origin = None
        if UNCHANGED in cells:
            before = self._before(op, came_from)
            if before.unknown:
                self._moved(came_from, op.key, before._replace(at_us=at_us))
                return
            cells = tuple(
                old if new is UNCHANGED else new for new, old in zip(cells, before.cells or (), strict=True)
            )
            origin = before.origin if UNCHANGED in cells else None
            self.looks_back |= origin is not None
        self._moved(came_from, op.key, Entry(cells, origin, at_us))

    def _moved(self, old: bytes, key: bytes, entry: Entry) -> None:
        if old != key:
            self.entries.put(old, Entry(None, at_us=entry.at_us))
        self.entries.put(key, entry)

    def _before(self, op: Upsert, key: bytes) -> Entry:
        entry = self.entries.get(key)
        if entry is None and not self.emptied:
            return Entry((UNCHANGED,) * len(op.cells), key)
        if entry is None or entry.cells is None:
            raise _no_previous(op.set)
        return entry

    def _reshape(self, op: Reshape) -> None:
        before = len(self.columns.shape.columns)
        self.columns, steps = self.columns.reshaped(op)
        if steps == tuple(range(before)):
            return
        changed = Overlay()
        for key, entry in self.entries.ordered():
            keep = entry.cells is None or entry.unknown
            changed.put(key, entry if keep else entry._replace(cells=moved(entry.cells or (), steps)))
        self.entries.close()
        self.entries = changed


def _no_previous(set_name: str) -> RepositoryDamaged:
    return RepositoryDamaged(
        f"the change log keeps a cell of an item of {set_name!r} that is not there: a part of the log, or of the "
        "base, is missing",
        next_step="run: tenantctl backup check --level L3, and restore from another base",
    )


@dataclass(frozen=True, slots=True)
class Folded:
    """A set at the moment where folding ended."""

    set: str
    fold: SetFold
    base: BaseItems
    #: Of the base's items, from its manifest.
    base_fingerprint: Fingerprint
    #: Whether items say when they were read: their store has no snapshots.
    timed: bool = False

    def shape(self) -> Shape:
        return self.fold.columns.shape

    def items(self) -> Iterator[Item]:
        """Ordered by key.

        Raises:
            NotRestorable: an item was written then, and nobody knows what.
            RepositoryDamaged: an unchanged cell belongs to no item.
        """
        images = self._images() if self.fold.looks_back else Overlay()
        try:
            for old, entry, key in _joined(self._base(), self.fold.entries.ordered()):
                item = self._at(key, old, entry, images)
                if item is not None:
                    yield item
        finally:
            images.close()

    def fingerprint(self, key: bytes) -> Fingerprint:
        """The base's, less what the touched items were there, plus what they are now; others are not looked at.

        Where a change of the schema gave all items other cells, they are all added up, and the base's are compared.
        """
        if self.fold.emptied:
            return fingerprint(key, self.items())
        if not self.fold.columns.same:
            return self._recounted(key)
        found = self.base_fingerprint
        images = self._images()
        for at, entry in self.fold.entries.ordered():
            old = self._image(at, images)
            found = found if old is None else found.minus(key, old)
            new = self._at(at, old, entry, images)
            found = found if new is None else found.plus(key, new)
        images.close()
        return found

    def changed(self) -> Iterator[tuple[bytes, Item | None]]:
        """Every key that the log touched, in order, with its item now; None: it is gone."""
        images = self._images()
        for key, entry in self.fold.entries.ordered():
            yield key, self._at(key, self._image(key, images), entry, images)
        images.close()

    def _recounted(self, key: bytes) -> Fingerprint:
        base = fingerprint(key, self.base())
        if base != self.base_fingerprint:
            raise RepositoryDamaged(
                f"the base's items of {self.set!r} are not those of its manifest",
                next_step="run: tenantctl backup check --level L3",
            )
        return fingerprint(key, self.items())

    def _base(self) -> Iterable[Item]:
        return () if self.fold.emptied else self.base()

    def _images(self) -> Overlay:
        """What touched keys were in the base, as entries."""
        images = Overlay()
        if self.fold.emptied or not self.fold.entries:
            return images
        for old, entry, key in _joined(self.base(), self.fold.entries.ordered()):
            if old is not None and entry is not None:
                images.put(key, Entry(old.cells, at_us=old.at_us))
        return images

    def _image(self, key: bytes, images: Overlay) -> Item | None:
        image = images.get(key)
        return None if image is None else Item(self.set, key, _cells(image), image.at_us)

    def _at(self, key: bytes, old: Item | None, entry: Entry | None, images: Overlay) -> Item | None:
        columns = self.fold.columns
        if old is not None and (entry is None or (old.at_us and entry.at_us <= old.at_us)):
            return old if columns.same else replace(old, cells=columns.of_base(old.cells))
        if entry is None or entry.cells is None:
            return None
        if entry.unknown:
            raise NotRestorable(
                f"an item of {self.set!r} was written at that moment, and what was written is not known",
                next_step="choose a moment out of: tenantctl backup window",
            )
        cells = _cells(entry) if entry.resolved else self._filled(entry, images)
        return Item(self.set, key, cells, entry.at_us if self.timed else 0)

    def _filled(self, entry: Entry, images: Overlay) -> tuple[Cell, ...]:
        """Its unchanged cells, out of the base's item that it was."""
        columns, cells = self.fold.columns, entry.cells or ()
        for place, cell in enumerate(cells):
            if cell is UNCHANGED and isinstance(columns.sources[place], Untold):
                columns.one(place, ())
        image = None if entry.origin is None else images.get(entry.origin)
        if image is None:
            raise _no_previous(self.set)
        return tuple(
            columns.one(place, _cells(image)) if isinstance(cell, Unchanged) else cell
            for place, cell in enumerate(cells)
        )


def _cells(entry: Entry) -> tuple[Cell, ...]:
    return tuple(cell for cell in entry.cells or () if not isinstance(cell, Unchanged))


def _joined(
    base: Iterable[Item], entries: Iterable[tuple[bytes, Entry]]
) -> Iterator[tuple[Item | None, Entry | None, bytes]]:
    """Both in order of keys, side by side where the key is the same."""
    ahead = iter(entries)
    touched = next(ahead, None)
    last = b""
    for item in base:
        if item.key < last:
            raise RepositoryDamaged(f"the base's items of {item.set!r} are not in order of their keys")
        last = item.key
        while touched is not None and touched[0] < item.key:
            yield None, touched[1], touched[0]
            touched = next(ahead, None)
        if touched is not None and touched[0] == item.key:
            yield item, touched[1], item.key
            touched = next(ahead, None)
        else:
            yield item, None, item.key
    while touched is not None:
        yield None, touched[1], touched[0]
        touched = next(ahead, None)
