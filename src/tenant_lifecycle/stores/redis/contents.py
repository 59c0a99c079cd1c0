"""Reading keys in the one form of a backup (`model.backup.redis_value`): exactly, each as it was at one moment.

Most are read many in one go by a script. Streams and big values are read in pages while the server watches the key:
if somebody wrote to it meanwhile, it is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tenant_lifecycle.errors import StoreBusy, StoreRejected
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import is_part, items_of
from tenant_lifecycle.model.backup.redis_value import RECORDED, UNORDERED, Header, Record, packed, score
from tenant_lifecycle.stores.keyed import in_order
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.scripts import BIG_BYTES, CALL_BYTES, CALL_KEYS, CONTENTS

PAGE_BYTES = 2**20
PAGE_ELEMENTS = 1_000
#: Attempts while others write to a key.
TRIES = 20
NONE = b"none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key to be read."""

    set: str
    key: bytes
    #: Where its value lies, if not under the key itself; then it expires when it is said here.
    at: bytes | None = None
    expiry_ms: int | None = None

    @property
    def place(self) -> bytes:
        return self.key if self.at is None else self.at


#: An item, or a part of the item that follows; None: the key is not there.
Read = tuple[Wanted, Item | None]


def read(session: Session, wanted: Sequence[Wanted], clock: Callable[[], int]) -> Iterator[Read]:
    """Every key's item after its parts, in order. Items say when they were asked for.

    Raises:
        StoreBusy: a big value is written to all the time.
        StoreRejected: a key reads like one of our parts.
    """
    waiting = list(wanted)
    while waiting:
        some = waiting[:CALL_KEYS]
        now = clock()
        answers = session.run(CONTENTS, [one.place for one in some], [BIG_BYTES, CALL_BYTES])
        waiting = waiting[len(answers) :]
        for one, answer in zip(some, answers, strict=False):
            if answer[0] == NONE:
                yield one, None
                continue
            if is_part(one.key):
                raise StoreRejected(
                    f"{session.store}: a key begins as parts of big values do in a backup", store=session.store,
                    next_step="rename the key",
                )  # fmt: skip
            if answer[3] is None:
                yield from ((one, item) for item in _watched(session, one, clock))
            else:
                yield from ((one, item) for item in _whole(one, answer, now))


def heads(session: Session, wanted: Sequence[Wanted], clock: Callable[[], int]) -> list[Item | None]:
    """As `read`, without the parts."""
    return [item for _, item in read(session, wanted, clock) if item is None or not is_part(item.key)]


def _whole(one: Wanted, answer: Sequence[Any], at_us: int) -> Iterator[Item]:
    kind = answer[0].decode()
    content = _records(kind, answer[3]) if kind in RECORDED else iter((answer[3],))
    return items_of(one.set, one.key, _header(one, kind, answer[1]).written(), content, at_us)


def _header(one: Wanted, kind: str, expiry: bytes) -> Header:
    if one.at is not None:
        return Header(kind, one.expiry_ms)
    return Header(kind, int(expiry) if expiry else None)


def _records(kind: str, flat: Sequence[bytes]) -> Iterator[bytes]:
    if kind == "zset":
        return (packed((score(flat[at + 1]), flat[at])) for at in range(0, len(flat), 2))
    width = 2 if kind == "hash" else 1
    records = [tuple(flat[at : at + width]) for at in range(0, len(flat), width)]
    return map(packed, sorted(records) if kind in UNORDERED else records)


def _watched(session: Session, one: Wanted, clock: Callable[[], int]) -> Iterator[Item | None]:
    """Parts of an attempt that came to nothing are left in the base, where nothing names them."""
    for _ in range(TRIES):
        session.call("WATCH", one.place)
        try:
            now = clock()
            ((kind, *rest),) = session.run(CONTENTS, [one.place], [-1, 0])
            if kind == NONE:
                yield None
                return
            header = _header(one, kind.decode(), rest[0])
            content = _pages(session, one.place, header.kind, max(1, rest[1]))
            head: Item | None = None
            for item in items_of(one.set, one.key, header.written(), content, now):
                if is_part(item.key):
                    yield item
                head = item
            if session.calls([("MULTI",), ("PING",), ("EXEC",)])[-1] is not None:
                yield head
                return
        finally:
            if session.clean:
                session.call("UNWATCH")
    raise StoreBusy(
        f"{session.store}: a big value is written to all the time and cannot be read as it is at one moment",
        store=session.store, next_step="it is tried again; if it goes on, read it when less is written",
    )  # fmt: skip


