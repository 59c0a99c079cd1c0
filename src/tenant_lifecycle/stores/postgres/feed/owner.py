"""Decides from a row in the stream whether it is the tenant's, without asking the database.

A tenant column is compared in its binary form, which the source computed once. Rows owned through a parent
are looked up in exact sets of the parents' keys: read from the source after the slot existed, and kept up to
date by the stream. Both need types whose values are equal exactly when their bytes are; others are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle.stores.postgres.feed.equality import Normal
from tenant_lifecycle.stores.postgres.feed.keyset import IN_MEMORY, KeyFile, KeySet
from tenant_lifecycle.stores.postgres.feed.layout import Layout
from tenant_lifecycle.stores.postgres.feed.pgoutput import NULL

#: Fields of a row as they stand in the stream; None is an unchanged TOASTed value that was not sent.
Row = Sequence[bytes | None]
Test = Callable[[Row], bool]

#: How many values of children without a known owner one transaction remembers, before it remembers "many".
ORPHANS = 10_000


@dataclass(slots=True)
class Edge:
    """Rows of ``child`` whose ``child_columns`` name an owned row of ``parent`` are owned."""

    child: Layout
    child_columns: tuple[str, ...]
    parent: Layout
    parent_columns: tuple[str, ...]
    #: True: an immediate foreign key makes sure that the parent is committed no later than the child.
    ordered: bool
    parents: KeySet
    #: Make the two sides' fields comparable where their types differ.
    child_normal: tuple[Normal | None, ...]
    parent_normal: tuple[Normal | None, ...]
    child_at: tuple[int, ...]
    parent_at: tuple[int, ...]
    #: Values of children seen in this transaction before their parent; None: too many to remember.
    orphans: set[bytes] | None = field(default_factory=set)

    def parent_value(self, row: Row) -> bytes | None:
        """The value by which children would refer to this parent row; None if one of the columns is NULL."""
        return value_of(row, self.parent_at, self.parent_normal)


def value_of(row: Row, places: tuple[int, ...], normal: tuple[Normal | None, ...]) -> bytes | None:
    """The fields in those places, made comparable; None if one is NULL (or was not sent)."""
    parts: list[bytes] = []
    for place, change in zip(places, normal, strict=True):
        value = row[place]
        if value is None or value == NULL:
            return None
        parts.append(value if change is None else change(value))
    return b"".join(parts)


class Owner:
    """Whose rows are whose in one feed; `seed` fills it, the stream keeps it."""

    def __init__(self, layouts: Sequence[Layout], folder: Path, in_memory: int = IN_MEMORY) -> None:
        self.layouts = layouts
        self.file = KeyFile(folder / "keys.sqlite")
        self.tests: list[Test] = [everything] * len(layouts)
        #: How many leading fields of a row the test looks at.
        self.probes: list[int] = [0] * len(layouts)
        #: Edges by the number of the parent table, and of the child table.
        self.down: list[list[Edge]] = [[] for _ in layouts]
        self.up: list[list[Edge]] = [[] for _ in layouts]
        self.in_memory = in_memory

    def close(self) -> None:
        """Delete what was written to disk."""
        self.file.close()

    def appeared(self, layout: Layout, key: bytes, row: Row, *, inserted: bool) -> list[int]:
        """An owned row of a parent table is there; return places in ``down`` whose children may have come before.

        Where no foreign key keeps the order, a child may have been seen, and skipped, before its parent; so
        were all children of a row that existed and only now became the tenant's.
        """
        late: list[int] = []
        added: dict[int, bool] = {}
        for place, edge in enumerate(self.down[layout.number]):
            if any(row[i] is None for i in edge.parent_at):
                continue
            value = edge.parent_value(row)
            if value is None:
                edge.parents.remove(key)
                continue
            if id(edge.parents) not in added:
                added[id(edge.parents)] = edge.parents.add(key, value)
            if inserted:
                early = not edge.ordered or edge.orphans is None or value in edge.orphans
            else:
                early = added[id(edge.parents)]
            if early:
                late.append(place)
        return late

    def disappeared(self, layout: Layout, key: bytes) -> bool:
        """A row of a parent table was deleted or is not owned any more; True if it was known as owned."""
        known = [edge.parents.remove(key) for edge in self.down[layout.number]]
        return any(known)

    def orphan(self, layout: Layout, row: Row) -> None:
        """Remember, until the transaction ends, that a child without an owner was seen."""
        for edge in self.up[layout.number]:
            if edge.orphans is not None:
                value = value_of(row, edge.child_at, edge.child_normal)
                if value is not None:
                    edge.orphans.add(value)
                    if len(edge.orphans) > ORPHANS:
                        edge.orphans = None

    def forget_orphans(self) -> None:
        """A transaction ended."""
        for edges in self.up:
            for edge in edges:
                if edge.orphans is None or edge.orphans:
                    edge.orphans = set()


def everything(_: Row) -> bool:
    """The test of a table whose every row is the tenant's."""
    return True
