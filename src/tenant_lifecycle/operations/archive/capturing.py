"""Archives a store without a change log: what the journal says was written is read, and kept with its time.

The journal has a key before it is written, and knows when the writer is done. A key that is read after that, and
that nobody entered again until it was read, is what the write left: a frame that was surely not there before the
write began, and surely there when it was seen to have ended. When it was acknowledged lies in between and is not known,
so it counts from its beginning. A key that was entered several times was not read in between: until the last of those
writes began it is `Unknown`, and moments in that stretch are not exact.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.errors import LifecycleError, StoreBusy, WrongState
from tenant_lifecycle.model.backup.items import Delete, Frame, Item, Op, Unknown, Upsert
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive import pressure
from tenant_lifecycle.operations.archive.line import Line, Reach
from tenant_lifecycle.operations.archive.writers import Writers
from tenant_lifecycle.stores.backing import Captures, CapturesBig
from tenant_lifecycle.stores.base import Feed, Journals, Keyed, Touch

logger = logging.getLogger(__name__)

#: Entries that are looked at together, and the most that are looked at to see whether a key came again.
BATCH, MOST = 500, 20_000
#: A key that is written again and again is waited for so long; then it is unknown for that time.
HOT_S = 2.0
#: How long a key that is nobody's waits for the rows that say whose it is.
ROWS_S = 5.0
#: No driver has this token: the archive's feed is nobody's operation, and one archiver is seen to by the line.
TOKEN = 1


def feed_of(tenant: TenantId, environment: str) -> Feed:
    """The archive's own feed in the tenant's journal; the tenant's id is not in its name."""
    digest = hashlib.sha256(f"{environment}\0{tenant}".encode("utf-8", "surrogatepass")).hexdigest()
    return Feed(f"tl_archive_{digest[:32]}", tenant, TOKEN)


@dataclass(frozen=True, slots=True)
class KeyedSource:
    """A store beside its environment's judge."""

    store: str
    environment: str
    rpo_s: Callable[[], float]
    tenants: Callable[[], list[TenantId]]
    #: Microseconds since 1970 by the judge's clock.
    clock: Callable[[], int]
    #: A file that outlives this process: which life of journal and store was archived last.
    memory: Path

    @property
    def name(self) -> str:
        return f"{self.environment}/{self.store}"


@dataclass
class _Opened:
    """A tenant's journal, since when it names every key."""

    feed: Feed
    since_us: int
    #: Entries up to this one are stored, and dropped after the flush.
    done: list[int] = field(default_factory=list)
    #: Entries before this moment are all stored.
    complete_us: int = 0


