"""A maintenance window: when it opens, how long it lasts, and the moment of its end, which nothing of ours passes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How windows are as a rule."""

    #: Time of day in UTC at which one opens, ``02:30``; "" = at once.
    opens: str = ""
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Window:
    """One announced window."""

    #: Seconds since 1970; None: as soon as everything before it is done.
    opens_at: float | None
    seconds: float

    @property
    def closes_at(self) -> float | None:
        """None if it is not known before it opens."""
        return None if self.opens_at is None else self.opens_at + self.seconds

    def text(self) -> str:
        """For people."""
        minutes = f"{self.seconds / 60:.0f} min" if self.seconds >= 60 else f"{self.seconds:g} s"
        if self.opens_at is None:
            return f"{minutes}, at once"
        return f"{minutes} from {moment_text(self.opens_at)}"


def moment_text(at: float) -> str:
    """``2026-11-24T02:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_time_of_day(text: str) -> bool:
    """Whether it is one as `read_opening` takes it: ``02:30``."""
    return _CLOCK.fullmatch(text) is not None


def read_opening(text: str, now: float) -> float | None:
    """``02:30`` (the next time it is that, UTC), ``2026-11-24T02:00:00+01:00``, or ``now``, as seconds since 1970.

    Raises:
        ValueError: it is none of them, has no offset, or is over; the message says what is allowed.
    """
    if text == "now":
        return None
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        today = datetime.fromtimestamp(now, UTC).replace(
            hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0
        )
        return (today if today.timestamp() > now else today + timedelta(days=1)).timestamp()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(
            f"{text!r} is no moment; write now, a time of day in UTC such as 02:30, "
            "or a moment with its offset such as 2026-11-24T02:30:00+00:00"
        )
    if at.timestamp() <= now:
        raise ValueError(f"{text!r} is over")
    return at.timestamp()
