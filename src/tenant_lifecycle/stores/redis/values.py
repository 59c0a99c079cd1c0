"""Whether two values are equal, by what they hold: members without order, entries, groups and what is pending.

Moderate values are read whole, many in one go. Big ones and streams are read in pages and hashed, so that no
more than a page is in memory; what has no order is summed up as hashes of its elements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.redis.connection import Reply, Session
from tenant_lifecycle.stores.redis.scripts import BIG_BYTES

#: Values read in one go take about so many bytes on each side.
READ_BYTES = 4 * 2**20
PAGE_BYTES = 2**20
PAGE_ELEMENTS = 1_000

On = tuple[Session, Session]
#: Key, type, and size in memory on the side where it is larger.
Sized = tuple[bytes, bytes, int]


def unequal(on: On, keys: Sequence[Sized]) -> frozenset[bytes]:
    """Those of the keys whose values differ; both sides have each with the same type."""
    whole = [one for one in keys if one[1] in _WHOLE and one[2] <= BIG_BYTES]
    found = {key for some in _batches(whole) for key in _unequal_whole(on, some)}
    for key, kind, _ in keys:
        if kind not in _PAGES:
            # Nobody but the server itself can read it: what its dump says must do.
            found.add(key)
    paged = [one for one in keys if one not in whole and one[1] in _PAGES]
    for key, kind, size in paged:
        if _digest(on[0], key, kind, size) != _digest(on[1], key, kind, size):
            found.add(key)
    return frozenset(found)


def _batches(keys: Sequence[Sized]) -> Iterator[list[Sized]]:
    batch: list[Sized] = []
    size = 0
    for one in keys:
        if batch and size + one[2] > READ_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one[2]
    if batch:
        yield batch


def _unequal_whole(on: On, keys: Sequence[Sized]) -> Iterator[bytes]:
    commands = [(name, key, *rest) for key, kind, _ in keys for name, *rest in [_WHOLE[kind]]]
    firsts = [session.send(*commands) for session in on]
    sides = [
        [_whole(session, first + at, kind) for at, (_, kind, _) in enumerate(keys)]
        for session, first in zip(on, firsts, strict=True)
    ]
    for (key, _, _), here, there in zip(keys, *sides, strict=True):
        if here is _CHANGED or there is _CHANGED or here != there:
            yield key


#: The value became one of another type between two looks at it.
_CHANGED = object()


def _whole(session: Session, number: int, kind: bytes) -> object:
    try:
        reply: Reply = session.receive(number)
    except StoreRejected:
        return _CHANGED
    if kind == b"set":
        return frozenset(reply)
    return dict(_pairs(reply)) if kind == b"hash" else reply


_WHOLE: Mapping[bytes, tuple[str | int, ...]] = {
    b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",), b"hash": ("HGETALL",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
}  # fmt: skip


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _digest(session: Session, key: bytes, kind: bytes, size: int) -> tuple[int, bytes] | None:
    """Number of elements and a hash of them all; None: it became something else meanwhile."""
    try:
        return _PAGES[kind](session, key, size)
    except StoreRejected:
        return None


def _in_order(elements: Iterable[Sequence[bytes]]) -> tuple[int, bytes]:
    hashed, count = hashlib.blake2b(digest_size=32), 0
    for element in elements:
        hashed.update(_framed(element))
        count += 1
    return count, hashed.digest()


def _without_order(elements: Iterable[Sequence[bytes]]) -> tuple[int, bytes]:
    """A sum of hashes, which does not depend on the order, and in which nothing cancels out."""
    total = count = 0
    for element in elements:
        total += int.from_bytes(hashlib.blake2b(_framed(element), digest_size=32).digest(), "big")
        count += 1
    return count, (total % 2**256).to_bytes(32, "big")


def _framed(parts: Sequence[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in (len(parts).to_bytes(4, "big"), *parts))


def _page(session: Session, key: bytes, size: int, length: str) -> int:
    """Elements that make a page of about `PAGE_BYTES`."""
    average = max(1, size // max(1, int(session.call(length, key))))
    return max(1, min(PAGE_ELEMENTS, PAGE_BYTES // average))


def _string(session: Session, key: bytes, size: int) -> tuple[int, bytes]:  # noqa: ARG001
    hashed, at = hashlib.blake2b(digest_size=32), 0
    while part := session.call("GETRANGE", key, at, at + PAGE_BYTES - 1):
        hashed.update(part)
        at += len(part)
    return at, hashed.digest()


def _list(session: Session, key: bytes, size: int) -> tuple[int, bytes]:
    page = _page(session, key, size, "LLEN")

    def elements() -> Iterator[Sequence[bytes]]:
        at = 0
        while part := session.call("LRANGE", key, at, at + page - 1):
            yield from ((one,) for one in part)
            at += len(part)

    return _in_order(elements())


def _sorted_set(session: Session, key: bytes, size: int) -> tuple[int, bytes]:
    page = _page(session, key, size, "ZCARD")

    def elements() -> Iterator[Sequence[bytes]]:
        at = 0
        while part := session.call("ZRANGE", key, at, at + page - 1, "WITHSCORES"):
            yield from _pairs(part)
            at += len(part) // 2

    return _in_order(elements())


def _set(session: Session, key: bytes, size: int) -> tuple[int, bytes]:
    return _without_order((one,) for part in _walk(session, key, size, "SSCAN", "SCARD") for one in part)


def _hash(session: Session, key: bytes, size: int) -> tuple[int, bytes]:
    return _without_order(
        pair for part in _walk(session, key, size, "HSCAN", "HLEN") for pair in _pairs(part)
    )


def _walk(session: Session, key: bytes, size: int, command: str, length: str) -> Iterator[list[bytes]]:
    page, cursor = _page(session, key, size, length), b"0"
    while True:
        cursor, part = session.call(command, key, cursor, "COUNT", page)
        yield part
        if cursor == b"0":
            return


def _stream(session: Session, key: bytes, size: int) -> tuple[int, bytes]:
    return _in_order(_stream_facts(session, key, _page(session, key, size, "XLEN")))


def _stream_facts(session: Session, key: bytes, page: int) -> Iterator[Sequence[bytes]]:
    """Everything about a stream that an application can rely on; idle times and delivery times are not."""
    yield b"last", _named(session.call("XINFO", "STREAM", key))[b"last-generated-id"]
    after = b"-"
    while entries := session.call("XRANGE", key, after, "+", "COUNT", page):
        yield from ((b"entry", id_, *fields) for id_, fields in entries)
        after = b"(" + entries[-1][0]
    groups = [_named(one) for one in session.call("XINFO", "GROUPS", key)]
    for group in sorted(groups, key=lambda group: group[b"name"]):
        name = group[b"name"]
        yield b"group", name, group[b"last-delivered-id"]
        consumers = [_named(one)[b"name"] for one in session.call("XINFO", "CONSUMERS", key, name)]
        yield from ((b"consumer", one) for one in sorted(consumers))
        after = b"-"
        while pending := session.call("XPENDING", key, name, after, "+", PAGE_ELEMENTS):
            yield from ((b"pending", id_, owner, str(times).encode()) for id_, owner, _, times in pending)
            after = b"(" + pending[-1][0]


def _named(flat: Sequence[object]) -> dict[bytes, bytes]:
    """A reply of names and values in turn."""
    return cast("dict[bytes, bytes]", dict(zip(flat[::2], flat[1::2], strict=True)))


_PAGES: Mapping[bytes, Callable[[Session, bytes, int], tuple[int, bytes]]] = {
    b"string": _string, b"list": _list, b"set": _set, b"hash": _hash, b"zset": _sorted_set, b"stream": _stream,
}  # fmt: skip
