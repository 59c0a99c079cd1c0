"""What a client counts; numbers only, for metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

#: Every name that is counted, and what it means.
MEANINGS: Mapping[str, str] = {
    "blocks": "blocks that were committed",
    "keys_entered": "keys entered in the journal before they were written",
    "keys_mirrored": "keys whose state was written to the other side as well",
    "mirrors_failed": "keys that were not, because the other side failed or was too slow; carried over anyway",
    "mirrors_skipped": "keys that were not tried: too large, no time left, or the other side failed just now",
    "keys_held": "keys kept open because nobody knows whether a request for them is still under way",
    "reads_local": "reads served by the application's own environment",
    "reads_at_writer": "reads served by the tenant's writer because the own environment was not known to be as fresh",
    "tokens_ignored": "tokens that were damaged, forged, or another tenant's",
    "routes_pushed": "changes of writers that were heard of before a write was refused",
}


class Counts:
    """Counters that several threads may raise."""

    def __init__(self, hook: Callable[[str, int], None] | None = None) -> None:
        """``hook`` is called with every raise: name and how many."""
        self._counter: Counter[str] = Counter(dict.fromkeys(MEANINGS, 0))
        self._lock = threading.Lock()
        self._hook = hook

    def add(self, name: str, count: int = 1) -> None:
        if not count:
            return
        with self._lock:
            self._counter[name] += count
        if self._hook is not None:
            self._hook(name, count)

    def snapshot(self) -> dict[str, int]:
        """All counters now."""
        with self._lock:
            return dict(self._counter)
