"""Restore drills: what was tried, how long it took, and whether it would have helped."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tenant_lifecycle.model.backup.manifest import Interval
from tenant_lifecycle.model.backup.when import time_text


@dataclass(frozen=True, slots=True)
class Recall:
    """What a restored vector store answers to queries made of the tenant's own vectors."""

    queries: int
    #: Of the true nearest ids, the share that was answered; 1.0 is all of them.
    at_10: float
    #: Queries whose own id came first.
    own_first: int


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One drill. Nothing personal: ids, counts, seconds."""

    id: str
    tenant_id: str
    environment: str
    #: Which moment, microseconds since 1970.
    at_us: int
    #: Seconds since 1970.
    ended_at: float
    #: From the decision to a proved tenant.
    rto_s: float
    items: Mapping[str, int]
    #: Sets that were not what the log says, each with its store.
    unequal: Sequence[str] = ()
    #: By store; only those that answer queries.
    recall: Mapping[str, Recall] = field(default_factory=dict)
    #: Why it could not be done at all; "" if it could.
    failure: str = ""
    #: Least share of the true nearest ids.
    least_recall: float = 0.95

    @property
    def findings(self) -> list[str]:
        """What is wrong, as sentences; empty if the tenant could have been restored."""
        weak = [
            f"{store}: recall@10 is {one.at_10:.3f}, less than {self.least_recall:g}"
            for store, one in self.recall.items()
            if one.at_10 < self.least_recall
        ]
        unequal = [f"{one}: not what the log says" for one in self.unequal]
        return [*([self.failure] if self.failure else []), *unequal, *weak]

    @property
    def passed(self) -> bool:
        return not self.findings

    def document(self) -> dict[str, Any]:
        """For people and programs."""
        told = asdict(self)
        return {**told, "at": time_text(self.at_us), "passed": self.passed, "findings": self.findings}


def random_moment(intervals: Sequence[Interval], draw: random.Random) -> int:
    """A moment that can be restored, every microsecond as likely as any other."""
    lengths = [one.to_us - one.from_us + 1 for one in intervals]
    at = draw.randrange(sum(lengths))
    for one, length in zip(intervals, lengths, strict=True):
        if at < length:
            return one.from_us + at
        at -= length
    raise AssertionError("the lengths add up")
