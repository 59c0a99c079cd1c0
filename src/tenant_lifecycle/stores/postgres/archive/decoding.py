"""From the messages of the stream to rows and transactions: text cells, 64-bit transaction numbers, changed columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import Struct

from tenant_lifecycle.errors import FeedError
from tenant_lifecycle.model.backup.items import UNCHANGED, Frame, Op, PatchCell
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.archive.index import OwnerIndex
from tenant_lifecycle.stores.postgres.archive.routing import Bound, Router
from tenant_lifecycle.stores.postgres.archive.rules import Rules
from tenant_lifecycle.stores.postgres.archive.transaction import Transaction
from tenant_lifecycle.stores.postgres.feed import pgoutput
from tenant_lifecycle.stores.postgres.feed.pgoutput import NEW_ROW, Relation

#: Prefix of our heartbeats in the stream.
HEARTBEAT = "tenant_lifecycle.archive"
#: A commit has its time a little before it is in the log, so a heartbeat promises only what is older than this.
SETTLED_US = 200_000
#: PostgreSQL counts from 2000.
_EPOCH_US = 946_684_800_000_000

_KIND = 25
_TABLE = slice(26, 30)
_TUPLE = 33
_NULL_KIND, _UNCHANGED_KIND = ord("n"), ord("u")
_length = Struct(">i").unpack_from
_xid = Struct(">I").unpack_from

Frames = list[tuple[TenantId, Frame]]


def cells(data: bytes, at: int, count: int) -> tuple[list[PatchCell], int]:
    """Read ``count`` text values that start at ``at``; return them and where what follows starts."""
    found: list[PatchCell] = []
    add = found.append
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == _NULL_KIND:
            add(None)
        elif kind == _UNCHANGED_KIND:
            add(UNCHANGED)
        else:
            start = at + 4
            at = start + _length(data, at)[0]
            add(data[start:at])
    return found, at


def full_xid(xid: int, reference: int) -> int:
    """The 64-bit number of a transaction of which the stream has the lower 32 bits.

    ``reference`` is any full number that was the next one not longer ago, or later, than 2^31 transactions.
    """
    near = (reference & ~0xFFFFFFFF) | xid
    if near > reference + (1 << 31):
        return near - (1 << 32)
    return near if near > reference - (1 << 31) else near + (1 << 32)


class Decoder:
    """One stream; used by one thread. `take` a message, then `arrived` what is complete."""

    def __init__(
        self,
        store: str,
        rules: Rules,
        index: OwnerIndex,
        folder: Path,
        describe: Callable[[Relation, bool], tuple[Bound, Op | None]],
        everybody: Callable[[], Sequence[str]],
        seen: Snapshot,
        position: int,
        complete_us: int,
    ) -> None:
        #: The next transaction's full number, some time ago.
        self.reference = seen.xmax
        #: Everything before is complete.
        self.position = position
        self.complete_us = complete_us
        self.in_transaction = False
        self._store, self._rules, self._index = store, rules, index
        self._folder, self._describe, self._everybody, self._seen = folder, describe, everybody, seen
        self._router = Router(rules, index, self._emit)
        self._bounds: dict[bytes, Bound | None] = {}
        self._transaction = Transaction(folder)
        self._done: list[tuple[Iterator[Frames], int, int]] = []
        self._skipping = False
        self._commit = self._at_us = self._number = self._beat_us = 0
        self._handlers = {
            pgoutput.BEGIN: self._begin,
            pgoutput.COMMIT: self._end,
            pgoutput.RELATION: self._relation,
            pgoutput.INSERT: self._insert,
            pgoutput.UPDATE: self._update,
            pgoutput.DELETE: self._delete,
            pgoutput.TRUNCATE: self._truncate,
            pgoutput.MESSAGE: self._message,
            pgoutput.ORIGIN: _ignore,
            pgoutput.TYPE: _ignore,
        }

    def take(self, data: bytes) -> None:
        """Treat one XLogData message.

        Raises:
            Astray: it cannot be said whose a change is.
            FeedError: the message makes no sense.
        """
        handler = self._handlers.get(data[_KIND])
        if handler is None:
            raise FeedError(
                f"{self._store}: unknown message {data[_KIND]!r} in the stream", store=self._store
            )
        handler(data)

    def arrived(self) -> Iterator[tuple[Frames, int, int]]:
        """Frames of complete transactions, with the position and the moment that are complete after them."""
        done, self._done = self._done, []
        for pieces, position, complete_us in done:
            for frames in pieces:
                yield frames, self.position, self.complete_us
            self.position, self.complete_us = position, max(self.complete_us, complete_us)
            yield [], self.position, self.complete_us

    def idle_until(self, position: int) -> None:
        """The server says that there is nothing of ours before ``position``."""
        if not self.in_transaction and not self._done:
            self.position = max(self.position, position)

    def close(self) -> None:
        """Forget what is under way."""
        self._transaction.close()

    def _emit(self, tenant: str, op: Op) -> None:
        self._transaction.add(tenant, op)

    # -- transactions

    def _begin(self, data: bytes) -> None:
        self._commit, at_us = pgoutput.begin(data, _KIND + 1)
        self._number = full_xid(_xid(data, _KIND + 17)[0], self.reference)
        self._at_us = at_us + _EPOCH_US
        self._transaction = Transaction(self._folder)
        self._beat_us = 0
        self._skipping = self._commit < self.position or self._seen.sees(self._number)
        self.in_transaction = True

    def _end(self, data: bytes) -> None:
        _, end = pgoutput.commit(data, _KIND + 1)
        self.in_transaction = False
        complete_us = self._beat_us - SETTLED_US if self._beat_us else 0
        pieces = self._transaction.frames(self._commit, self._at_us, self._number)
        self._done.append((pieces, end, complete_us))

    def _message(self, data: bytes) -> None:
        found = pgoutput.message(data, _KIND + 1)
        if found.prefix == HEARTBEAT:
            self._beat_us = int(found.content)

    # -- rows

    def _bound(self, data: bytes) -> Bound | None:
        return None if self._skipping else self._bounds[data[_TABLE]]

    def _relation(self, data: bytes) -> None:
        relation = pgoutput.relation(data, _KIND + 1)
        name = TableName(relation.schema, relation.name)
        if name not in self._rules.tables:
            self._bounds[relation.id] = None
            return
        bound, op = self._describe(relation, self._skipping)
        self._bounds[relation.id] = bound
        if op is not None:
            for owner in self._everybody():
                self._emit(owner, op)

    def _insert(self, data: bytes) -> None:
        bound = self._bound(data)
        if bound is not None:
            row, _ = cells(data, _TUPLE, len(bound.shape.columns))
            self._router.insert(bound, row)  # type: ignore[arg-type]

    def _update(self, data: bytes) -> None:
        bound = self._bound(data)
        if bound is None:
            return
        old: list[PatchCell] | None = None
        at, count = _TUPLE, len(bound.shape.columns)
        if data[30] != NEW_ROW:
            old, at = cells(data, at, count)
            at += 3
        row, _ = cells(data, at, count)
        self._router.update(bound, old, row)  # type: ignore[arg-type]

    def _delete(self, data: bytes) -> None:
        bound = self._bound(data)
        if bound is not None:
            row, _ = cells(data, _TUPLE, len(bound.shape.columns))
            self._router.delete(bound, row)  # type: ignore[arg-type]

    def _truncate(self, data: bytes) -> None:
        for identifier in pgoutput.truncated(data, _KIND + 1):
            bound = None if self._skipping else self._bounds[identifier]
            if bound is not None:
                self._router.truncate(bound, self._everybody())


def _ignore(data: bytes) -> None:
    """Says nothing that the archive needs."""
