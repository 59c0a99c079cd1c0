"""What can be wrong with one thing that the ledger says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Wrong(StrEnum):
    """What is wrong with one row, number or marker."""

    #: An acknowledged write, or part of it, is not there.
    LOST = "lost"
    #: It is there more often than it was written.
    DUPLICATED = "duplicated"
    #: It was deleted and is back.
    RESURRECTED = "resurrected"
    #: An older value than the last acknowledged one.
    STALE = "stale"
    #: A write that certainly failed, or was never made whole, left something.
    PHANTOM = "phantom"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as the ledger says."""

    wrong: Wrong
    table: str
    key: tuple[str, ...]
    detail: str
