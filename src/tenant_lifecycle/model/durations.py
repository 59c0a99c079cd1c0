"""Durations as people write them: ``300ms``, ``24h``, ``1h30m``."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds of ``1h30m``; units are ms, s, m, h and d.

    Raises:
        ValueError: it is no duration; the message says what one looks like.
    """
    plain = text.strip().lower()
    if not _WHOLE.fullmatch(plain):
        raise ValueError(f"{text!r} is no duration; write a number and a unit (ms, s, m, h, d), such as 24h")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))


def format_duration(seconds: float) -> str:
    """For people, two units at most: ``340 ms``, ``1.5 s``, ``0:41``, ``31:08``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds < 0:
        return "0 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    if whole < 86400:
        minutes = whole % 3600 // 60
        return f"{whole // 3600} h" + (f" {minutes:02d} min" if minutes else "")
    hours = whole % 86400 // 3600
    return f"{whole // 86400} d" + (f" {hours} h" if hours else "")
