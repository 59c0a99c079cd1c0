"""Records of one namespace, and the log that writes go through before reads see them.

Every accepted write gets the next number of its namespace's log. Reads see the writes up to some number, which
lags behind by the staleness; answers to writes carry the one, answers to queries the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Record:
    """One vector as it is stored: 32-bit floats, numbers of the metadata as 64-bit floats."""

    id: str
    values: Floats
    indices: list[int] | None
    weights: Floats | None
    metadata: dict[str, Any] | None

    def as_dict(self, *, values: bool = True, metadata: bool = True) -> dict[str, Any]:
        """The form in answers."""
        shown: dict[str, Any] = {"id": self.id, "values": self.values if values else []}
        if values and self.indices is not None:
            shown["sparseValues"] = {"indices": self.indices, "values": self.weights}
        if metadata and self.metadata is not None:
            shown["metadata"] = self.metadata
        return shown


Write = Callable[[dict[str, Record]], None]


class Namespace:
    """One namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: Which metadata may be filtered by, as it was declared.
        self.schema: dict[str, Any] | None = None
        #: Whether it is there for writes, and whether reads show it. Its numbers go on when it is created anew.
        self.exists, self.shown = False, False
        self._committed = 0
        self._reconciled = 0
        self._records: dict[str, Record] = {}
        self._sorted: list[str] | None = None
        self._waiting: deque[tuple[float, int, bool, Write]] = deque()

    def write(self, write: Write, now: float, stale_s: float, *, exists: bool = True) -> int:
        """Accept a write, after which the namespace ``exists``; its number in the log."""
        self._committed += 1
        self.exists = exists
        due = now + stale_s
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, self._committed, exists, write))
        self._catch_up(now)
        return self._committed

    def visible(self, now: float) -> dict[str, Record]:
        """The records that reads see."""
        self._catch_up(now)
        return self._records

    def ids(self, now: float) -> list[str]:
        """Their ids in the order of their bytes."""
        self._catch_up(now)
        if self._sorted is None:
            self._sorted = sorted(self._records)
        return self._sorted

    def reconciled(self, now: float) -> int:
        """The number of the last write that reads see."""
        self._catch_up(now)
        return self._reconciled

    def _catch_up(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, self._reconciled, self.shown, write = self._waiting.popleft()
            write(self._records)
            self._sorted = None
