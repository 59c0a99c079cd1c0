"""Which moment a person means: a time with its offset, a base, a mark, or the latest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

#: A ULID or its beginning; 128 bits in 26 letters, so the first is 7 at most, and no word is one.
_BASE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{3,25}", re.IGNORECASE)
_MARK = "mark:"
#: Label of a base that carries a mark.
MARK_LABEL = "mark"


class PointKind(StrEnum):
    """How a moment was named."""

    TIME = "time"
    BASE = "base"
    MARK = "mark"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Point:
    """What was named."""

    kind: PointKind
    #: A base's id or its beginning, or a mark's name; else "".
    name: str = ""
    #: Microseconds since 1970, of a time.
    at_us: int = 0


def read_point(text: str) -> Point:
    """``2026-11-24T10:15:30.25+01:00``, ``latest``, ``mark:before-import``, or a base's id or its beginning.

    Raises:
        ValueError: it is none of them, or a time without its zone; the message says what is allowed.
    """
    if text == "latest":
        return Point(PointKind.LATEST)
    if text.startswith(_MARK) and text != _MARK:
        return Point(PointKind.MARK, text.removeprefix(_MARK))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is not None and not text.isalnum():
        if at.tzinfo is None:
            raise ValueError(
                f"{text!r} has no zone, and an hour more or less is other data; write {text}Z for UTC, or the offset: "
                f"{text}+01:00"
            )
        return Point(PointKind.TIME, at_us=microseconds(at))
    if _BASE.fullmatch(text):
        return Point(PointKind.BASE, text.upper())
    raise ValueError(
        f"{text!r} is no moment; write a time with its offset such as 2026-11-24T10:15:30+00:00, a base's id, "
        "mark:NAME, or latest"
    )


def microseconds(at: datetime) -> int:
    """Microseconds since 1970, without the rounding of floats."""
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def time_text(at_us: int) -> str:
    """``2026-11-24T10:15:30.250000Z``."""
    seconds, rest = divmod(at_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06d}Z"
