"""How one environment served one tenant within a window of time, as one source of numbers saw it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Health:
    """How one environment served one tenant within a window; what a source does not know is None."""

    requests: int = 0
    errors: int = 0
    p99_ms: float | None = None
    #: A number of the business, larger is better, and per request, for the sides get different shares:
    #: orders per session, the share of answers with a citation.
    business: float | None = None
    #: Everything else, for the post-mortem.
    detail: Mapping[str, float] = field(default_factory=dict)

    @property
    def error_share(self) -> float | None:
        """Errors among the requests, 0 to 1; None without requests."""
        return self.errors / self.requests if self.requests else None

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "errors": self.errors,
            "p99_ms": self.p99_ms,
            "business": self.business,
            "detail": dict(self.detail),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Health:
        """What `as_json` made."""
        return cls(data["requests"], data["errors"], data["p99_ms"], data["business"], dict(data["detail"]))


def known(number: float | None) -> float | None:
    """The number; None if it is none, infinite, or not a number (an empty histogram says NaN)."""
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source said of both sides, at the same time and over the same window."""

    #: The source's name.
    source: str
    #: The side that gets more and more of the requests; None: the source did not answer.
    target: Health | None = None
    #: The side that they come from.
    other: Health | None = None
    #: Why there is no answer.
    why: str = ""
    #: Fields of `Health` that the source was set up to know: silence about one of them is no pass.
    knows: frozenset[str] = frozenset()
