"""What a verification found, store by store; computed from comparisons, never set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DifferenceKind(StrEnum):
    """What is wrong with one item."""

    MISSING = "missing on target"
    EXTRA = "only on target"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Difference:
    """One item that is not the same on both sides. ``key_text`` may be personal: show it, do not journal it."""

    set: str
    key: bytes
    key_text: str
    kind: DifferenceKind
    #: Fields that differ, for `DifferenceKind.DIFFERENT`.
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetVerdict:
    """One set, compared on both sides."""

    store: str
    set: str
    items: int
    leaves: int
    #: Looked different at first and turned out to be in flight.
    rechecked: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """One full verification of one tenant between two environments."""

    source: str
    target: str
    sets: tuple[SetVerdict, ...]
    repaired: int
    seconds: float

    @property
    def items(self) -> int:
        return sum(verdict.items for verdict in self.sets)

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(difference for verdict in self.sets for difference in verdict.differences)

    @property
    def consistent(self) -> bool:
        """True only if at least one set was compared and no difference is left."""
        return bool(self.sets) and not self.differences
