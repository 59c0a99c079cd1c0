"""Marks of objects that are about to be deleted: ``<directory>/tomb/<the rest of the name>.tomb``.

A mark says since when, how large the object was, and why. Nothing new refers to a marked object, and between mark
and deletion lies the grace time, in which anybody can still change their mind: the mark is then taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.backups.care.signed import Signs, read_signed, signed
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.errors import RepositoryDamaged

_SUFFIX = ".tomb"


@dataclass(frozen=True, slots=True)
class Tomb:
    """One mark."""

    #: Of the marked object.
    name: str
    size: int
    why: str
    #: Seconds since 1970, the later one of what the marker's clock and the storage's said.
    at: float

    def due(self, grace_s: float) -> float:
        """Seconds since 1970 from which the object may be deleted."""
        return self.at + grace_s


def mark(
    storage: Storage, directory: Directory, name: str, size: int, why: str, at: float, signs: Signs
) -> bool:
    """Mark an object; False if it is marked already."""
    tomb = directory.tomb(name)
    body = {"name": name, "size": size, "why": why, "at_us": round(at * 1_000_000)}
    return storage.put(tomb, signed(tomb, body, signs))


def unmark(storage: Storage, directory: Directory, name: str) -> None:
    """Take the mark away; safe to repeat."""
    storage.delete(directory.tomb(name))


def tombs(storage: Storage, directory: Directory, signs: Signs) -> Iterator[Tomb]:
    """Every mark of a directory, in order of names.

    Raises:
        RepositoryDamaged: one is not as it was written.
    """
    for name, _, modified in storage.names(directory.below("tomb/")):
        if not name.endswith(_SUFFIX):
            continue
        body = read_signed(name, storage.get(name), signs)
        marked = str(body["name"])
        if directory.tomb(marked) != name:
            raise RepositoryDamaged(f"{name}: marks another object than it is named after")
        yield Tomb(marked, int(body["size"]), str(body["why"]), max(modified, int(body["at_us"]) / 1_000_000))
