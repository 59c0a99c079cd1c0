"""Turns the messages of the stream into records of the tenant's changes, and drops everything else.

What is dropped: other tenants' rows, and whole transactions of ours (the other direction wrote them), which
begin with an update of ``tenant_lifecycle.applied``. Keys of owned parents are learnt from both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.errors import FeedError, SourceChanged
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres.feed import pgoutput
from tenant_lifecycle.stores.postgres.feed.layout import Layout, key_count, refuse_other_relation
from tenant_lifecycle.stores.postgres.feed.owner import Owner, Test
from tenant_lifecycle.stores.postgres.feed.pgoutput import NEW_ROW, NULL, fields
from tenant_lifecycle.stores.postgres.feed.record import ADOPT, DROP, FRESH, PART, PUT, REREAD, Change, Record
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA

#: Prefix of our markers in the stream, and of the fence's note that a row changes its tenant.
MARKER = "tenant_lifecycle"
REHOME = "tenant_lifecycle.rehome"
#: Written by `tenant_lifecycle.behind` for clients that want to know when the target has come so far.
REACHED = "tenant_lifecycle.reached"
#: A transaction larger than this is handed on in pieces.
PIECE_BYTES = 4 << 20

#: Where a message starts behind the header of its CopyData, and where its table is named.
_KIND = 25
_TABLE = slice(26, 30)
_TUPLE = 33
_APPLIED = TableName(OUR_SCHEMA, "applied")
_CANARY = TableName(OUR_SCHEMA, "canary")


class Sink(Protocol):
    """Where records go: the spool."""

    position: int

    def put(self, record: Record, size: int) -> None: ...
    def put_piece(self, record: Record) -> None: ...
    def abort_pieces(self) -> None: ...


@dataclass(slots=True)
class _Stream:
    """What is needed to treat one change of a table quickly."""

    name: TableName
    layout: Layout | None
    number: int
    count: int
    probe: int
    test: Test
    key_at: tuple[int, ...]
    key_count: bytes
    #: Rows are owned through parents.
    via: bool
    #: Children are owned through rows of it.
    parent: bool
    #: Updates and deletes carry the whole old row.
    whole: bool
    #: Rows have to be read from the source.
    unsendable: bool = False
    #: Where the key is, if it is one column.
    key_first: int | None = None

    def key(self, row: Sequence[bytes | None]) -> bytes:
        """Key of a row; empty for a table without one."""
        if self.key_first is not None:
            return self.key_count + row[self.key_first]  # type: ignore[operator]
        if not self.key_at:
            return b""
        return self.key_count + b"".join([row[i] for i in self.key_at])  # type: ignore[misc]

    def key_row(self, row: Sequence[bytes | None]) -> bytes:
        """The row with only its key."""
        return b"".join([(row[i] or NULL) if i in self.key_at else NULL for i in range(self.count)])


class Intake:
    """Decodes one feed's stream; used by one thread."""

    def __init__(self, store: str, feed: Feed, layouts: Sequence[Layout], owner: Owner, sink: Sink) -> None:
        self.store = store
        self.feed = feed
        #: Everything the source committed before here was seen.
        self.reached = 0
        self.in_transaction = False
        self._layouts = {layout.name: layout for layout in layouts}
        self._owner = owner
        self._sink = sink
        self._streams: dict[bytes, _Stream] = {}
        self._handlers = {
            pgoutput.BEGIN: self._begin,
            pgoutput.INSERT: self._insert,
            pgoutput.UPDATE: self._update,
            pgoutput.DELETE: self._delete,
            pgoutput.COMMIT: self._commit,
            pgoutput.RELATION: self._relation,
            pgoutput.TRUNCATE: self._truncate,
            pgoutput.MESSAGE: self._message,
            pgoutput.ORIGIN: _ignore,
            pgoutput.TYPE: _ignore,
        }
        self._reset()

    def restart(self, reached: int) -> None:
        """The stream begins anew; everything committed before ``reached`` was taken in already."""
        self._sink.abort_pieces()
        self._streams.clear()
        self.reached = reached
        self.in_transaction = False
        self._reset()

    def _reset(self) -> None:
        self._skipping = False
        self._ours = False
        self._first = True
        self._committed = 0
        self._changes: list[Change] = []
        self._markers: list[str] = []
        self._forced = False
        self._bytes = 0
        self._in_pieces = 0

    def take(self, data: bytes) -> None:
        """Treat one XLogData message of the stream.

        Raises:
            SourceChanged: TRUNCATE, DDL or a change of tenant on a table of the tenant's.
            FeedError: the message makes no sense.
        """
        handler = self._handlers.get(data[_KIND])
        if handler is None:
            raise FeedError(f"{self.store}: unknown message {data[_KIND]!r} in the stream", store=self.store)
        handler(data)

    # -- transactions

    def _begin(self, data: bytes) -> None:
        self._reset()
        self.in_transaction = True
        self._committed, _ = pgoutput.begin(data, _KIND + 1)
        self._skipping = self._committed < self.reached

    def _commit(self, data: bytes) -> None:
        _, end = pgoutput.commit(data, _KIND + 1)
        self.in_transaction = False
        if not self._skipping:
            self.reached = end
            if self._changes or self._markers or self._in_pieces:
                count = len(self._changes) + self._in_pieces
                record = Record(
                    end, self._committed, time.time(), self._changes, self._markers, self._forced, None, count
                )
                self._sink.put(record, self._bytes)
        self._owner.forget_orphans()
        self._reset()

    def progress(self, position: int) -> None:
        """Put a record that says only how far the source is."""
        self.reached = max(self.reached, position)
        self._sink.put(Record(self.reached, self.reached, time.time(), forced=True), 0)

    def _emit(self, kind: int, number: int, key: bytes, row: bytes, mask: int, size: int) -> None:
        self._changes.append((kind, number, key, row, mask))
        self._bytes += size
        if self._bytes > PIECE_BYTES:
            count = len(self._changes)
            self._sink.put_piece(
                Record(0, self._committed, time.time(), self._changes, [], False, None, count)
            )
            self._in_pieces += count
            self._changes, self._bytes = [], 0

    # -- rows

    def _insert(self, data: bytes) -> None:
        if self._skipping:
            return
        self._first = False
        stream = self._streams[data[_TABLE]]
        if stream.layout is None:
            self._own_table(stream, data, _TUPLE)
            return
        if self._ours and not stream.parent:
            return
        row, at = fields(data, _TUPLE, stream.probe)
        if not stream.test(row):
            if stream.via:
                self._owner.orphan(stream.layout, row)
            return
        if stream.probe < stream.count:
            row += fields(data, at, stream.count - stream.probe)[0]
        key = stream.key(row)
        if stream.parent:
            self._appeared(stream, key, row, inserted=True)
        if self._ours:
            return
        if stream.unsendable:
            self._put(stream, key, row, len(data), FRESH)
        else:  # what `_put` would do; this is the busiest line of all
            self._emit(PUT, stream.number, key, b"".join(row), FRESH, len(data))  # type: ignore[arg-type]

    def _update(self, data: bytes) -> None:
        if self._skipping:
            return
        stream = self._streams[data[_TABLE]]
        if self._first:
            self._first = False
            self._ours = stream.name == _APPLIED
        if stream.layout is None:
            if not self._ours:
                self._own_table(stream, data, _TUPLE)
            return
        if self._ours and not stream.parent:
            return
        old: list[bytes | None] | None = None
        at = _TUPLE
        if data[30] != NEW_ROW:
            old, at = fields(data, at, stream.count)
            at += 3
        row, at = fields(data, at, stream.probe)
        if old is None and None not in row and not stream.via and not stream.parent and not stream.test(row):
            return  # another tenant's: the usual case, without a look at the rest
        row += fields(data, at, stream.count - stream.probe)[0]
        if old is not None:
            self._complete(stream, row, old)
        if any(row[i] is None for i in stream.key_at):
            raise FeedError(
                f"{self.store}: an update of {stream.name} came without its key", store=self.store
            )
        self._updated(stream, row, old, len(data))

    def _complete(self, stream: _Stream, row: list[bytes | None], old: Sequence[bytes | None]) -> None:
        """Take values that were not sent from the old row: all of them with a whole old row, else the key's."""
        for i in range(stream.count) if stream.whole else stream.key_at:
            if row[i] is None:
                row[i] = old[i]

    def _updated(
        self, stream: _Stream, row: list[bytes | None], old: Sequence[bytes | None] | None, size: int
    ) -> None:
        assert stream.layout is not None
        key = stream.key(row)
        if None in row[: stream.probe]:
            if not self._ours:
                self._emit(REREAD, stream.number, key, stream.key_row(row), 0, size)
            return
        if not stream.test(row):
            self._left(stream, key, row, old, size)
            return
        fresh = 0
        if old is not None and not stream.key_at:
            if not self._ours:
                self._emit(DROP, stream.number, b"", b"".join(f or NULL for f in old), 0, size)
        elif old is not None and (old_key := stream.key(old)) != key:
            fresh = FRESH
            known = self._owner.disappeared(stream.layout, old_key)
            if not self._ours:
                self._emit(DROP, stream.number, old_key, stream.key_row(old), int(known), size)
        if stream.parent:
            self._appeared(stream, key, row, inserted=False)
        if self._ours:
            return
        self._put(stream, key, row, size, fresh)

    def _put(self, stream: _Stream, key: bytes, row: list[bytes | None], size: int, fresh: int) -> None:
        if stream.unsendable:
            self._emit(REREAD, stream.number, key, stream.key_row(row), 0, size)
        elif None in row:
            mask = sum(1 << i for i, value in enumerate(row) if value is not None)
            body = b"".join(NULL if value is None else value for value in row)
            self._emit(PART, stream.number, key, body, mask, size)
        else:
            self._emit(PUT, stream.number, key, b"".join(row), fresh, size)  # type: ignore[arg-type]

    def _left(
        self,
        stream: _Stream,
        key: bytes,
        row: list[bytes | None],
        old: Sequence[bytes | None] | None,
        size: int,
    ) -> None:
        """An update after which the row is not the tenant's: it may have been before.

        Without an old row nobody can say, so a row owned through a parent is passed on as a delete, which the
        applier limits to rows that are the tenant's on the target. Direct rows are watched by the fence.
        """
        assert stream.layout is not None
        was_owned = stream.whole and old is not None and stream.test(old[: stream.probe])
        was_parent = bool(stream.key_at) and self._owner.disappeared(stream.layout, key)
        if self._ours:
            return
        if not stream.via:
            if was_owned or was_parent:
                raise self._changed_tenant(str(stream.name))
            return
        self._owner.orphan(stream.layout, row)
        if not stream.key_at:
            if was_owned and old is not None:
                self._emit(DROP, stream.number, b"", b"".join(f or NULL for f in old), 0, size)
            return
        self._emit(DROP, stream.number, key, stream.key_row(row), int(was_parent), size)
        if old is not None and (old_key := stream.key(old)) != key:
            known = self._owner.disappeared(stream.layout, old_key)
            self._emit(DROP, stream.number, old_key, stream.key_row(old), int(known), size)

    def _delete(self, data: bytes) -> None:
        if self._skipping:
            return
        self._first = False
        stream = self._streams[data[_TABLE]]
        if stream.layout is None or (self._ours and not stream.parent):
            return
        old, _ = fields(data, _TUPLE, stream.count)
        if stream.whole and not stream.via and not stream.test(old[: stream.probe]):
            return
        key = stream.key(old)
        known = stream.parent and self._owner.disappeared(stream.layout, key)
        if self._ours:
            return
        only_key = stream.key_at and stream.whole
        body = stream.key_row(old) if only_key else b"".join([f or NULL for f in old])
        self._emit(DROP, stream.number, key, body, int(known), len(data))

    def _appeared(self, stream: _Stream, key: bytes, row: list[bytes | None], *, inserted: bool) -> None:
        assert stream.layout is not None
        late = self._owner.appeared(stream.layout, key, row, inserted=inserted)
        if late and not self._ours:
            mask = sum(1 << place for place in late)
            body = b"".join(NULL if value is None else value for value in row)
            self._emit(ADOPT, stream.number, key, body, mask, len(body))

    # -- everything else

    def _own_table(self, stream: _Stream, data: bytes, at: int) -> None:
        """A change of one of our own tables: a canary with our name is a marker."""
        if stream.name != _CANARY:
            return
        if data[30] != NEW_ROW:
            _, at = fields(data, at, stream.count)
            at += 3
        row, _ = fields(data, at, stream.count)
        name, value = row[0], row[1]
        if name is not None and value is not None and name[4:].decode() == self.feed.name:
            self._markers.append(canary(value[4:].decode()))
            self._forced = True

    def _relation(self, data: bytes) -> None:
        relation = pgoutput.relation(data, _KIND + 1)
        name = TableName(relation.schema, relation.name)
        layout = self._layouts.get(name)
        if layout is None:
            count = len(relation.columns)
            self._streams[relation.id] = _Stream(
                name, None, -1, count, count, _nobody, (), b"", False, False, False
            )
            return
        refuse_other_relation(self.store, layout, relation)
        owner, number = self._owner, layout.number
        self._streams[relation.id] = _Stream(
            name,
            layout,
            number,
            len(layout.columns),
            owner.probes[number],
            owner.tests[number],
            layout.places(layout.key),
            key_count(layout),
            bool(owner.up[number]),
            bool(owner.down[number]),
            layout.whole_identity,
            layout.unsendable,
            layout.places(layout.key)[0] if len(layout.key) == 1 else None,
        )

    def _truncate(self, data: bytes) -> None:
        if self._skipping or self._ours:
            return
        self._first = False
        for identifier in pgoutput.truncated(data, _KIND + 1):
            stream = self._streams.get(identifier)
            if stream is not None and stream.layout is not None:
                raise SourceChanged(
                    f"{self.store}: {stream.name} was truncated during the move",
                    store=self.store,
                    next_step="abort this move and start it again",
                )

    def _message(self, data: bytes) -> None:
        message = pgoutput.message(data, _KIND + 1)
        if message.transactional and self._skipping:
            return
        if message.prefix == REHOME and not self._ours:
            self._rehomed(message.content)
        elif message.prefix == MARKER:
            name = message.content.decode(errors="replace")
            if not name.startswith(self.feed.name + ":"):
                return
            if message.transactional:
                self._markers.append(name)
            else:
                record = Record(self._sink.position, self._sink.position, time.time(), markers=[name])
                self._sink.put(record, len(data))
        elif message.prefix == REACHED and not message.transactional:
            self._asked_for(message)

    def _asked_for(self, message: pgoutput.LogicalMessage) -> None:
        """Between transactions: everything committed before it was received."""
        name = message.content.decode(errors="replace")
        if name == self.feed.name and message.position > self._sink.position:
            self.progress(message.position)

    def _rehomed(self, content: bytes) -> None:
        try:
            said = json.loads(content)
            tenants, table = said["tenants"], str(said["table"])
        except (ValueError, KeyError, TypeError):
            raise FeedError(
                f"{self.store}: a note about a changed tenant in the stream cannot be read", store=self.store
            ) from None
        if str(self.feed.tenant) in map(str, tenants):
            raise self._changed_tenant(table)

    def _changed_tenant(self, table: str) -> SourceChanged:
        return SourceChanged(
            f"{self.store}: row(s) of {table} changed tenant during the move",
            store=self.store,
            next_step="abort this move and start it again",
        )


def canary(value: str) -> str:
    """Name of the marker that a canary row with this value is."""
    return f"canary:{value}"


def _ignore(_: bytes) -> None:
    """A message that says nothing about rows."""


def _nobody(_: Sequence[bytes | None]) -> bool:
    return False
