"""A flip, measured: how long writes waited, and for what."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class FlipBudget:
    """Limits of one attempt; a limit that is passed before the commit point releases the fence."""

    #: After this the fence is over by itself, on the database's clock, whatever became of us.
    fence_ttl_s: float = 2.0
    #: For draining writers that are in the middle of a transaction.
    lock_s: float = 0.3
    #: For the marker to reach the target.
    marker_s: float = 0.5
    #: Items that may be left to compare under the fence.
    dirty_items: int = 2_000
    #: Oldest change that may be waiting before an attempt begins, seconds.
    lag_s: float = 0.5
    #: Attempts before a person is asked.
    attempts: int = 60
    #: What sequences are raised above the source's value.
    counter_margin: int = 1_000


@dataclass(frozen=True, slots=True)
class FlipTiming:
    """Milliseconds of one committed flip; the pause is what a waiting writer sees of it."""

    drain_ms: float
    marker_ms: float
    compare_ms: float
    counters_ms: float
    commit_ms: float
    activate_ms: float
    dirty_items: int

    @property
    def pause_ms(self) -> float:
        """From asking for the fence to the new writer being active."""
        return (
            self.drain_ms
            + self.marker_ms
            + self.compare_ms
            + self.counters_ms
            + self.commit_ms
            + self.activate_ms
        )

    def as_json(self) -> dict[str, float]:
        """All figures, rounded to microseconds, and the pause."""
        return {name: round(value, 3) for name, value in asdict(self).items()} | {
            "pause_ms": round(self.pause_ms, 3)
        }
