"""Writing a block's keys to the other side as well, in the state they have now: a head start, never a promise.

Whatever goes wrong here is counted and costs the request at most the mirror's time: the journal has every key,
and the move carries it over. Only one thing is dangerous: a request of which nobody knows whether it is still
under way could arrive after the flip. Its keys are held, and the flip waits for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from tenant_lifecycle.client.counts import Counts
from tenant_lifecycle.client.session import Place, Session

#: How long a store that just failed is left alone, seconds.
REST_S = 1.0


class Mirror:
    """Carries keys of blocks to the other side. Safe to share by threads."""

    def __init__(self, timeout_s: float, counts: Counts) -> None:
        """``timeout_s`` is for all keys of a block together; 0: nothing is mirrored."""
        self._timeout_s = timeout_s
        self._counts = counts
        self._resting: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def carry(self, session: Session, source: Place, targets: Iterable[Place]) -> bool:
        """Before the commit, under the tenant's lock; True if every key is on every target."""
        until = time.monotonic() + min(self._timeout_s, max(session.left_s(), 0.0))
        complete = True
        for target in targets:
            for store, keys in session.written.items():
                complete &= self._carry_store(session, source, target, store, keys, until)
        return complete

    def _carry_store(
        self,
        session: Session,
        source: Place,
        target: Place,
        store: str,
        keys: Mapping[bytes, object],
        until: float,
    ) -> bool:
        here, there = source.sides[store], target.sides.get(store)
        left_s = until - time.monotonic()
        if there is None or left_s <= 0 or self._rests(target.name, store):
            self._counts.add("mirrors_skipped", len(keys))
            return False
        try:
            left_out = here.mirror(there, keys, left_s)
        except Exception as exc:
            with self._lock:
                self._resting[target.name, store] = time.monotonic() + REST_S
            self._counts.add("mirrors_failed", len(keys))
            if not here.answered(exc):
                session.hold(store, list(keys))
            return False
        self._counts.add("keys_mirrored", len(keys) - left_out)
        self._counts.add("mirrors_skipped", left_out)
        return not left_out

    def _rests(self, environment: str, store: str) -> bool:
        with self._lock:
            return self._resting.get((environment, store), 0.0) > time.monotonic()
