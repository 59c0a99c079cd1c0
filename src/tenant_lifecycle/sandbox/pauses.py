"""How long a tenant's clients had to wait, seen from their side of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tenant_lifecycle.sandbox.ledger import Outcome, read_ledger


@dataclass(frozen=True, slots=True)
class Pause:
    """What one window of time, such as a flip, did to the writes of a tenant."""

    #: Longest time from sending to acknowledgement among the writes under way in the window.
    latency_ms: float
    #: Longest time without any acknowledgement of any of the tenant's writers; includes their own pacing.
    gap_ms: float
    #: Acknowledged writes that were under way in the window.
    writes: int
    failed: int


def pauses(folder: Path, tenant: str, windows: Sequence[tuple[float, float]]) -> list[Pause]:
    """One `Pause` for each window, given as seconds since 1970, beginning and end."""
    entries = [entry for entry in read_ledger(folder) if entry.tenant == tenant and entry.seq > 0]
    acks = [
        (entry.began, entry.ended, entry.latency_ms)
        for entry in entries
        if entry.outcome is Outcome.ACK and entry.ended is not None and entry.latency_ms is not None
    ]
    ends = sorted(ended for _, ended, _ in acks)
    result: list[Pause] = []
    for start, end in windows:
        touched = [latency for began, ended, latency in acks if began <= end and ended >= start]
        failed = sum(
            1 for e in entries if e.outcome is Outcome.FAILED and e.began <= end and (e.ended or end) >= start
        )
        result.append(
            Pause(
                latency_ms=max(touched, default=0.0),
                gap_ms=_longest_gap(ends, start, end),
                writes=len(touched),
                failed=failed,
            )
        )
    return result


def _longest_gap(ends: list[float], start: float, end: float) -> float:
    """Longest time between two acknowledgements that overlaps the window."""
    gaps = [
        (later - earlier) * 1000 for earlier, later in pairwise(ends) if earlier <= end and later >= start
    ]
    return max(gaps, default=0.0)


def percentiles(values: Iterable[float]) -> Mapping[str, float]:
    """p50, p99 and max by nearest rank, rounded to a microsecond where these are milliseconds; 0 for none."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}

    def rank(share: float) -> float:
        return round(ordered[max(0, -(-len(ordered) * share // 100).__int__() - 1)], 3)

    return {"p50": rank(50), "p99": rank(99), "max": round(ordered[-1], 3)}
