"""Follows a store that has no change log: reads the journal of touched keys, and carries over what they hold now.

The journal says that an application was about to write a key; it does not say what. So what is carried over is
the source's current state of the key, and neither order nor repetition matters. An entry is dropped when its
writer was done *before* the state was read, and the state is on the target. A marker has come out when
everything that was in the journal at that time is dropped.

Under a fence (`settle`) the order is another one: keys are compared first, and only what differs is carried over.
That costs half of the requests while an application waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tenant_lifecycle.errors import FeedError, LifecycleError, StoreBusy
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.operations.proof import Compare, by_set
from tenant_lifecycle.stores.base import Difference, Digests, Feed, Journals, Keyed, Keys, Lag, Touch

logger = logging.getLogger(__name__)

#: Entries that are carried over at once.
BATCH = 1000
#: How long the journal is waited for when nothing is to do, and between looks at an entry that is open.
IDLE_S, OPEN_S = 0.5, 0.01
#: Between looks under a fence, where what is open is about to be closed.
FENCED_S = 0.002
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


@dataclass
class _Marker:
    #: Entries up to this one have to be dropped; None until the journal was looked at after the marker.
    up_to: int | None = None
    out: bool = False


class JournalFollower:
    """`base.Follower` for one pair of keyed stores and one direction."""

    def __init__(self, pair: StorePair, journal: Journals, feed: Feed) -> None:
        source, target = pair.source, pair.target
        assert isinstance(source, Keyed) and isinstance(source, Digests) and isinstance(target, Keyed)
        self._pair, self._source, self._target = pair, source, target
        self._journal = journal
        self._feed = feed
        #: One pass over the journal at a time; a flip makes its own instead of waiting for the thread's.
        self._passing = threading.Lock()
        self._state = threading.Lock()
        self._touched: dict[str, set[bytes]] = {}
        self._open: dict[str, set[bytes]] = {}
        self._markers: dict[str, _Marker] = {}
        self._marked = 0
        self._lag = Lag(0, 0.0, 0, 0)
        self._applied = 0
        #: A flip asks both sides at the same time. The threads end with the follower.
        self._asking = ThreadPoolExecutor(4, thread_name_prefix=f"asking {pair.name}")
        #: Sets whose differences count; asked for once.
        self._compared: frozenset[str] | None = None
        self._error: LifecycleError | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    # -- base.Follower

    def start(self) -> None:
        """Nothing has to be received: the journal keeps what comes; see `base.Follower.start`."""
        if not self._journal.journal_open(self._feed):
            raise FeedError(
                f"{self._pair.source.name}: the journal of touched keys is not open for this move",
                store=self._pair.source.name,
                next_step="abort the move and start it again",
            )

    def apply(self) -> None:
        """Begin to carry over in a thread."""
        if self._thread is None:
            name = f"{self._feed.name} {self._pair.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def mark(self) -> str:
        """Remember that everything entered until now has to be carried over."""
        with self._state:
            self._marked += 1
            name = f"{self._feed.name}:{self._marked}"
            self._markers[name] = _Marker()
        return name

    def await_marker(self, marker: str, timeout_s: float) -> bool:
        """Pass over the journal until the marker is out; see `base.Follower.await_marker`."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            if self._came_out(marker):
                return True
            trouble: LifecycleError | None = None
            try:
                with self._passing:
                    if not self._came_out(marker, forget=False):
                        self._pass()
            except LifecycleError as exc:
                if not exc.retryable:
                    self._failed(exc)
                    raise
                trouble = exc
            if self._came_out(marker):
                return True
            if time.monotonic() >= deadline:
                if trouble is not None:
                    raise trouble
                return False
            time.sleep(min(OPEN_S, max(0.0, deadline - time.monotonic())))

    def lag(self) -> Lag:
        """As of the last look at the journal; bytes are not known and said to be 0."""
        self.check()
        return self._lag

    def take_touched(self) -> Keys:
        """Keys entered since the last call, and those whose writers are still at it."""
        with self._state:
            taken, self._touched = self._touched, {}
            for name, keys in self._open.items():
                taken.setdefault(name, set()).update(keys)
        return {name: frozenset(keys) for name, keys in taken.items()}

    def take_foreign(self) -> Keys:
        """None: who writes there without asking does not enter it in the journal either."""
        return {}

    def patience_s(self) -> float:
        """A minute; see `base.Follower.patience_s`."""
        return 60.0

    def settles_in_s(self) -> float:
        """Nothing beyond the lag."""
        return 0.0

    def check(self) -> None:
        """Raise what stopped the thread, if something did."""
        if self._error is not None:
            raise self._error

    def epoch(self) -> str:
        """Made of what shows a restart of the journal's database, of the source and of the target; asked at once."""
        stores = [self._asking.submit(side.incarnation) for side in (self._source, self._target)]
        return "|".join((self._journal.journal_epoch(), *(one.result() for one in stores)))

    def stop(self) -> None:
        """End the thread; what was entered stays in the journal. Safe to repeat."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    # -- proof.Settles

    @contextmanager
    def standing_by(self, timeout_s: float) -> Iterator[None]:
        """Make no pass by itself while the block runs; see `proof.Settles.standing_by`."""
        if self._compared is None:
            self._compared = frozenset(self._source.sets(self._feed.tenant))
        if not self._passing.acquire(timeout=timeout_s):
            raise StoreBusy(
                f"{self._pair.target.name}: keys are being carried over for more than {timeout_s:g} s",
                store=self._pair.target.name,
                next_step="it is tried again by itself",
            )
        try:
            yield
        finally:
            self._passing.release()

    def settle(self, compare: Compare, timeout_s: float) -> Sequence[Difference] | None:
        """Have everything in the journal compared, and carry over what differs; see `proof.Settles.settle`.

        What is equal when its writer is done needs no carrying over, whoever made it so.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            entries = self._journal.touched(self._feed, self._pair.name, BATCH)
            still_open = [entry for entry in entries if entry.open]
            self._note(entries, still_open)
            if len(entries) < BATCH and not still_open:
                return self._settle(entries, compare)
            if time.monotonic() >= deadline:
                return None
            if len(entries) == BATCH:
                self._carry([entry for entry in entries if not entry.open])
            time.sleep(FENCED_S)

    def _settle(self, entries: Sequence[Touch], compare: Compare) -> Sequence[Difference]:
        found = compare(True)
        differing = by_set(found)
        mend = {
            name: frozenset(
                keys if name not in (self._compared or ()) else keys & differing.get(name, frozenset())
            )
            for name, keys in self._by_set(entries).items()
        }
        if any(mend.values()):
            self._source.repair(self._pair.target, self._feed, mend)
        if found:
            found = compare(False)
        if not found:
            self._drop(entries)
        return found

    # -- carrying over

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                with self._passing:
                    left = self._pass()
                pause = _FIRST_PAUSE_S
                if not left:
                    self._journal.await_touched(IDLE_S)
                elif self._open:
                    self._stopping.wait(OPEN_S)
            except LifecycleError as exc:
                if not exc.retryable:
                    self._failed(exc)
                    return
                logger.warning("feed %s: %s; trying again", self._feed.name, exc)
                self._stopping.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            except Exception as exc:
                logger.exception(
                    "feed %s: carrying over to %s failed", self._feed.name, self._pair.target.name
                )
                error = FeedError(
                    f"{self._pair.source.name}: the feed failed: {type(exc).__name__}: {exc}",
                    store=self._pair.source.name,
                )
                error.__cause__ = exc
                self._failed(error)
                return

    def _pass(self) -> int:
        """Look at the journal once and carry over what is closed; return how many entries are left in it."""
        with self._state:
            waiting = list(self._markers.values())
        entries = self._journal.touched(self._feed, self._pair.name, BATCH)
        last = entries[-1].seq if entries else 0
        for marker in waiting:
            if marker.up_to is None and len(entries) < BATCH:
                marker.up_to = last
        closed = [entry for entry in entries if not entry.open]
        still_open = [entry for entry in entries if entry.open]
        self._note(entries, still_open)
        if closed:
            self._carry(closed)
        lowest = min((entry.seq for entry in still_open), default=last + 1)
        for marker in waiting:
            marker.out = marker.up_to is not None and marker.up_to < lowest
        return len(still_open) if len(entries) < BATCH else BATCH

    def _note(self, entries: Sequence[Touch], still_open: Sequence[Touch]) -> None:
        oldest = max((entry.age_s for entry in entries), default=0.0)
        touched, opened = self._by_set(entries), self._by_set(still_open)
        with self._state:
            for name, keys in touched.items():
                self._touched.setdefault(name, set()).update(keys)
            self._open = opened
            self._lag = Lag(0, oldest, len(entries), self._applied)

    def _carry(self, closed: Sequence[Touch]) -> None:
        keys = {name: frozenset(some) for name, some in self._by_set(closed).items()}
        if keys:
            self._source.repair(self._pair.target, self._feed, keys)
        self._drop(closed)

    def _drop(self, closed: Sequence[Touch]) -> None:
        """They are on the target."""
        self._journal.drop_touched(self._feed, [entry.seq for entry in closed])
        self._applied += len(closed)
        left = self._lag.waiting - len(closed)
        self._lag = Lag(0, self._lag.seconds if left else 0.0, left, self._applied)

    def _by_set(self, entries: Iterable[Touch]) -> dict[str, set[bytes]]:
        """Keys of the entries by set; keys that are not the tenant's here are nobody's business of ours."""
        found: dict[str, set[bytes]] = {}
        for key in {entry.key for entry in entries}:
            name = self._source.set_of(self._feed.tenant, key)
            if name is not None:
                found.setdefault(name, set()).add(key)
        return found

    def _came_out(self, marker: str, *, forget: bool = True) -> bool:
        with self._state:
            out = self._markers[marker].out
            if out and forget:
                del self._markers[marker]
        return out

    def _failed(self, error: LifecycleError) -> None:
        if self._error is None:
            self._error = error
