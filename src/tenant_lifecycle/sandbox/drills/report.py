"""What a drill saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DrillReport:
    """One failure, rehearsed. Every sentence is about this run; figures are measured or counted."""

    name: str
    #: What was broken on purpose.
    broke: str
    #: How it showed; empty: it was not detected, and the drill has failed.
    detected: str
    #: From the failure to the detection, seconds.
    detect_s: float
    #: What was done without a person.
    by_itself: tuple[str, ...]
    #: What is left to a person.
    left_to_a_person: tuple[str, ...]
    #: Promises that were looked at afterwards, and whether they held.
    promises: Mapping[str, bool] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Detected, and every promise held."""
        return bool(self.detected) and bool(self.promises) and all(self.promises.values())

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}

    def lines(self) -> list[str]:
        """The report for people."""
        rows = [
            ("broken", self.broke),
            ("detected", f"{self.detected or 'NOT DETECTED'} ({self.detect_s:.2f} s)"),
        ]
        rows += [("by itself", one) for one in self.by_itself]
        rows += [("left to you", one) for one in self.left_to_a_person]
        rows += [("held" if held else "BROKEN", promise) for promise, held in self.promises.items()]
        return [f"{name:<12} {text}" for name, text in rows]
