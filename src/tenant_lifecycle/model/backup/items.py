"""What a backup consists of: items and their changes, the same for rows, keys, vectors and objects.

An *item* is one row, key, vector or object: the name of its set, its key in the store's own exact form, and its
cells. A row has a cell for each column, as PostgreSQL writes it as text; items of other stores have one cell each,
whose form is their store's business. A *frame* is what one transaction (or one captured write) did to one tenant.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tenant_lifecycle.model.backup.shape import Shape


class Unchanged(Enum):
    """A cell that the change did not send: it is what it was before (TOAST)."""

    TOKEN = "unchanged"


UNCHANGED = Unchanged.TOKEN
Cell = bytes | None
#: A cell of a change.
PatchCell = bytes | None | Unchanged


@dataclass(frozen=True, slots=True)
class Item:
    """One item in full."""

    set: str
    key: bytes
    cells: tuple[Cell, ...]
    #: Microseconds since 1970 by the judge's clock when it was read, where a base is not one snapshot; else 0.
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class Upsert:
    """The item is this now. ``old_key`` is set when its key changed: unchanged cells are the old item's."""

    set: str
    key: bytes
    cells: tuple[PatchCell, ...]
    old_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """The item is not there any more."""

    set: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """The set is empty now."""

    set: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The item was written, and what was written could not be read before it was written again."""

    set: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Reshape:
    """From here on the set's cells are these columns.

    Cells are carried over by name where name and type are the same. For every other column the log has to say what
    items from before have in it; where it does not, they are unknown until the next base: a change of the schema
    writes no rows into a change log (a default that is added fills old rows silently, a changed type rewrites them).
    """

    shape: Shape
    #: New name and old name: cells are what the old column had, byte for byte, though name or type differ.
    carried: tuple[tuple[str, str], ...] = ()
    #: Name of a column, and the cell that every item from before has in it.
    filled: tuple[tuple[str, Cell], ...] = ()


Op = Upsert | Delete | Truncate | Unknown | Reshape


@dataclass(frozen=True, slots=True)
class Frame:
    """What happened to one tenant in one store at once."""

    #: Grows within a store's time-line: a commit's LSN, or the journal's number.
    position: int
    #: When it was surely there, microseconds since 1970 by the judge's clock: the commit, the end of the write.
    at_us: int
    ops: tuple[Op, ...]
    #: The transaction, 64 bits; None where a store has none.
    xid: int | None = None
    #: Before this it was surely not there; None: as ``at_us``.
    not_before_us: int | None = None

    @property
    def counts_from_us(self) -> int:
        """The first moment that has it: when a write without a commit began, because nobody knows when it was
        acknowledged; whoever was told that it is done was told later."""
        return self.at_us if self.not_before_us is None else self.not_before_us
