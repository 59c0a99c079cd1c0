"""Where the cells of a set's present columns come from, for items of the base: what changes of the schema did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.items import UNCHANGED, Cell, PatchCell, Reshape
from tenant_lifecycle.model.backup.shape import Column, Shape


@dataclass(frozen=True, slots=True)
class FromBase:
    """The cell in this place of the base's item."""

    index: int


@dataclass(frozen=True, slots=True)
class Filled:
    """This cell, whatever the item."""

    cell: Cell


@dataclass(frozen=True, slots=True)
class Untold:
    """The log does not say what items from before have in this column."""

    column: str


Source = FromBase | Filled | Untold


@dataclass(frozen=True, slots=True)
class Columns:
    """A set's shape now, and for each of its columns the source of an item that was not written since the base."""

    shape: Shape
    sources: tuple[Source, ...]
    #: Whether items of the base are what they were: no column came, went or moved.
    same: bool = True

    @classmethod
    def of(cls, shape: Shape) -> Columns:
        """As in the base."""
        return cls(shape, tuple(FromBase(index) for index in range(len(shape.columns))))

    def reshaped(self, change: Reshape) -> tuple[Columns, tuple[int | Source, ...]]:
        """After the change; and for each new column the place of the old one, or what stands in it otherwise."""
        steps = tuple(_step(column, self.shape, change) for column in change.shape.columns)
        sources = tuple(self.sources[step] if isinstance(step, int) else step for step in steps)
        same = self.same and sources == self.sources
        return replace(self, shape=change.shape, sources=sources, same=same), steps

    def of_base(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """A base's item that nothing wrote since.

        Raises:
            NotRestorable: it has a column of which the log does not say what is in it.
        """
        return tuple(_cell(source, cells) for source in self.sources)

    def one(self, place: int, base: Sequence[Cell]) -> Cell:
        """The cell of one column of a base's item."""
        return _cell(self.sources[place], base)


def moved(cells: Sequence[PatchCell], steps: Sequence[int | Source]) -> tuple[PatchCell, ...]:
    """Cells of an item that was written before a change of the schema, after it."""
    return tuple(_moved(step, cells) for step in steps)


def untold(change: Reshape, before: Shape) -> tuple[str, ...]:
    """Columns of which the log does not say what items from before have in them."""
    steps = (_step(column, before, change) for column in change.shape.columns)
    return tuple(step.column for step in steps if isinstance(step, Untold))


def _step(column: Column, before: Shape, change: Reshape) -> int | Source:
    places: Mapping[str, int] = {old.name: place for place, old in enumerate(before.columns)}
    carried = places.get(dict(change.carried).get(column.name, ""))
    if carried is not None:
        return carried
    place = places.get(column.name)
    if place is not None and before.columns[place].type == column.type:
        return place
    filled = dict(change.filled)
    return Filled(filled[column.name]) if column.name in filled else Untold(column.name)


def _cell(source: Source, base: Sequence[Cell]) -> Cell:
    match source:
        case FromBase(index):
            return base[index]
        case Filled(cell):
            return cell
        case Untold(column):
            raise NotRestorable(
                f"the change log does not say what rows from before the column {column!r} was added, or changed "
                "its type, have in it",
                next_step="choose a moment before that change, or one after the next base",
            )


def _moved(step: int | Source, cells: Sequence[PatchCell]) -> PatchCell:
    if isinstance(step, int):
        return cells[step]
    # A cell that is to be looked up is `UNCHANGED`: it then raises where it is needed, and only there.
    return step.cell if isinstance(step, Filled) else UNCHANGED
