"""Follows a keyed store whose application enters nothing in the journal: by comparing it, and by hints if it gives any.

A *survey* compares both sides in full and makes the target equal to what the source has now. It is made at the start
and after every gap; without hints again and again, with pauses that grow while nothing is found. With hints, what the
store tells in between is carried over at once.

Only the writer's side is ever carried over, by the fence's word: both directions of a move are followed at the same
time, and the wrong one would undo what was just written. The thread works while the fence is ACTIVE; under a fence only
who awaits a marker does, so that nothing is under way when the writer changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from tenant_lifecycle.errors import FeedError, LifecycleError
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.stores.base import (
    Digests,
    Feed,
    Fences,
    FenceState,
    Hints,
    Keyed,
    Keys,
    Lag,
    Listening,
)

logger = logging.getLogger(__name__)

#: Keys that are made equal at once; between two such calls the follower can be stopped.
AT_ONCE = 1000
#: Pauses between surveys: from the first, doubled while nothing is found, to the longest; and never less than a
#: survey takes.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
#: Between two looks at what was told, and at the fence.
LOOK_S = 0.05
_LEAST_PATIENCE_S, _SLICES = 60.0, 12


class _Cut(Exception):
    """A survey was ended before it was over: stopped, or out of time."""


class SurveyFollower:
    """`base.Follower` for one pair of keyed stores and one direction."""

    def __init__(self, pair: StorePair, judge: Fences, feed: Feed, *, hints: bool) -> None:
        source, target = pair.source, pair.target
        assert isinstance(source, Keyed) and isinstance(source, Digests) and isinstance(target, Keyed)
        self._pair, self._source, self._target = pair, source, target
        self._judge, self._feed, self._hints = judge, feed, hints
        #: One pass at a time.
        self._passing = threading.Lock()
        self._state = threading.Lock()
        self._touched: dict[str, set[bytes]] = {}
        #: Keys that were told and not carried over, and when the oldest was.
        self._told: set[bytes] = set()
        self._told_at: float | None = None
        self._gaps = 0
        #: Gaps before the newest survey that was finished; -1: none was.
        self._surveyed = -1
        self._survey_s = 0.0
        self._pause_s, self._next_at = FIRST_PAUSE_S, 0.0
        #: Markers that are not out, by name.
        self._waiting: set[str] = set()
        self._marked = 0
        self._applied = 0
        self._listening: Listening | None = None
        self._error: LifecycleError | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._wanted = threading.Event()

    # -- base.Follower

    def start(self) -> None:
        """Begin to listen; see `base.Follower.start`."""
        if self._hints:
            assert isinstance(self._source, Hints)
            self._listening = self._source.listen(self._feed.tenant, self._on_key, self._on_gap)

    def apply(self) -> None:
        """Begin to carry over in a thread."""
        if self._thread is None:
            name = f"{self._feed.name} {self._pair.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def mark(self) -> str:
        """Remember that everything written until now has to be carried over."""
        with self._state:
            self._marked += 1
            name = f"{self._feed.name}:{self._marked}"
            self._waiting.add(name)
        self._wanted.set()
        return name

    def await_marker(self, marker: str, timeout_s: float) -> bool:
        """Carry over until the marker is out; a survey that does not fit into the time is cut."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            left = deadline - time.monotonic()
            if self._passing.acquire(timeout=max(left, 0.0)):
                try:
                    if marker in self._waiting:
                        self._pass(deadline=deadline, fenced=True)
                except _Cut:
                    pass
                finally:
                    self._passing.release()
            if marker not in self._waiting:
                return True
            if time.monotonic() >= deadline:
                return False

    def lag(self) -> Lag:
        """What was told and is not carried over; without hints nobody knows, and it is said to be 0."""
        self.check()
        with self._state:
            age = 0.0 if self._told_at is None else time.monotonic() - self._told_at
            return Lag(0, age, len(self._told), self._applied)

    def take_touched(self) -> Keys:
        """Keys that were told, or found different and made equal, since the last call."""
        with self._state:
            taken, self._touched = self._touched, {}
        return {name: frozenset(keys) for name, keys in taken.items()}

    def take_foreign(self) -> Keys:
        """None: who wrote, an application or we, does not show."""
        return {}

    def patience_s(self) -> float:
        """Enough for a survey to be made from its beginning in each of a dozen waits."""
        return max(_LEAST_PATIENCE_S, _SLICES * (2 * self._survey_s + 1))

    def settles_in_s(self) -> float:
        """What a survey takes; nothing with hints."""
        return 0.0 if self._hints else self._survey_s

    def check(self) -> None:
        """Raise what stopped the thread, if something did."""
        if self._error is not None:
            raise self._error

    def epoch(self) -> str:
        """Made of the gaps in what was told, and of what shows a restart of either side."""
        return f"{self._gaps}|{self._source.incarnation()}|{self._target.incarnation()}"

    def stop(self) -> None:
        """End the threads; safe to repeat."""
        self._stopping.set()
        self._wanted.set()
        if self._listening is not None:
            self._listening.stop()
        if self._thread is not None:
            self._thread.join()

    # -- what the store tells

    def _on_key(self, key: bytes) -> None:
        with self._state:
            self._told.add(key)
            self._told_at = self._told_at or time.monotonic()
        self._wanted.set()

    def _on_gap(self, reason: str) -> None:
        logger.warning("feed %s: a gap, everything is compared again: %s", self._feed.name, reason)
        with self._state:
            self._gaps += 1
        self._wanted.set()

    # -- carrying over

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._passing:
                    self._pass(deadline=None, fenced=False)
            except _Cut:
                return
            except LifecycleError as exc:
                if not exc.retryable:
                    self._error = self._error or exc
                    return
                logger.warning("feed %s: %s; trying again", self._feed.name, exc)
                self._stopping.wait(FIRST_PAUSE_S)
            except Exception as exc:
                logger.exception("feed %s: carrying over failed", self._feed.name)
                error = FeedError(
                    f"{self._pair.source.name}: the feed failed: {type(exc).__name__}",
                    store=self._pair.source.name,
                )
                error.__cause__ = exc
                self._error = self._error or error
                return
            self._wanted.wait(LOOK_S if self._told or self._waiting else FIRST_PAUSE_S)
            self._wanted.clear()
            self._stopping.wait(LOOK_S)

    def _pass(self, *, deadline: float | None, fenced: bool) -> None:
        """Carry over what there is to; markers from before are out afterwards, if nothing kept us from it."""
        with self._state:
            waiting, gaps = set(self._waiting), self._gaps
        if not self._heard_everything(waiting, deadline):
            return
        with self._state:
            # Taken before the fence is asked: what was told until now was written before its answer.
            told, self._told, self._told_at = self._told, set(), None
        row = self._judge.fence_row(self._feed.tenant)
        state = None if row is None else row.state
        if state is FenceState.FENCED and not fenced:
            self._give_back(told)
            return
        if state in (FenceState.ACTIVE, FenceState.FENCED):
            try:
                self._carry(self._by_set(told), deadline)
                self._survey_if_due(gaps, bool(waiting), deadline)
            except BaseException:
                self._give_back(told)
                raise
        with self._state:
            if self._gaps == gaps:
                self._waiting -= waiting

    def _heard_everything(self, waiting: set[str], deadline: float | None) -> bool:
        """With hints: whether everything that the store told before the markers has arrived here."""
        if self._listening is None or not waiting:
            return True
        left = 5.0 if deadline is None else deadline - time.monotonic()
        return self._listening.settled(max(left, 0.0))

    def _survey_if_due(self, gaps: int, marked: bool, deadline: float | None) -> None:
        gap = self._surveyed != gaps
        if not gap and (self._hints or (not marked and time.monotonic() < self._next_at)):
            return
        began = time.monotonic()
        try:
            found = self._survey(deadline)
        except _Cut:
            # It takes longer than this; who waits next has more patience.
            self._survey_s = max(self._survey_s, 2 * (time.monotonic() - began))
            raise
        self._surveyed, self._survey_s = gaps, time.monotonic() - began
        self._pause_s = FIRST_PAUSE_S if found else min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._next_at = time.monotonic() + max(self._pause_s, self._survey_s)

    def _survey(self, deadline: float | None) -> int:
        """Compare everything, make equal what differs; return how many items did."""
        found = 0
        for name in self._source.sets(self._feed.tenant):
            compared = self._source.compare(
                self._pair.target, self._feed.tenant, name, lambda: self._safe_point(deadline)
            )
            found += self._carry(compared.suspects, deadline)
        return found

    def _carry(self, keys: Mapping[str, frozenset[bytes]], deadline: float | None) -> int:
        """Make the target's items equal to the source's; they count as touched, whether they differed or not."""
        carried = 0
        for name, some in keys.items():
            ordered = sorted(some)
            for start in range(0, len(ordered), AT_ONCE):
                self._safe_point(deadline)
                piece = frozenset(ordered[start : start + AT_ONCE])
                self._source.repair(self._pair.target, self._feed, {name: piece})
                carried += len(piece)
                with self._state:
                    self._touched.setdefault(name, set()).update(piece)
                    self._applied += len(piece)
        return carried

    def _safe_point(self, deadline: float | None) -> None:
        if self._stopping.is_set() or (deadline is not None and time.monotonic() > deadline):
            raise _Cut

    def _by_set(self, told: set[bytes]) -> dict[str, frozenset[bytes]]:
        """Keys by set; keys that are not the tenant's here are nobody's business of ours."""
        found: dict[str, set[bytes]] = {}
        for key in told:
            name = self._source.set_of(self._feed.tenant, key)
            if name is not None:
                found.setdefault(name, set()).add(key)
        return {name: frozenset(keys) for name, keys in found.items()}

    def _give_back(self, told: set[bytes]) -> None:
        with self._state:
            self._told |= told
            if self._told:
                self._told_at = self._told_at or time.monotonic()
