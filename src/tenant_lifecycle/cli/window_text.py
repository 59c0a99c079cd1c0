"""A restore window for people: a bar, then intervals and gaps in order."""

from __future__ import annotations

from datetime import UTC, datetime

from tenant_lifecycle.model.backup.manifest import Gap, Interval, RestoreWindow

#: Characters of the bar.
WIDTH = 60
_WHOLE, _PART, _NOTHING = "#", "+", "."


def window_lines(window: RestoreWindow) -> list[str]:
    """Restorable is ``#``, partly ``+``, not ``.``; every interval and gap below, in UTC."""
    if not window.intervals:
        return ["no moment can be restored yet: take a base, and run the archiver", *_rows(window)]
    begin, end = window.intervals[0].from_us, window.intervals[-1].to_us
    bar = "".join(
        _mark(window, begin + (end - begin) * at // WIDTH, begin + (end - begin) * (at + 1) // WIDTH)
        for at in range(WIDTH)
    )
    return [f"{_moment(begin)}  to  {_moment(end)}", f"[{bar}]", *_rows(window)]


def _mark(window: RestoreWindow, begin: int, end: int) -> str:
    covered = sum(max(0, min(one.to_us, end) - max(one.from_us, begin)) for one in window.intervals)
    if covered >= end - begin:
        return _WHOLE
    return _PART if covered else _NOTHING


def _rows(window: RestoreWindow) -> list[str]:
    rows: list[Interval | Gap] = sorted((*window.intervals, *window.gaps), key=lambda one: one.from_us)
    return [
        f"gap         {_moment(one.from_us)}  {_moment(one.to_us)}  {one.store}: {one.why}"
        if isinstance(one, Gap)
        else f"restorable  {_moment(one.from_us)}  {_moment(one.to_us)}"
        for one in rows
    ]


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f") + "Z"
