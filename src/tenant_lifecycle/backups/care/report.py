"""What a check found: values, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How deep a check looks; each level does what the ones below do."""

    #: What should be there is there, with its size.
    LISTED = 0
    #: The bytes are those that were written; no tenant's key is needed.
    BYTES = 1
    #: Every object opens, and holds the contents that it says; what bases refer to is there.
    CONTENTS = 2
    #: Items add up to the base's fingerprints, rows refer to rows, the log has no hole.
    BASES = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Something is not as it was written."""

    #: Of the object; of a set in a base: ``<manifest>#<store>/<set>``.
    name: str
    what: str
    #: Whether the object is not there at all.
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Damage:
    """A problem, what it hurts, and what became of it."""

    problem: Problem
    #: The word for what kind of object it is.
    sort: str
    #: ``t/<hash>``; "" for what belongs to all tenants.
    directory: str
    #: Ids of bases that cannot be restored because of it.
    bases: tuple[str, ...] = ()
    #: From this moment on (microseconds since 1970), up to the next base, nothing can be restored; None: no moment.
    from_us: int | None = None
    #: "" or how it was mended.
    mended: str = ""
    #: "" or why it could not be.
    unmended: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One check."""

    where: str
    level: Level
    #: Seconds since 1970.
    at: float
    seconds: float
    #: Objects that are there, and those that were read.
    objects: int
    looked_at: int
    bytes_read: int
    bases: int
    damages: tuple[Damage, ...] = ()
    #: Names that no part of the format has; nobody reads them.
    strays: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged, or all of it was mended."""
        return all(one.mended for one in self.damages)


def by_name(problems: Sequence[Problem]) -> dict[str, Problem]:
    """The first problem of each name."""
    found: dict[str, Problem] = {}
    for one in problems:
        found.setdefault(one.name, one)
    return found
