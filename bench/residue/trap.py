"""A trap: something of a tenant that a deletion leaves behind, and what was seen of it after ours and a naive one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """What is left after one deletion, counted at the system itself, and what whoever deleted says about it."""

    left: int
    #: What was counted: hits of the tenant's marker, rows, versions.
    unit: str
    #: "" if nothing was said: not by a refusal, a warning, a line of the result, or the search afterwards.
    told: str = ""

    @property
    def unreported(self) -> bool:
        """Whether something is left and nobody says so."""
        return self.left > 0 and not self.told

    def in_words(self) -> str:
        """``clean``, ``left: 3 rows``, or ``reported: 3 rows; who says it``."""
        if not self.left:
            return "clean"
        return (
            f"reported: {self.left:,} {self.unit}; {self.told}"
            if self.told
            else f"left: {self.left:,} {self.unit}"
        )


@dataclass(frozen=True, slots=True)
class Trap:
    """One row of the page."""

    #: As the measurements are numbered (M1 ...), or a number of its own.
    code: str
    system: str
    what: str
    #: The deletion that somebody would write.
    naively: str
    #: Lays the trap twice, deletes once naively and once with ours; (naive, ours). None: it cannot be run.
    measure: Callable[[], tuple[Seen, Seen]] | None
    #: Why it cannot be run.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A trap and what was seen; both are None if it was not run."""

    trap: Trap
    naive: Seen | None
    ours: Seen | None


def measured(trap: Trap) -> Row:
    """Run one trap."""
    if trap.measure is None:
        return Row(trap, None, None)
    return Row(trap, *trap.measure())
