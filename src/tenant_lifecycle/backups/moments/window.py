"""Which moments can be restored: a pure function of bases, what the log covers, and where it is not exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tenant_lifecycle.backups.log.stretch import Stretch
from tenant_lifecycle.backups.moments.doubts import Doubt
from tenant_lifecycle.model.backup.manifest import Gap, Interval, RestoreWindow


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one store's log goes on from one base."""

    store: str
    #: The base's time, and the last moment that is covered; before it: the log does not reach the base.
    from_us: int
    to_us: int
    doubts: tuple[Doubt, ...] = ()
    #: Why it goes no further.
    ends: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A log without a hole: its last position and moment, and why it goes no further."""

    through: int
    through_us: int
    ends: str


def run_from(coverage: Sequence[tuple[Stretch, str]], log_from: int) -> Run | None:
    """The run that has this position; None: there is none. Coverage in order; a stretch with a reason does not count."""
    found: Run | None = None
    lost = -1
    for stretch, broken in coverage:
        if found is None:
            lost = max(lost, stretch.through) if broken else lost
            if not broken and max(stretch.after, lost + 1) <= log_from <= stretch.through + 1:
                found = Run(stretch.through, stretch.through_us, "the change log goes no further")
        elif broken and stretch.through > found.through:
            return replace(found, ends=broken)
        elif stretch.after > found.through + 1:
            return replace(found, ends="the change log has a hole")
        elif not broken:
            through, through_us = (
                max(found.through, stretch.through),
                max(found.through_us, stretch.through_us),
            )
            found = replace(found, through=through, through_us=through_us)
    return found


def intervals(reaches: Sequence[Reach]) -> list[Interval]:
    """Moments that can be restored from one base, in all its stores at once; in order."""
    begin, end = max(one.from_us for one in reaches), min(one.to_us for one in reaches)
    found: list[Interval] = []
    for doubt in sorted((doubt for one in reaches for doubt in one.doubts), key=lambda doubt: doubt.from_us):
        last = min(doubt.from_us - 1, end)
        if begin <= last:
            found.append(Interval(begin, last))
        if doubt.to_us is None:
            return found
        begin = max(begin, doubt.to_us)
    return [*found, Interval(begin, end)] if begin <= end else found


def window(bases: Sequence[Sequence[Reach]]) -> RestoreWindow:
    """Of all bases together, and why there is nothing between the intervals, or behind the last one."""
    merged = _merged(one for reaches in bases if reaches for one in intervals(reaches))
    gaps = [_gap(bases, before.to_us, after.from_us) for before, after in pairwise(merged)]
    end = max((min(one.to_us for one in reaches) for reaches in bases if reaches), default=0)
    if merged and end > merged[-1].to_us:
        gaps.append(_gap(bases, merged[-1].to_us, end + 1))
    return RestoreWindow(tuple(merged), tuple(gaps))


def contains(found: Iterable[Interval], at_us: int) -> bool:
    return any(one.from_us <= at_us <= one.to_us for one in found)


def _merged(found: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for one in sorted(found, key=lambda one: one.from_us):
        if merged and one.from_us <= merged[-1].to_us + 1:
            merged[-1] = Interval(merged[-1].from_us, max(merged[-1].to_us, one.to_us))
        else:
            merged.append(one)
    return merged


def _gap(bases: Sequence[Sequence[Reach]], from_us: int, to_us: int) -> Gap:
    """The reason that begins last before the gap does, or in it: what was exact until then is not any more."""
    why = [one for one in _reasons(bases) if one.from_us <= from_us and one.to_us > from_us] or [
        one for one in _reasons(bases) if one.from_us < to_us and one.to_us > from_us
    ]
    if not why:
        return Gap(from_us, to_us, "there is no base for it", "")
    reason = max(why, key=lambda one: one.from_us)
    return Gap(from_us, to_us, reason.why, reason.store)


def _reasons(bases: Sequence[Sequence[Reach]]) -> Iterator[Gap]:
    never = 1 << 63
    for reaches in bases:
        for one in reaches:
            if one.to_us >= one.from_us:
                yield Gap(one.to_us, never, one.ends, one.store)
            for doubt in one.doubts:
                yield Gap(
                    doubt.from_us - 1, never if doubt.to_us is None else doubt.to_us, doubt.why, one.store
                )
