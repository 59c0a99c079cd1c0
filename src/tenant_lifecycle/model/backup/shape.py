"""The columns of a set at one time, and their digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column, its type as the store writes it (``numeric(10,2)``)."""

    name: str
    type: str
    nullable: bool = True
    #: Computed by the store: read back and compared, never written.
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A set's columns in order, and those that make its key (empty: the whole item is the key)."""

    set: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 in hex; equal for equal shapes only."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


#: Of stores whose items have no columns.
def opaque(set_name: str) -> Shape:
    """The shape of a set of keys, vectors or objects."""
    return Shape(set_name, (Column("content", "bytes", nullable=False),), ("key",))
