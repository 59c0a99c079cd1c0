"""The applier: takes records from the spool and makes the target what they say, exactly once.

A batch of whole source transactions is one target transaction of ours, and the position is stored in it. What
cannot be written yet (a value taken by a row that is itself about to change, a partial row whose whole is not
there) is kept as a *pending key* and read again from the source once the feed has caught up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from psycopg import sql

from tenant_lifecycle.errors import FeedError, LifecycleError
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import ours
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed.collapse import Batch, collapse
from tenant_lifecycle.stores.postgres.feed.layout import Layout
from tenant_lifecycle.stores.postgres.feed.owner import Owner
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.feed.position import from_lsn, to_lsn
from tenant_lifecycle.stores.postgres.feed.record import PUT, Record
from tenant_lifecycle.stores.postgres.feed.source import SourceReader
from tenant_lifecycle.stores.postgres.feed.spool import Spool
from tenant_lifecycle.stores.postgres.feed.writer import CLASH, EVERYTHING, BatchWriter, Written
from tenant_lifecycle.stores.postgres.tables import Table

logger = logging.getLogger(__name__)

#: The lane of `tenant_lifecycle.applied` that carries the position.
LANE = ours.STREAM
#: A batch is about this many changes.
BATCH = 5000
#: Pending keys that are read again at once.
REREAD_AT_ONCE = 1000
#: Rounds without progress before a key that cannot be written ends the feed; they are `_PAUSE_S` apart.
STUCK_ROUNDS = 100
_PAUSE_S = 0.05
#: Above this many touched keys of a set, "everything in it" is remembered instead.
TOUCHED_LIMIT = 200_000


@dataclass
class Sides:
    """The two databases of a feed, and what is known about their tables."""

    source: Database
    target: Database
    feed: Feed
    layouts: Sequence[Layout]
    target_tables: Mapping[TableName, Table]
    resolved: ResolvedMap
    owner: Owner

    @property
    def writer(self) -> ours.Writer:
        return ours.Writer(self.feed.name, self.feed.tenant, self.feed.token)


@dataclass
class _Session:
    """Open sessions on both sides; replaced as a whole when one breaks."""

    target: Connection
    writer: BatchWriter
    source: SourceReader | None = None

    def close(self) -> None:
        self.target.close()
        if self.source is not None:
            self.source.close()


@dataclass
class Progress:
    """What the applier has done, for others to look at."""

    position: int
    #: What the target has written down; the source may forget what is before it. Markers alone are not worth a
    #: commit, so `position` may be ahead of this, and a follower that starts anew does not know of that.
    stored: int
    applied: int = 0
    #: When the oldest record in hand was received; None while nothing is in hand.
    in_hand_since: float | None = None
    pending: bool = False
    #: Why the batch in hand is tried again; None while all is well.
    trouble: LifecycleError | None = None
    touched: dict[int, set[bytes]] = field(default_factory=dict)
    #: Changed at the source although the target is the writer, and left out.
    foreign: dict[int, set[bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Applier:
    """One feed's writer, to be run in a thread; `stop` ends it."""

    def __init__(
        self,
        sides: Sides,
        spool: Spool,
        progress: Progress,
        passed: Callable[[list[str]], None],
        awaited: Callable[[], bool],
    ) -> None:
        self._sides = sides
        self._spool = spool
        self._progress = progress
        self._passed = passed
        self._awaited = awaited
        self._stopping = threading.Event()
        self._session: _Session | None = None
        self._copied_until: dict[int, int] = {}
        self._held: list[str] = []
        self._stuck = 0

    def stop(self) -> None:
        """Make `run` return after the batch in hand; safe to repeat."""
        self._stopping.set()

    def cancel(self) -> None:
        """Interrupt the statement that runs; only after `stop`."""
        session = self._session
        if session is not None:
            with suppress(Exception):
                session.target.cancel_safe(timeout=2.0)

    def run(self) -> None:
        """Apply until `stop`.

        Raises:
            Fenced: a newer driver writes for this feed.
            FeedError: the target cannot become what the stream says.
        """
        try:
            self._patiently(self._begin)
            while not self._stopping.is_set():
                records = self._spool.take(BATCH, 0.2)
                if records:
                    self._progress.in_hand_since = records[0].received
                    self._patiently(lambda records=records: self._apply(records))  # type: ignore[misc]
                    self._progress.in_hand_since = None
                if self._progress.pending and (self._awaited() or self._spool.waiting == 0):
                    self._patiently(self._reconcile)
                if not self._progress.pending and self._held:
                    self._passed(self._held)
                    self._held = []
        finally:
            self._drop_session()

    # -- sessions

    def _patiently(self, step: Callable[[], None]) -> None:
        """Do it, again and again while waiting can help: the target restarts, is locked, or was cut off."""
        pause = 0.05
        while not self._stopping.is_set():
            try:
                with translating(self._sides.target.name):
                    step()
                self._progress.trouble = None
                return
            except LifecycleError as exc:
                self._drop_session()
                if not exc.retryable:
                    raise
                self._progress.trouble = exc
                logger.warning("feed %s: %s; trying again", self._sides.feed.name, exc)
                self._stopping.wait(pause)
                pause = min(pause * 2, 2.0)
            except BaseException:
                self._drop_session()
                raise

    def _drop_session(self) -> None:
        if self._session is not None:
            with suppress(Exception):
                self._session.close()
            self._session = None

    def _open(self) -> _Session:
        if self._session is None:
            sides = self._sides
            conn = sides.target.connect(f"feed {sides.feed.name}")
            ours.register_lane(conn, sides.writer, LANE)
            self._progress.stored = stored_position(conn, sides.feed) or 0
            self._progress.position = max(self._progress.position, self._progress.stored)
            writer = BatchWriter(
                conn, sides.layouts, sides.target_tables, sides.resolved, sides.feed.name, sides.owner
            )
            self._session = _Session(conn, writer)
            self._progress.pending = self._any_pending(conn)
        return self._session

    def _source(self) -> SourceReader:
        session = self._open()
        if session.source is None:
            conn = self._sides.source.connect(f"feed {self._sides.feed.name} rereads")
            session.source = SourceReader(conn, self._sides.resolved)
        return session.source

    def _begin(self) -> None:
        conn = self._open().target
        feed = self._sides.feed.name
        numbers = {layout.name: layout.number for layout in self._sides.layouts}
        for schema, name, position in conn.execute(
            "SELECT schema_name, table_name, position::text FROM tenant_lifecycle.copied_until WHERE feed = %s",
            (feed,),
        ).fetchall():
            number = numbers.get(TableName(str(schema), str(name)))
            if number is not None:
                self._copied_until[number] = from_lsn(str(position))

    # -- batches

    def _apply(self, records: list[Record]) -> None:
        """Apply records in one transaction, unless an earlier attempt turns out to have committed."""
        session = self._open()
        todo = [r for r in records if r.position > self._progress.position or not (r.count or r.forced)]
        written = Written()
        if len(todo) < len(records):
            self._assume_touched(records, written)
        if any(record.count or record.forced for record in todo):
            try:
                self._commit(todo, session, written)
            except CLASH:
                # An inserted row was there already. Nothing is lost by trying again with more caution.
                session.writer.rolled_back()
                written = Written()
                self._commit(todo, session, written)
        self._account(written, records)

    def _commit(self, records: list[Record], session: _Session, written: Written) -> None:
        position = to_lsn(records[-1].position)
        with ours.writing(session.target, self._sides.writer, LANE, position) as target_writes:
            session.writer.transaction_began()
            self._write(records, session, written, target_writes)
            self._store_pending(session.target, written)
        self._progress.stored = records[-1].position

    def _assume_touched(self, records: list[Record], written: Written) -> None:
        """The commit of an earlier attempt went through without an answer: what it touched was not noted."""
        for record in records:
            for piece in record.parts():
                for _, number, _, _, _ in piece:
                    written.touched[number].add(EVERYTHING)

    def _write(self, records: list[Record], session: _Session, written: Written, target_writes: bool) -> None:
        layouts = self._sides.layouts
        batch = Batch()
        for record in records:
            for piece in record.parts():
                collapse(layouts, piece, batch, record.committed, self._copied_until)
                if record.pieces is not None:
                    self._write_batch(batch, session, written, target_writes)
                    batch = Batch()
        self._write_batch(batch, session, written, target_writes)

    def _write_batch(self, batch: Batch, session: _Session, written: Written, target_writes: bool) -> None:
        if target_writes:
            batch = session.writer.leave_out(batch, written)
        session.writer.write(batch, written)
        by_edge: dict[tuple[int, int], list[bytes]] = {}
        for _, number, _, row, mask in batch.adopts:
            for place in range(len(self._sides.owner.down[number])):
                if mask >> place & 1:
                    by_edge.setdefault((number, place), []).append(row)
        for (number, place), rows in by_edge.items():
            self._adopt(number, place, rows, written)

    def _adopt(self, number: int, place: int, rows: list[bytes], written: Written) -> None:
        edge = self._sides.owner.down[number][place]
        if not edge.child.key:
            raise FeedError(
                f"{self._sides.source.name}: rows of {edge.child.name} were written before their parent in "
                f"{edge.parent.name} and cannot be found again without a primary key",
                store=self._sides.source.name,
                next_step=f"give {edge.child.name} a primary key, or copy again",
            )
        with translating(self._sides.source.name):
            written.pending[edge.child.number].update(self._source().children(edge, rows))

    def _account(self, written: Written, records: list[Record]) -> None:
        progress = self._progress
        self._touch(written)
        count = sum(record.count for record in records)
        progress.applied += count
        progress.position = max(progress.position, records[-1].position)
        if any(written.pending.values()):
            progress.pending = True
            self._stuck = 0
        self._spool.done(records[-1].position, count)
        for record in records:
            self._held.extend(record.markers)

    def _touch(self, written: Written) -> None:
        progress = self._progress
        with progress.lock:
            for notes, news in ((progress.touched, written.touched), (progress.foreign, written.foreign)):
                for number, keys in news.items():
                    noted = notes.setdefault(number, set())
                    noted.update(keys)
                    if len(noted) > TOUCHED_LIMIT:
                        notes[number] = {EVERYTHING}

    # -- pending keys

    def _store_pending(self, conn: Connection, written: Written) -> None:
        rows = [
            (self._sides.feed.name, name.schema, name.name, key)
            for number, keys in written.pending.items()
            for name in [self._sides.layouts[number].name]
            for key in keys
        ]
        if rows:
            with conn.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO tenant_lifecycle.pending_key (feed, schema_name, table_name, key) "
                    "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    rows,
                )

    def _any_pending(self, conn: Connection) -> bool:
        row = conn.execute(
            "SELECT EXISTS (SELECT FROM tenant_lifecycle.pending_key WHERE feed = %s)",
            (self._sides.feed.name,),
        ).fetchone()
        return row is not None and bool(row[0])

    def _reconcile(self) -> None:
        """Read pending keys again from the source and write what is there now."""
        sides = self._sides
        session = self._open()
        written = Written()
        with ours.writing(session.target, sides.writer, LANE):
            session.writer.transaction_began()
            keys = self._take_pending(session.target)
            taken = sum(map(len, keys.values()))
            batch = Batch()
            adopted: dict[tuple[int, int], list[bytes]] = {}
            for number, some in keys.items():
                with translating(sides.source.name):
                    batch.states[number] = self._source().rows(sides.layouts[number], some)
                self._learn(number, batch, adopted)
            session.writer.write(batch, written)
            for (number, place), rows in adopted.items():
                self._adopt(number, place, rows, written)
            self._store_pending(session.target, written)
        self._touch(written)
        left = sum(map(len, written.pending.values()))
        self._progress.pending = self._any_pending(session.target)
        self._mind_the_stuck(left, taken)

    def _take_pending(self, conn: Connection) -> dict[int, list[bytes]]:
        numbers = {layout.name: layout.number for layout in self._sides.layouts}
        rows = conn.execute(
            "DELETE FROM tenant_lifecycle.pending_key WHERE ctid IN (SELECT ctid FROM "
            "tenant_lifecycle.pending_key WHERE feed = %s LIMIT %s) RETURNING schema_name, table_name, key",
            (self._sides.feed.name, REREAD_AT_ONCE),
        ).fetchall()
        found: dict[int, list[bytes]] = {}
        for schema, name, key in rows:
            assert isinstance(key, bytes)
            found.setdefault(numbers[TableName(str(schema), str(name))], []).append(key)
        return found

    def _learn(self, number: int, batch: Batch, adopted: dict[tuple[int, int], list[bytes]]) -> None:
        """Rows that turn out to be the tenant's may be parents nobody knew of."""
        layout, owner = self._sides.layouts[number], self._sides.owner
        if not owner.down[number]:
            return
        for key, change in batch.states[number].items():
            if change[0] == PUT:
                row = split_row(change[3], len(layout.columns))
                for place in owner.appeared(layout, key, row, inserted=False):
                    adopted.setdefault((number, place), []).append(change[3])

    def _mind_the_stuck(self, left: int, taken: int) -> None:
        if left < taken or not left:
            self._stuck = 0
            return
        self._stuck += 1
        if self._stuck > STUCK_ROUNDS:
            raise FeedError(
                f"{self._sides.target.name}: {left} row(s) of {self._sides.feed.name} cannot be written: another "
                "tenant's row there has the same key or the same unique value",
                store=self._sides.target.name,
                next_step="tenantctl migrate plan names values that collide; change one side, then start again",
            )
        self._stopping.wait(_PAUSE_S)


def stored_position(conn: Connection, feed: Feed) -> int | None:
    """What the target holds of the feed; None before the first position was stored."""
    query = sql.SQL("SELECT position::text FROM tenant_lifecycle.applied WHERE feed = %s AND lane = %s")
    row = conn.execute(query, (feed.name, LANE)).fetchone()
    return from_lsn(str(row[0])) if row is not None and row[0] is not None else None
