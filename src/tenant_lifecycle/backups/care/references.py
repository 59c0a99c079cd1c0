"""Whether a base is closed: every reference between its rows leads to a row that is in the base too.

What refers to what stands in the base's facts (foreign keys as the database had them), so the source is not asked.
Keys lie in a temporary SQLite file, as digests; memory does not grow with the tenant.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.shape import Shape

#: Gives the items of a set, as often as it is called.
Items = Callable[[str], Iterator[Item]]


@dataclass(frozen=True, slots=True)
class Reference:
    """One foreign key between two sets of a base."""

    name: str
    set: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dangling:
    """A foreign key that leads nowhere, so many times."""

    reference: Reference
    items: int


def references_of(facts: Mapping[str, Any], shapes: Mapping[str, Shape]) -> list[Reference]:
    """The foreign keys that a store's facts tell of, where both ends are in the base."""
    found = [
        Reference(
            rule["name"], rule["set"], tuple(rule["columns"]), rule["parent"], tuple(rule["parent_columns"])
        )
        for rule in facts.get("rules", ())
        if rule.get("kind") == "constraint" and rule.get("type") == "f"
    ]
    return [
        one
        for one in found
        if _has(shapes, one.set, one.columns) and _has(shapes, one.parent, one.parent_columns)
    ]


def dangling(references: Sequence[Reference], shapes: Mapping[str, Shape], items: Items) -> list[Dangling]:
    """Each reference with rows whose parent is not in the base; a NULL among the columns refers to nothing."""
    found = []
    by_target: dict[tuple[str, tuple[str, ...]], list[Reference]] = {}
    for one in references:
        by_target.setdefault((one.parent, one.parent_columns), []).append(one)
    for (parent, columns), referring in by_target.items():
        with _Keys() as keys:
            keys.add(_cells(items(parent), shapes[parent], columns))
            for one in referring:
                missing = keys.missing(_cells(items(one.set), shapes[one.set], one.columns))
                found += [Dangling(one, missing)] if missing else []
    return found


class _Keys:
    """A set of keys on disk."""

    def __enter__(self) -> _Keys:
        # An empty name is a file of SQLite's own that is gone when it is closed.
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE keys (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, keys: Iterable[bytes]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ((key,) for key in keys))

    def missing(self, keys: Iterable[bytes]) -> int:
        query = "SELECT 1 FROM keys WHERE digest = ?"
        return sum(self._db.execute(query, (key,)).fetchone() is None for key in keys)


def _cells(items: Iterable[Item], shape: Shape, columns: Sequence[str]) -> Iterator[bytes]:
    places = [[column.name for column in shape.columns].index(name) for name in columns]
    for item in items:
        cells = [item.cells[place] for place in places]
        if None not in cells:
            yield _digest(cells)


def _digest(cells: Sequence[Cell]) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for cell in cells:
        assert cell is not None
        hashed.update(len(cell).to_bytes(8, "big") + cell)
    return hashed.digest()


def _has(shapes: Mapping[str, Shape], set_name: str, columns: Sequence[str]) -> bool:
    shape = shapes.get(set_name)
    return shape is not None and set(columns) <= {column.name for column in shape.columns}
