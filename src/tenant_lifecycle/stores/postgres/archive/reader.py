"""One database's change log while it is archived: `stores.backing.Archive`.

Nothing runs in the background: whoever calls `read` receives, decodes and routes. Where the stream begins again
after any end, kill included, is one number in the index, committed together with what the index knew there; the
server is told afterwards.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.pq.abc import PGconn

from tenant_lifecycle.errors import FeedGap, StoreBusy, StoreUnavailable
from tenant_lifecycle.model.backup.items import Frame, Reshape
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import Arrived
from tenant_lifecycle.stores.postgres.archive import slot
from tenant_lifecycle.stores.postgres.archive.decoding import HEARTBEAT, Decoder, Frames
from tenant_lifecycle.stores.postgres.archive.index import OwnerIndex
from tenant_lifecycle.stores.postgres.archive.reshaping import (
    Remembered,
    moved_over,
    remember,
    reshape,
    shape_of,
)
from tenant_lifecycle.stores.postgres.archive.routing import Astray, Bound, Router, bind
from tenant_lifecycle.stores.postgres.archive.rules import Rules
from tenant_lifecycle.stores.postgres.archive.seed import seed, seen
from tenant_lifecycle.stores.postgres.backup.form import text_options
from tenant_lifecycle.stores.postgres.backup.shapes import shape_of as catalogue_shape
from tenant_lifecycle.stores.postgres.connection import Connection, session_options
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed import wire
from tenant_lifecycle.stores.postgres.feed.pgoutput import Relation
from tenant_lifecycle.stores.postgres.feed.position import to_lsn
from tenant_lifecycle.stores.postgres.inventory import tenants
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA

_DATA = b"w"[0]
_keepalive = Struct(">QqB").unpack_from
_status = Struct(">cQQQqB").pack

#: A heartbeat goes into the stream so often: later than this no moment is complete.
HEARTBEAT_S = 1.0
#: How often the server is told where we are.
STATUS_S = 5.0
#: The session of a process that was killed gets so long to notice; after that it is another reader.
TAKEN_S = 5.0
#: `read` returns with about so many frames at most.
FRAMES = 5_000
_BURST = 512
#: How long tenants are not asked for anew.
_TENANTS_S = 10.0

_BEAT = """
SELECT pg_logical_emit_message(true, %s, (extract(epoch FROM statement_timestamp()) * 1000000)::int8::text),
       (pg_snapshot_xmax(pg_current_snapshot()))::text::int8,
       (SELECT md5(coalesce(string_agg(c.oid::text, ' ' ORDER BY c.oid), ''))
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', %s))
"""


class PostgresArchive:
    """Reads one slot for all tenants; used by one thread.

    ``begins_us`` and ``begins_position`` are where it begins: what was confirmed before, or, where changes are lost
    or nothing was ever read, now.
    """

    def __init__(self, database: Database, name: str, spool: Path) -> None:
        self._database = database
        self._name = name
        self._folder = spool
        self._session: Connection | None = None
        self._pending: Iterator[tuple[Frames, int, int]] = iter(())
        self._drained = True
        self._told_at = self._beat_at = self._asked_at = 0.0
        self._everybody: tuple[str, ...] = ()
        self._index = OwnerIndex(spool, database.name)
        try:
            for left in spool.glob("large-*"):
                left.unlink(missing_ok=True)
            self._rules = self._prepare()
            position, complete_us = (
                int(self._index.meta("position") or 0),
                int(self._index.meta("complete_us") or 0),
            )
            self.begins_position = max(position, int(self._index.meta("begins") or 0))
            self.begins_us = complete_us
            self._confirmed = position
            moment = seen(self._index)
            assert moment is not None, "the index is seeded"
            self._decoder = Decoder(
                database.name, self._rules, self._index, spool, self._describe, self.everybody, moment, position,
                complete_us,
            )  # fmt: skip
            self._stream()
        except BaseException:
            self.close()
            raise

    # -- beginning

    def _prepare(self) -> Rules:
        """The rules, and an index that fits them: kept, or filled anew."""
        with self._database.session() as conn:
            seen_now = slot.archived(conn, self._database)
            slot.publish(conn, self._database, self._name, seen_now.rules)
            confirmed = slot.confirmed(conn, self._name)
        if confirmed is None:
            raise self._gap("the slot is gone, or has lost what it should have kept")
        rules, index = seen_now.rules, self._index
        fingerprint = _fingerprint(rules)
        position = int(index.meta("position") or 0)
        if index.meta("rules") != fingerprint or index.meta("astray") or position < confirmed:
            index.empty()
            router = Router(rules, index, lambda _tenant, _op: None)
            shapes = {name: catalogue_shape(seen_now.tables[name]) for name in rules.tables}
            with self._database.session() as conn:
                for name, shape in shapes.items():
                    index.set_meta(f"shape {name}", remember(conn, name, shape.columns).written())
            seed(
                self._database,
                router,
                index,
                [bind(rule, shapes[name]) for name, rule in rules.tables.items()],
            )
            index.set_meta("rules", fingerprint)
            index.save()
        return rules

    def _stream(self) -> None:
        """Begin to stream; a session of a process that died just now is waited for."""
        name = sql.Identifier(slot.slot_name(self._name)).as_string(None)
        command = (
            f"START_REPLICATION SLOT {name} LOGICAL {to_lsn(self._decoder.position)} (proto_version '1', "
            f"publication_names {sql.Literal(name).as_string(None)}, messages 'true')"
        )
        give_up = time.monotonic() + TAKEN_S
        while True:
            session = wire.connect(
                self._database,
                f"tenant-lifecycle archive {self._name}",
                f"{session_options()} {text_options()}",
            )
            error = wire.begin(session, self._database.name, command)
            if error is None:
                self._session = session
                return
            session.close()
            if isinstance(error, wire.GONE):
                raise self._gap(str(error).strip())
            if not isinstance(error, pg.ObjectInUse):
                raise StoreUnavailable(f"{self._database.name}: {error}", store=self._database.name)
            if time.monotonic() > give_up:
                raise StoreBusy(
                    f"{self._database.name}: another process reads the archive {self._name}",
                    store=self._database.name,
                    next_step="there is one archiver for each database; end the other",
                )
            time.sleep(0.1)

    def everybody(self) -> tuple[str, ...]:
        """The tenants of the database, as of the last seconds."""
        if time.monotonic() - self._asked_at > _TENANTS_S:
            self._everybody = tuple(tenants(self._database))
            self._asked_at = time.monotonic()
        return self._everybody

    def _describe(self, relation: Relation, skipping: bool) -> tuple[Bound, Reshape | None]:
        """What a Relation message says about rows from here on, and about those from before."""
        name = next(
            one for one in self._rules.tables if (one.schema, one.name) == (relation.schema, relation.name)
        )
        rule = self._rules.tables[name]
        with self._database.session() as conn:
            shape = shape_of(conn, relation, rule.set, rule.key)
            bound = bind(rule, shape)
            before = Remembered.read(self._index.meta(f"shape {name}") or '[[], {}, ""]')
            same = [(c.name, c.type) for c in before.columns] == [(c.name, c.type) for c in shape.columns]
            if same or skipping:
                return bound, None
            op = reshape(conn, name, shape, before)
            self._index.set_meta(f"shape {name}", remember(conn, name, shape.columns).written())
        if rule.key:
            self._index.remap(rule.number, lambda cells: moved_over(before, op, cells))
        return bound, op

    # -- Archive

    def read(self, timeout_s: float) -> Arrived:
        """See `stores.backing.Archive.read`; ends between two transactions where it can."""
        deadline = time.monotonic() + timeout_s
        found: list[tuple[TenantId, Frame]] = []
        before = self._decoder.complete_us
        try:
            while True:
                if not self._drain(found):
                    break
                over = (
                    time.monotonic() >= deadline or len(found) >= FRAMES or self._decoder.complete_us > before
                )
                if over and not self._decoder.in_transaction:
                    break
                if time.monotonic() >= deadline + max(timeout_s, 1.0):
                    break
                self._receive(max(deadline - time.monotonic(), 0.01))
        except Astray as exc:
            self._lose_track()
            raise self._gap(str(exc)) from exc
        return Arrived(tuple(found), self._decoder.position, self._decoder.complete_us)

    def _drain(self, found: list[tuple[TenantId, Frame]]) -> bool:
        """Take what is complete; False if there is so much that it has to be handed on first."""
        for frames, _, _ in self._pending:
            found += frames
            if len(frames) and sum(len(frame.ops) for _, frame in frames) > FRAMES:
                self._drained = False
                return False
        self._drained = True
        return True

    @property
    def complete_us(self) -> int:
        """As of the last `read`."""
        return self._decoder.complete_us

    def confirm(self, position: int) -> None:
        """See `stores.backing.Archive.confirm`. While a transaction is half received, the next time counts."""
        whole = self._drained and not self._decoder.in_transaction
        if not whole or position < self._decoder.position:
            return
        self._index.set_meta("position", str(self._decoder.position))
        self._index.set_meta("complete_us", str(self._decoder.complete_us))
        self._index.save()
        self._confirmed = self._decoder.position
        self._tell(self._confirmed)

    def held_bytes(self) -> int:
        return self._held()[0]

    def room_bytes(self) -> int | None:
        return self._held()[1]

    def _held(self) -> tuple[int, int | None]:
        with self._database.session() as conn:
            return slot.held(conn, self._name)

    def close(self) -> None:
        """See `stores.backing.Archive.close`; safe to repeat."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if hasattr(self, "_decoder"):
            self._decoder.close()
        self._index.close()

    # -- receiving

    def _receive(self, wait_s: float) -> None:
        """Treat what has arrived, or wait for it; send a heartbeat when it is time."""
        now = time.monotonic()
        if now - self._beat_at >= HEARTBEAT_S:
            self._beat()
            self._beat_at = now
        if now - self._told_at >= STATUS_S:
            self._tell(self._confirmed)
        conn = self._conn()
        if not self._burst(conn):
            ready, _, _ = select.select([conn.socket], [], [], min(wait_s, HEARTBEAT_S / 2))
            if ready:
                self._consume(conn)
        self._pending = self._decoder.arrived()

    def _conn(self) -> PGconn:
        if self._session is None:
            raise StoreUnavailable(
                f"{self._database.name}: the archive was closed", store=self._database.name
            )
        return self._session.pgconn

    def _burst(self, conn: PGconn) -> bool:
        for _ in range(_BURST):
            size, message = conn.get_copy_data(1)
            if size == 0:
                return False
            if size < 0:
                raise wire.ended(conn, self._database.name, self._gap)
            data = bytes(message)
            if data[0] == _DATA:
                self._decoder.take(data)
            else:
                wal_end, _, wants_reply = _keepalive(data, 1)
                self._decoder.idle_until(wal_end)
                if wants_reply:
                    self._told_at = 0.0
        return True

    def _consume(self, conn: PGconn) -> None:
        try:
            conn.consume_input()
        except psycopg.Error as exc:
            raise StoreUnavailable(f"{self._database.name}: {exc}", store=self._database.name) from exc

    def _tell(self, position: int) -> None:
        conn = self._conn()
        try:
            conn.put_copy_data(_status(b"r", position, position, position, 0, 0))
            conn.flush()
        except psycopg.Error as exc:
            raise StoreUnavailable(f"{self._database.name}: {exc}", store=self._database.name) from exc
        self._told_at = time.monotonic()

    def _beat(self) -> None:
        """Put the time into the stream. First it is looked whether there are other tables: they would be missing."""
        with self._database.session() as conn:
            _, reference, tables = conn.execute(_BEAT, (HEARTBEAT, OUR_SCHEMA)).fetchone() or (None, 0, "")
        self._decoder.reference = int(str(reference))
        if self._index.meta("tables") == tables:
            return
        with self._database.session() as conn:
            now = _fingerprint(slot.archived(conn, self._database).rules)
        if now != self._index.meta("rules"):
            self._lose_track()
            raise self._gap(
                "tables of tenants were created or dropped, or other columns decide about their rows"
            )
        self._index.set_meta("tables", str(tables))

    def _lose_track(self) -> None:
        """Have the next one who opens begin anew."""
        self._index.forget_unsaved()
        self._index.set_meta("astray", "1")
        self._index.save()

    def _gap(self, said: str) -> FeedGap:
        return FeedGap(
            f"{self._database.name}: changes are lost for the archive: {said}",
            store=self._database.name,
            next_step="the archive begins anew; take bases of the tenants",
        )


def _fingerprint(rules: Rules) -> str:
    """Differs when what the index says would mean something else."""
    return repr(
        [
            (
                rule.number, rule.set, rule.key, rule.identity, rule.always, rule.kept, rule.indexed,
                [(way.columns, way.look) for way in rule.ways], [(look.number, look.columns) for look in rule.looks],
            )
            for _, rule in sorted(rules.tables.items())
        ]
    )  # fmt: skip