class KeyedArchiver:
    """One keyed store in one environment, for all tenants; used by one thread."""

    def __init__(
        self,
        source: KeyedSource,
        store: Keyed,
        captures: Captures,
        journal: Journals,
        line: Line,
        writers: Writers,
    ) -> None:
        self.source = source
        self.reach: Reach | None = None
        self.findings: list[Finding] = []
        self._store, self._captures, self._journal = store, captures, journal
        self._line, self._writers = line, writers
        self._opened: dict[TenantId, _Opened] = {}
        self._shut: dict[TenantId, str] = {}
        self._frames: dict[TenantId, list[Frame]] = defaultdict(list)
        self._position = 0
        self._life = ""
        self._goes_on = False
        self._flushed_at = time.monotonic()

    def step(self) -> None:
        """Look at every tenant's journal once, and flush if it is time.

        Raises:
            LifecycleError: of the journal, the store or the repository; `close`, and step again later.
        """
        self._begin()
        for tenant in self.source.tenants():
            self._open(tenant)
        for tenant, opened in self._opened.items():
            while self._capture(tenant, opened):
                pass
        rpo_s = self.source.rpo_s()
        if time.monotonic() - self._flushed_at >= rpo_s / 2:
            self._flush()
            behind_s = (self.source.clock() - self.reach.at_us) / 1e6 if self.reach else 0.0
            self.findings = [*pressure.lateness(self.source.name, behind_s, rpo_s), *self._not_journaled()]
        self._journal.await_touched(min(0.5, rpo_s / 5))

    def close(self) -> None:
        """Forget what was not flushed: the journal still has it. Safe to repeat."""
        self._opened, self._frames, self._life, self.reach = {}, defaultdict(list), "", None

    def _begin(self) -> None:
        """Find where the next stretch begins; at this moment, if entries or writes may have been lost since."""
        life = f"{self._journal.journal_epoch()}|{self._store.incarnation()}"
        if life == self._life:
            return
        self._life, self._opened, self._frames = life, {}, defaultdict(list)
        last = self._line.through()
        self._goes_on = last is not None and _read(self.source.memory) == life
        if last is not None and self._goes_on:
            self.reach = Reach(last.through_position, last.through_us)
        else:
            logger.warning("archive %s: journal or store began anew, and the archive does", self.source.name)
            now_us = self.source.clock()
            self.reach = Reach(
                max(now_us, last.through_position if last else 0), max(now_us, last.through_us if last else 0)
            )
            self.source.memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.source.memory.write_text(life)
        self._position = self.reach.position

    # -- journals

    def _open(self, tenant: TenantId) -> None:
        if tenant in self._opened:
            return
        feed = feed_of(tenant, self.source.environment)
        # Nothing was missed while no archiver ran: the journal went on.
        kept = self._goes_on and self._journal.journal_open(feed)
        try:
            self._journal.open_journal(feed)
        except (WrongState, StoreBusy) as exc:
            self._shut[tenant] = str(exc)
            return
        self._shut.pop(tenant, None)
        self._opened[tenant] = _Opened(feed, 0 if kept else self.source.clock())

    def _not_journaled(self) -> list[Finding]:
        count = len(self._shut)
        if not count:
            return []
        return pressure.not_journaled(self.source.name, count)

    # -- keys

    def _capture(self, tenant: TenantId, opened: _Opened) -> bool:
        """Read what writers are done with; True if there may be more at once."""
        feed, store = opened.feed, self.source.store
        done = set(opened.done)
        now_us = self.source.clock()
        entries = [
            one for one in self._journal.touched(feed, store, BATCH + len(done)) if one.seq not in done
        ]
        ready = {
            key: touches
            for key, touches in _closed(entries).items()
            # Whose it is follows from rows of the tenant, which may be committed after the item was written.
            if self._store.set_of(tenant, key) is not None or max(one.age_s for one in touches) > ROWS_S
        }
        items = dict(zip(ready, self._captures.capture(tenant, list(ready)), strict=True)) if ready else {}
        again = self._again(feed, ready) if ready else frozenset()
        left: list[Touch] = [one for one in entries if one.key not in ready]
        for key, touches in ready.items():
            ages_s = [one.age_s for one in touches]
            if key in again and max(ages_s) < HOT_S:
                left += touches
                continue
            began_us = [now_us - round(age_s * 1e6) for age_s in (max(ages_s), min(ages_s))]
            if key in again:
                self._keep(tenant, key, None, now_us, began_us[0])
            else:
                if len(touches) > 1:
                    # What the earlier ones wrote was never read.
                    self._keep(tenant, key, None, began_us[1], began_us[0])
                self._keep(tenant, key, (items[key],), now_us, began_us[1])
            opened.done += [one.seq for one in touches]
        ages = [one.age_s for one in left]
        opened.complete_us = now_us - round(max(ages) * 1e6) - 1 if ages else now_us
        return len(entries) >= BATCH and len(left) < len(entries)

    def _again(self, feed: Feed, ready: dict[bytes, list[Touch]]) -> frozenset[bytes]:
        """Keys that were entered anew before they had been read; all, if there are too many entries to say."""
        entries = self._journal.touched(feed, self.source.store, MOST)
        if len(entries) >= MOST:
            return frozenset(ready)
        newest = {key: max(one.seq for one in touches) for key, touches in ready.items()}
        return frozenset(one.key for one in entries if one.key in newest and one.seq > newest[one.key])

    def _keep(
        self, tenant: TenantId, key: bytes, read: tuple[Item | None] | None, seen_us: int, began_us: int
    ) -> None:
        """A frame of what was read of a write that began and was seen to have ended; ``read`` is None if it could not be."""
        name = self._store.set_of(tenant, key)
        if name is None:
            return  # not this tenant's, or no key of this store
        ops: Sequence[Op]
        if read is None:
            ops = (Unknown(name, key),)
        else:
            (item,) = read
            ops = self._ops(tenant, name, key, item)
        self._position = max(self._position + 1, seen_us)
        self._frames[tenant].append(Frame(self._position, seen_us, tuple(ops), None, began_us))

    def _ops(self, tenant: TenantId, name: str, key: bytes, item: Item | None) -> Sequence[Op]:
        if item is None:
            return (Delete(name, key),)
        if item.cells:
            return (Upsert(item.set, item.key, item.cells),)
        if not isinstance(self._captures, CapturesBig):
            return (Unknown(name, key),)
        return [Upsert(one.set, one.key, one.cells) for one in self._captures.capture_big(tenant, key)]

    # -- the repository

    def _flush(self) -> None:
        """Write what is complete, then have the journals forget it."""
        if self.reach is None or not self._opened:
            return
        complete_us = min(opened.complete_us for opened in self._opened.values())
        if complete_us <= self.reach.at_us:
            return
        since_us = self.reach.at_us
        tenants = self.source.tenants()
        broken = {
            **self._writers.broken(tenants),
            **{one: f"keys are not journaled: {why}" for one, why in self._shut.items()},
            **{
                one: "its journal was opened later"
                for one, opened in self._opened.items()
                if opened.since_us > since_us
            },
        }
        self._position = max(self._position + 1, complete_us)
        covered = Covered(
            self.source.store, 0, self.reach.position, self._position, self.reach.at_us, complete_us
        )
        self._line.flush(
            {tenant: frames for tenant, frames in self._frames.items() if frames}, covered, broken
        )
        self.reach = Reach(self._position, complete_us)
        self._flushed_at = time.monotonic()
        self._frames = defaultdict(list)
        for opened in self._opened.values():
            self._drop(opened)

    def _drop(self, opened: _Opened) -> None:
        done, opened.done = opened.done, []
        try:
            self._journal.drop_touched(opened.feed, done)
        except LifecycleError:
            # The tenant left: with its fence row went its journal.
            self._opened.pop(opened.feed.tenant, None)
            raise


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _closed(entries: Sequence[Touch]) -> dict[bytes, list[Touch]]:
    """Entries by key, of keys that nobody is at."""
    found: dict[bytes, list[Touch]] = {}
    for one in entries:
        found.setdefault(one.key, []).append(one)
    return {key: touches for key, touches in found.items() if not any(one.open for one in touches)}
