"""Writes a batch into the target: staged by COPY, then one set-based statement per table and kind of change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from psycopg import errors as pg

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.binary_copy import copy_in, result_rows
from tenant_lifecycle.stores.postgres.feed.collapse import Batch
from tenant_lifecycle.stores.postgres.feed.layout import Layout
from tenant_lifecycle.stores.postgres.feed.owner import Owner
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.feed.record import DROP, KNOWN, PART, PUT, Change
from tenant_lifecycle.stores.postgres.feed.statements import Composer, KeyedSql, KeylessSql
from tenant_lifecycle.stores.postgres.tables import Table

#: What a set's keys are when nobody knows them: everything in it may have changed.
EVERYTHING = b""
CLASH = (pg.UniqueViolation, pg.ExclusionViolation)
#: So many batches are staged after rows that went straight into the table met one that was there already:
#: right after a copy most have, later none. Every further time it is four times as many.
_DETOUR, _MAX_DETOUR = 16, 4096


@dataclass(slots=True)
class Written:
    """What a batch did, by the number of the table."""

    #: Keys (as `Table.key`) of rows that were inserted, updated or deleted.
    touched: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    #: Keys (as `Layout.key`) of rows that have to be read again from the source.
    pending: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    #: Keys (as `Table.key`) of rows that somebody changed at the source although the target is the writer.
    foreign: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))


@dataclass(slots=True)
class _Counts:
    """How many rows of each kind of one table are staged."""

    drops: int = 0
    known: int = 0
    puts: int = 0
    #: Rows that go straight into the table.
    fresh: list[bytes] = field(default_factory=list)
    #: Number of staged partial rows by the set of sent columns, and the kind each set was given.
    parts: dict[int, int] = field(default_factory=dict)
    kinds: dict[int, int] = field(default_factory=dict)


class TableWriter:
    """Writes one table's share of batches in one session."""

    def __init__(self, conn: Connection, layout: Layout, target: Table, composer: Composer) -> None:
        self._conn = conn
        self._layout = layout
        self._composer = composer
        self._stage = composer.stage()
        self._sql: KeyedSql | KeylessSql = composer.keyed() if layout.key else composer.keyless()
        self._updates: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._staged = False
        self._staged_now = False
        self._dirty = False
        #: Batches until inserted rows go straight into the table again, and how many the next time.
        self._detour = 0
        self._next_detour = _DETOUR
        #: A statement may run into another unique index than the key's.
        self._can_clash = target.other_unique_indexes > 0
        self.shared = composer.shared
        self._prefix = (len(layout.columns) + 1).to_bytes(2, "big") + b"\x00\x00\x00\x04"
        self._plain = len(layout.columns).to_bytes(2, "big")
        self._same_key = layout.key == layout.table.key
        self._key_at = layout.places(layout.table.key)
        self._key_count = len(layout.table.key).to_bytes(2, "big")
        self._counts = _Counts()
        self._deleted = 0

    @property
    def keyed(self) -> KeyedSql:
        assert isinstance(self._sql, KeyedSql)
        return self._sql

    # -- staging

    def _kind(self, kind: int) -> bytes:
        return self._prefix + kind.to_bytes(4, "big", signed=True)

    def _copy(self, rows: Iterable[bytes]) -> None:
        if not self._staged:
            self._conn.execute(self._stage.create)
            self._staged = self._staged_now = True
        elif self._dirty:
            self._conn.execute(self._stage.clear)
        self._dirty = True
        copy_in(self._conn, self._stage.copy, rows)

    def transaction_began(self) -> None:
        """The stage is empty: it is emptied at every commit."""
        self._dirty = self._staged_now = False

    def rolled_back(self) -> None:
        """What was made in the transaction is gone; if rows went straight, something was there already."""
        self._staged = self._staged and not self._staged_now
        if self._counts.fresh:
            self._detour, self._next_detour = self._next_detour, min(self._next_detour * 4, _MAX_DETOUR)
            self._counts = _Counts()

    @property
    def _straight(self) -> bool:
        return self._stage.straight is not None and not self.shared and self._detour == 0

    def stage(self, states: Mapping[bytes, Change], written: Written) -> None:
        """Bring the rows of a batch into the temporary table."""
        counts = self._counts = _Counts()
        self._deleted = 0
        put, drop, known = self._kind(0), self._kind(-1), self._kind(-2)
        self._detour = max(0, self._detour - 1)
        straight, plain = self._straight, self._plain
        rows: list[bytes] = []
        add = rows.append
        # In the key's order neighbours in the index are written together, a sixth faster.
        for kind, _, key, row, mask in map(states.__getitem__, sorted(states)):
            if kind == PUT:
                if mask and straight:
                    counts.fresh.append(plain + row)
                else:
                    counts.puts += 1
                    add(put + row)
            elif kind == DROP:
                counts.drops += 1
                counts.known += mask & KNOWN
                add((known if mask & KNOWN else drop) + row)
            elif kind == PART:
                number = counts.kinds.setdefault(mask, len(counts.kinds) + 1)
                counts.parts[mask] = counts.parts.get(mask, 0) + 1
                add(self._kind(number) + row)
            else:
                written.pending[self._layout.number].add(key)
        if rows:
            self._copy(rows)

    # -- deleting

    def note_departed(self) -> None:
        """Remember parents that are known to have been the tenant's."""
        if self._counts.known and self.keyed.note_departed is not None:
            self._conn.execute(self.keyed.note_departed, prepare=True)

    def delete(self, written: Written) -> None:
        """Delete what is the tenant's; may be called again when parents came that were missing."""
        if self._deleted < self._counts.drops:
            self._delete(self.keyed.delete, written)
        if self._deleted < self._counts.drops and self.keyed.delete_departed is not None:
            self._delete(self.keyed.delete_departed, written)

    @property
    def left_to_delete(self) -> bool:
        return self._deleted < self._counts.drops

    def _delete(self, statement: bytes, written: Written) -> None:
        keys = self._keys(statement)
        self._deleted += len(keys)
        if keys:
            written.touched[self._layout.number].update(keys)

    def _keys(self, statement: bytes) -> list[bytes]:
        """Run a statement that returns key columns; return keys."""
        cursor = self._conn.execute(statement, prepare=True, binary=True)
        rows = result_rows(cursor.pgresult)
        count = len(rows[0]).to_bytes(2, "big") if rows else b""
        return [count + b"".join(row) for row in rows]

    # -- nothing of it: the target is the writer

    def foreign(self, states: Mapping[bytes, Change], written: Written) -> None:
        """Name the tenant's rows that these changes are about, and change nothing.

        A delete carries only a key, and most are of neighbours: it counts if the row here is the tenant's.
        """
        drops = {key: change for key, change in states.items() if change[0] == DROP}
        if drops:
            self.stage(drops, written)
            written.foreign[self._layout.number].update(self._keys(self.keyed.still_mine))
        others = states.keys() - drops.keys()
        if others:
            written.foreign[self._layout.number].update(others if self._same_key else {EVERYTHING})

    # -- inserting and updating

    def upsert(self, states: Mapping[bytes, Change], written: Written) -> None:
        """Insert or update whole rows, then update partial ones; what cannot be written becomes pending."""
        counts = self._counts
        if counts.fresh:
            assert self._stage.straight is not None
            copy_in(self._conn, self._stage.straight, counts.fresh)
        if counts.puts and self.shared:
            self._upsert_shared(written)
        elif counts.puts:
            self._upsert(written)
        for mask, count in counts.parts.items():
            self._update(mask, count, states, written)
        if counts.fresh or counts.puts or counts.parts:
            self._touch(states, written)

    def _attempt(self, statement: bytes) -> int:
        """Rows affected; -1 if another unique index was in the way (nothing was done then)."""
        if not self._can_clash:
            return self._conn.execute(statement, prepare=True).rowcount
        try:
            with self._conn.transaction():
                return self._conn.execute(statement, prepare=True).rowcount
        except CLASH:
            return -1

    def _upsert(self, written: Written) -> None:
        """Rows that were updated are there, unless the copy or a changed key says otherwise."""
        if self._straight and self._attempt(self.keyed.update) == self._counts.puts:
            return
        if self._attempt(self.keyed.upsert) < self._counts.puts:
            self._rewrite(written)

    def _rewrite(self, written: Written) -> None:
        """The fall-back: take the rows away and insert what nothing forbids; the rest is pending."""
        self._keys(self.keyed.delete_rewritten)
        self._insert_absent()
        written.pending[self._layout.number].update(self._keys(self.keyed.left_over))

    def _insert_absent(self) -> None:
        try:
            with self._conn.transaction():
                self._conn.execute(self.keyed.insert_absent)
        except pg.ObjectNotInPrerequisiteState:  # a deferrable constraint cannot be asked about conflicts
            self._attempt(self.keyed.insert_absent_key)

    def _upsert_shared(self, written: Written) -> None:
        """People: inserted if absent, updated only if they are nobody else's."""
        self._insert_absent()
        if self._attempt(self.keyed.update) < 0:
            written.pending[self._layout.number].update(self._keys(self._composer.staged_keys(0)))
        else:
            written.pending[self._layout.number].update(self._keys(self._composer.absent_keys(0)))

    def _update(self, mask: int, count: int, states: Mapping[bytes, Change], written: Written) -> None:
        kind = self._counts.kinds[mask]
        if (mask, kind) not in self._updates:
            names = [c.name for i, c in enumerate(self._layout.columns) if mask >> i & 1]
            self._updates[mask, kind] = (
                self._composer.update(names, kind),
                self._composer.not_updated(names, kind),
            )
        update, not_updated = self._updates[mask, kind]
        done = self._attempt(update)
        if done < 0:
            clashed = (key for key, change in states.items() if change[0] == PART and change[4] == mask)
            written.pending[self._layout.number].update(clashed)
        elif done < count:
            written.pending[self._layout.number].update(self._keys(not_updated))

    def _touch(self, states: Mapping[bytes, Change], written: Written) -> None:
        touched = written.touched[self._layout.number]
        if self._same_key:
            touched.update(key for key, change in states.items() if change[0] in (PUT, PART))
            return
        for change in states.values():
            if change[0] in (PUT, PART):
                row = split_row(change[3], len(self._layout.columns))
                touched.add(self._key_count + b"".join(row[i] for i in self._key_at))

    # -- tables without a key

    def write_copies(self, copies: Mapping[bytes, int], written: Written) -> None:
        """Add and remove copies of rows of a table without a key."""
        assert isinstance(self._sql, KeylessSql)
        gone = [self._kind(-count) + row for row, count in copies.items() if count < 0]
        prefix = self._plain if self._stage.straight is not None else self._kind(0)
        added: list[bytes] = []
        for row, count in copies.items():
            added.extend([prefix + row] * count)
        if gone:
            self._copy(gone)
            self._conn.execute(self._sql.delete, prepare=True)
        if added and self._stage.straight is not None:
            copy_in(self._conn, self._stage.straight, added)
        elif added:
            self._copy(added)
            self._conn.execute(self._sql.insert, prepare=True)
        if not gone and not added:
            return
        written.touched[self._layout.number].add(EVERYTHING)


