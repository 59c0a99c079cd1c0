"""Nobody stands alone: rows with the same quasi-identifiers are k or more, or what they share is made unknown.

Only coarse kinds (`transformers.groups`) make groups. A first pass counts the groups as the clone will have them;
in rows of small groups the quasi-identifiers are taken away, all of them, so that these rows are one group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.masking.classes import DataClass, Rule
from tenant_lifecycle.masking.registry import SetRules
from tenant_lifecycle.masking.transformers.groups import GROUPING
from tenant_lifecycle.model.backup.items import Cell
from tenant_lifecycle.model.backup.shape import Shape

Group = tuple[Cell, ...]


class Masking(Protocol):
    """A row that is being masked."""

    out: list[Cell]


def quasi_columns(rules: SetRules, shape: Shape) -> list[int]:
    """Places of the columns that make groups."""
    return [place for place, column in enumerate(shape.columns) if _groups(rules.fields.get(column.name))]


def _groups(rule: Rule | None) -> bool:
    return rule is not None and rule.cls is DataClass.QUASI and rule.kind in GROUPING


@dataclass(frozen=True, slots=True)
class Smallest:
    """How safe a set is."""

    #: Rows of the smallest group; 0: there are no rows.
    rows: int
    #: Groups with fewer than k rows.
    small: int


class Groups:
    """Sizes of the groups of one set."""

    def __init__(self, places: Sequence[int], k: int, otherwise: Sequence[bytes | None]) -> None:
        """``otherwise``: what stands in each column of a row whose group is too small."""
        self._places, self._k, self._otherwise = places, k, tuple(otherwise)
        self._sizes: Counter[Group] = Counter()

    def add(self, cells: Sequence[Cell]) -> None:
        """Count a masked row."""
        self._sizes[self._of(cells)] += 1

    def hide(self, row: Masking) -> None:
        """Make the row's quasi-identifiers unknown if its group is too small."""
        if self._sizes[self._of(row.out)] < self._k:
            for place, value in zip(self._places, self._otherwise, strict=True):
                row.out[place] = value

    def smallest(self) -> Smallest:
        """Of what was counted; rows that are unknown in all columns name nobody, however few they are."""
        sizes = [size for group, size in self._sizes.items() if group != self._otherwise]
        return Smallest(min(sizes, default=0), sum(size < self._k for size in sizes))

    def _of(self, cells: Sequence[Cell]) -> Group:
        return tuple(cells[place] for place in self._places)


def groups_of(rules: SetRules, shape: Shape, k: int) -> Groups | None:
    """Of a set; None: it has no columns that make groups."""
    places = quasi_columns(rules, shape)
    if not places:
        return None
    return Groups(
        places, k, [_otherwise(rules.fields[shape.columns[place].name], shape, place) for place in places]
    )


def _otherwise(rule: Rule, shape: Shape, place: int) -> bytes | None:
    """The rule's ``otherwise``; else nothing where that may stand, and a word or the first year where it may not."""
    if given := rule.text("otherwise"):
        return given.encode()
    column = shape.columns[place]
    if column.nullable:
        return None
    return (
        b"1900-01-01"
        if column.type.startswith(("date", "timestamp"))
        else b"0"
        if column.type in _NUMBERS
        else b"other"
    )


_NUMBERS = frozenset({"integer", "bigint", "smallint", "numeric"})