def _pages(session: Session, key: bytes, kind: str, size: int) -> Iterator[bytes]:
    """A value's content, a page at a time."""
    if kind == "string":
        at = 0
        while piece := session.call("GETRANGE", key, at, at + PAGE_BYTES - 1):
            yield piece
            at += len(piece)
    elif kind in _READERS:
        records = _READERS[kind](session, key, size)
        yield from map(packed, in_order(records) if kind in UNORDERED else records)
    else:
        yield session.call("DUMP", key) or b""


def _page(session: Session, key: bytes, size: int, length: str) -> int:
    average = max(1, size // max(1, int(session.call(length, key))))
    return max(1, min(PAGE_ELEMENTS, PAGE_BYTES // average))


def _list(session: Session, key: bytes, size: int) -> Iterator[Record]:
    page, at = _page(session, key, size, "LLEN"), 0
    while part := session.call("LRANGE", key, at, at + page - 1):
        yield from ((one,) for one in part)
        at += len(part)


def _sorted_set(session: Session, key: bytes, size: int) -> Iterator[Record]:
    page, at = _page(session, key, size, "ZCARD"), 0
    while part := session.call("ZRANGE", key, at, at + page - 1, "WITHSCORES"):
        yield from ((score(part[n + 1]), part[n]) for n in range(0, len(part), 2))
        at += len(part) // 2


def _set(session: Session, key: bytes, size: int) -> Iterator[Record]:
    return ((one,) for part in _walk(session, key, size, "SSCAN", "SCARD") for one in part)


def _hash(session: Session, key: bytes, size: int) -> Iterator[Record]:
    for part in _walk(session, key, size, "HSCAN", "HLEN"):
        yield from zip(part[::2], part[1::2], strict=True)


def _walk(session: Session, key: bytes, size: int, command: str, length: str) -> Iterator[list[bytes]]:
    page, cursor = _page(session, key, size, length), b"0"
    while True:
        cursor, part = session.call(command, key, cursor, "COUNT", page)
        yield part
        if cursor == b"0":
            return


def _stream(session: Session, key: bytes, size: int) -> Iterator[Record]:
    """Entries, groups, consumers, and what is pending of entries that exist."""
    yield b"last", _named(session.call("XINFO", "STREAM", key))[b"last-generated-id"]
    page, after = _page(session, key, size, "XLEN"), b"-"
    while entries := session.call("XRANGE", key, after, "+", "COUNT", page):
        yield from ((b"entry", id_, *fields) for id_, fields in entries)
        after = b"(" + entries[-1][0]
    groups = map(_named, session.call("XINFO", "GROUPS", key))
    for group in sorted(groups, key=lambda group: group[b"name"]):
        yield b"group", group[b"name"], group[b"last-delivered-id"]
        consumers = map(_named, session.call("XINFO", "CONSUMERS", key, group[b"name"]))
        yield from ((b"consumer", name) for name in sorted(one[b"name"] for one in consumers))
        yield from _pending(session, key, group[b"name"])


def _pending(session: Session, key: bytes, group: bytes) -> Iterator[Record]:
    after = b"-"
    while pending := session.call("XPENDING", key, group, after, "+", PAGE_ELEMENTS):
        existing = session.calls([("XRANGE", key, id_, id_) for id_, *_ in pending])
        for (id_, owner, _, times), entry in zip(pending, existing, strict=True):
            if entry:
                yield b"pending", id_, owner, str(times).encode()
        after = b"(" + pending[-1][0]


def _named(flat: Sequence[object]) -> dict[bytes, bytes]:
    """A reply of names and values in turn."""
    return cast("dict[bytes, bytes]", dict(zip(flat[::2], flat[1::2], strict=True)))


_READERS: Mapping[str, Callable[[Session, bytes, int], Iterator[Record]]] = {
    "list": _list, "set": _set, "hash": _hash, "zset": _sorted_set, "stream": _stream,
}  # fmt: skip