class BatchWriter:
    """Writes whole batches in one session; every method is called inside a transaction of ours."""

    def __init__(
        self,
        conn: Connection,
        layouts: Sequence[Layout],
        target: Mapping[TableName, Table],
        resolved: ResolvedMap,
        feed: str,
        owner: Owner,
    ) -> None:
        self.conn = conn
        self._layouts = layouts
        self._owner = owner
        self._make = partial(self._table_writer, target, resolved, feed)
        self._writers: dict[int, TableWriter] = {}
        # Staged rows have no statistics; the rows they are joined with have an index. JIT never pays here.
        conn.execute("SET enable_seqscan = off; SET jit = off")
        conn.prepared_max = None

    def _table_writer(
        self, target: Mapping[TableName, Table], resolved: ResolvedMap, feed: str, number: int
    ) -> TableWriter:
        layout = self._layouts[number]
        there = target[layout.name]
        up, down = self._owner.up[number], self._owner.down[number]
        composer = Composer(self.conn, layout, there, resolved, feed, up, down)
        return TableWriter(self.conn, layout, there, composer)

    def _writer(self, number: int) -> TableWriter:
        writer = self._writers.get(number)
        if writer is None:
            writer = self._writers[number] = self._make(number)
        return writer

    def leave_out(self, batch: Batch, written: Written) -> Batch:
        """What is left of a batch when the target is the writer: changes of people whom tenants share.

        The rest is named in ``written.foreign``.
        """
        left = Batch()
        for number, states in batch.states.items():
            writer = self._writer(number)
            if writer.shared:
                left.states[number] = states
            else:
                writer.foreign(states, written)
        for number, copies in batch.copies.items():
            if any(count > 0 for count in copies.values()):
                written.foreign[number].add(EVERYTHING)
        return left

    def transaction_began(self) -> None:
        """A new transaction: every stage is empty."""
        for writer in self._writers.values():
            writer.transaction_began()

    def rolled_back(self) -> None:
        """The transaction was rolled back; what went straight into a table is staged the next time."""
        for writer in self._writers.values():
            writer.rolled_back()

    def write(self, batch: Batch, written: Written) -> None:
        """Write one batch: deletes, children first; then inserts and updates, parents first."""
        states = batch.states
        order = sorted(states)
        for number in order:
            self._writer(number).stage(states[number], written)
        for number in order:
            self._writers[number].note_departed()
        for number in reversed(order):
            self._writers[number].delete(written)
        for number in order:
            self._writers[number].upsert(states[number], written)
        for number in reversed(order):
            # The parent may have come with this very batch: only now the row is known to be the tenant's.
            parents = {edge.parent.number for edge in self._owner.up[number]}
            if self._writers[number].left_to_delete and parents & states.keys():
                self._writers[number].delete(written)
        for number in sorted(batch.copies):
            self._writer(number).write_copies(batch.copies[number], written)
