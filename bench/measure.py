"""Taking turns, and what is said about several repetitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Seconds of a block; 0 until the block is over."""

    seconds: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def so_far(self) -> float:
        """Seconds since it was started."""
        return time.perf_counter() - self.began


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measure the block."""
    watch = Stopwatch()
    yield watch
    watch.seconds = watch.so_far()


def alternating(
    sides: dict[str, Callable[[int], float]], repetitions: int, show: Callable[[str], None]
) -> dict[str, list[float]]:
    """Run every side once per repetition, each repetition in the opposite order of the one before.

    A side is called with the number of the repetition and returns its seconds, set-up left out. For a rate
    take the minimum: what another process of the machine adds is never part of the work.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions):
        names = list(sides) if repetition % 2 == 0 else list(reversed(sides))
        for name in names:
            seconds[name].append(sides[name](repetition))
            show(f"  {repetition + 1}/{repetitions} {name}: {seconds[name][-1]:.3f} s")
    return seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.499999) - 1))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum, for a report."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def until(reached: Callable[[], bool], timeout_s: float, what: str, every_s: float = 0.01) -> None:
    """Poll until it is so.

    Raises:
        TimeoutError: it did not come to be in time.
    """
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {timeout_s:.0f} s")
        time.sleep(every_s)
