"""A flip, measured: how long writes waited, and for what."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

#: Attempts that wait for a good moment, within `FlipBudget.pause_s`; each later one may take so many times more.
PICKY_ATTEMPTS, GROWTH = 8, 1.5
#: The same of a way back: something is wrong over there, so that a longer pause is better than another attempt.
PICKY_ATTEMPTS_BACK, GROWTH_BACK = 1, 2.0


@dataclass(frozen=True, slots=True)
class FlipBudget:
    """Limits of one attempt; a limit that is passed before the commit point releases the fence."""

    #: After this the fence is over by itself, on the database's clock, whatever became of us.
    fence_ttl_s: float = 2.0
    #: From asking for the fence until the commit point. A tenant that writes all the time has no better moment:
    #: after `PICKY_ATTEMPTS` it grows, up to the next two together.
    pause_s: float = 0.12
    #: For draining writers that are in the middle of a transaction, at most.
    lock_s: float = 0.3
    #: For the marker to reach the target and for comparing, at most.
    marker_s: float = 0.5
    #: Items that may be left to compare under the fence.
    dirty_items: int = 2_000
    #: Oldest change that may be waiting before an attempt begins, seconds.
    lag_s: float = 0.5
    #: Attempts before a person is asked.
    attempts: int = 60
    #: What sequences are raised above the source's value.
    counter_margin: int = 1_000

    def for_attempt(self, number: int, *, back: bool = False) -> FlipBudget:
        """The budget of the attempt with this number, from 1: half of the pause is for draining."""
        most = self.lock_s + self.marker_s
        picky, growth = (PICKY_ATTEMPTS_BACK, GROWTH_BACK) if back else (PICKY_ATTEMPTS, GROWTH)
        pause_s = min(most, self.pause_s * growth ** min(max(0, number - picky), 20))
        return replace(self, pause_s=pause_s, lock_s=min(self.lock_s, pause_s / 2))


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
