"""What a gate found: numbers, places and digests, as a document that can be signed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from tenant_lifecycle.masking.spellings import wilson

PAYLOAD_TYPE = "application/vnd.tenant-lifecycle.masking-gate.v1+json"


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that may not be in a clone."""

    #: ``value`` of the source, ``form`` that may be somebody's, ``vector``, ``host``, ``unreadable``.
    what: str
    kind: str
    where: str
    #: Digest of the value under a key that nobody has any more; equal for equal values of one report.
    handle: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of values, and how well the search knows them."""

    kind: str
    values: int
    #: Of these, how many stand in the clone.
    leaked: int
    #: Spellings that the search was tried with, and how many it found.
    tried: int
    found: int
    #: Spellings of which some were not found.
    weak: tuple[str, ...] = ()

    def recall(self) -> tuple[float, float]:
        """95 % interval of what the search finds (Wilson)."""
        return wilson(self.found, self.tried)

    def at_most(self) -> float:
        """Share of values that may have leaked, at 95 %: 3/n if none of n was seen, else Wilson's upper end."""
        if not self.values:
            return 0.0
        return min(1.0, 3 / self.values) if not self.leaked else wilson(self.leaked, self.values)[1]


@dataclass(frozen=True, slots=True)
class GateReport:
    """The result; computed, and never set."""

    target: str
    facts: Mapping[str, str]
    #: At most a hundred, without repetition; ``leaked`` counts all.
    leaks: tuple[Leak, ...]
    leaked: int
    checks: tuple[Check, ...]
    kinds: tuple[Kind, ...]
    #: By store and set.
    items: Mapping[str, int]
    characters: int
    vectors: int
    #: Values by kind that were too short to be looked for inside of texts.
    too_short: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Nothing leaked and every check holds."""
        return not self.leaked and all(check.passed for check in self.checks)

    def document(self) -> dict[str, object]:
        """For people and programs; nothing personal."""
        told = asdict(self)
        for kind, one in zip(told["kinds"], self.kinds, strict=True):
            kind["recall_95"] = [round(end, 4) for end in one.recall()]
            kind["leaked_at_most_95"] = round(one.at_most(), 6)
        return {"passed": self.passed, **told}

    def signed(self, sign: Callable[[str, bytes], bytes]) -> bytes:
        """The document in an envelope that ``sign`` makes of its type and bytes."""
        return sign(PAYLOAD_TYPE, json.dumps(self.document(), sort_keys=True, separators=(",", ":")).encode())
