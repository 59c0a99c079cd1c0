"""Rebuilding one value piece by piece: for values too big to be dumped, and for targets older than the source.

The pieces go into a key of ours on the target, which takes the value's name when it is whole, so that nobody
sees half of it there. Neither server is held up for long, and no more than a piece is in our memory. Somebody
may write the value meanwhile; then it is built again, a few times, and after that the journal or the comparison
tells.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.connection import Session, Word
from tenant_lifecycle.stores.redis.ours import Command

#: Bytes of a value in one piece, about, and most elements in it.
PIECE_BYTES = 2**20
PIECE_ELEMENTS = 1_000
#: A half-built value of a driver that died goes away by itself after this.
ABANDONED_S = 3_600
TRIES = 3

#: Commands without the key, which stands behind the name of each.
Piece = list[tuple[str, *tuple[Word, ...]]]


def rebuild(
    reader: Session, writer: Session, feed: Feed, key: bytes, check: Check, lies_at: bytes | None = None
) -> None:
    """Make the target's key equal to the source's, or to what lies under another key there.

    Raises:
        StoreRejected: it is of a type that only its own server understands, or the target refused a piece.
        Fenced: a newer driver was here.
    """
    there = key if lies_at is None else lies_at
    for _ in range(TRIES):
        before = _outline(reader, there)
        kind = cast("bytes", before[0])
        if kind == b"none":
            ours.write(writer, feed, [Command(("UNLINK", key), (key,))])
            return
        if kind not in _PIECES:
            raise StoreRejected(
                f"{reader.store}: values of the type {kind.decode(errors='replace')} cannot be carried to "
                f"{writer.store}, which does not understand their dump",
                store=writer.store,
                next_step="run the same version, with the same modules, on both sides",
            )
        temporary = ours.our_key(feed.tenant, "building", secrets.token_hex(8))
        try:
            _build(reader, writer, feed, kind, there, temporary, check)
            after = _outline(reader, there)
            if after[:2] == before[:2]:
                break
        except BaseException:
            _discard(writer, feed, temporary)
            raise
        _discard(writer, feed, temporary)
    else:
        _build(reader, writer, feed, kind, there, temporary, check)
        after = _outline(reader, there)
    _publish(writer, feed, key, temporary, cast("int", after[2]))


def _outline(reader: Session, key: bytes) -> tuple[object, ...]:
    """Type, length and moment of expiry (-1: none)."""
    kind, left, now = reader.calls([("TYPE", key), ("PTTL", key), ("TIME",)])
    length = reader.call(_LENGTHS[kind], key) if kind in _LENGTHS else 0
    expiry = int(now[0]) * 1000 + int(now[1]) // 1000 + left if left >= 0 else -1
    return kind, length, expiry


def _build(
    reader: Session, writer: Session, feed: Feed, kind: bytes, key: bytes, temporary: bytes, check: Check
) -> None:
    for piece in _PIECES[kind](reader, key):
        check()
        commands = [Command((*name.split(), temporary, *words), (temporary,)) for name, *words in piece]
        commands.append(Command(("EXPIRE", temporary, ABANDONED_S), (temporary,)))
        ours.write(writer, feed, commands)


def _publish(writer: Session, feed: Feed, key: bytes, temporary: bytes, expiry: int) -> None:
    lasting = ("PEXPIREAT", temporary, max(expiry, 1)) if expiry >= 0 else ("PERSIST", temporary)
    keys = (temporary, key)
    answers = ours.begin(
        writer, feed, [Command(lasting, (temporary,)), Command(("RENAME", temporary, key), keys)]
    ).answers()
    failed = [answer for answer in answers if isinstance(answer, bytes)]
    if failed and b"no such key" in failed[0]:
        # It was empty by the time it was read, or its time has come.
        ours.write(writer, feed, [Command(("UNLINK", key), (key,))])
    elif failed:
        raise ours.refused(failed[0], writer.store)


def _discard(writer: Session, feed: Feed, temporary: bytes) -> None:
    if writer.clean:
        ours.write(writer, feed, [Command(("UNLINK", temporary), (temporary,))])


def _elements(reader: Session, key: bytes, length_command: str) -> int:
    """How many elements make a piece of about `PIECE_BYTES`."""
    size, length = reader.calls([("MEMORY", "USAGE", key), (length_command, key)])
    average = max(1, int(size or 0) // max(1, int(length)))
    return max(1, min(PIECE_ELEMENTS, PIECE_BYTES // average))


def _string(reader: Session, key: bytes) -> Iterator[Piece]:
    offset = 0
    while part := reader.call("GETRANGE", key, offset, offset + PIECE_BYTES - 1):
        yield [("SETRANGE", offset, part)]
        offset += len(part)
    if offset == 0:
        yield [("SET", b"")]


def _list(reader: Session, key: bytes) -> Iterator[Piece]:
    count, start = _elements(reader, key, "LLEN"), 0
    while part := reader.call("LRANGE", key, start, start + count - 1):
        yield [("RPUSH", *part)]
        start += len(part)


def _scanned(command: str, length: str, add: str) -> Callable[[Session, bytes], Iterator[Piece]]:
    """A reader of elements that come in no order, and maybe twice: adding them twice changes nothing."""

    def read(reader: Session, key: bytes) -> Iterator[Piece]:
        count, cursor = _elements(reader, key, length), b"0"
        while True:
            cursor, part = reader.call(command, key, cursor, "COUNT", count)
            # A packed value comes as a whole, whatever the count: so many words are too many for one command.
            for start in range(0, len(part), 2 * PIECE_ELEMENTS):
                some = part[start : start + 2 * PIECE_ELEMENTS]
                yield [(add, *(_turned(some) if add == "ZADD" else some))]
            if cursor == b"0":
                return

    return read


def _turned(pairs: Sequence[bytes]) -> list[bytes]:
    """ZSCAN gives members before scores, ZADD takes scores before members."""
    return [word for at in range(0, len(pairs), 2) for word in (pairs[at + 1], pairs[at])]


def stream_pieces(reader: Session, key: bytes) -> Iterator[Piece]:
    (info,) = reader.calls([("XINFO", "STREAM", key)])
    last = cast("bytes", _named(info)[b"last-generated-id"])
    groups = [_named(group) for group in reader.call("XINFO", "GROUPS", key)]
    # Makes an empty stream, which none of the other commands does.
    yield [("XGROUP CREATE", "tenant_lifecycle", "0", "MKSTREAM"), ("XGROUP DESTROY", "tenant_lifecycle")]
    count, start = _elements(reader, key, "XLEN"), b"-"
    while entries := reader.call("XRANGE", key, start, "+", "COUNT", count):
        yield [("XADD", id_, *fields) for id_, fields in entries]
        start = b"(" + entries[-1][0]
    yield [("XSETID", last)]
    for group in groups:
        yield from _group(reader, key, group)


def _group(reader: Session, key: bytes, group: Mapping[bytes, object]) -> Iterator[Piece]:
    name = cast("bytes", group[b"name"])
    yield [("XGROUP CREATE", name, cast("bytes", group[b"last-delivered-id"]))]
    consumers = [cast("bytes", _named(one)[b"name"]) for one in reader.call("XINFO", "CONSUMERS", key, name)]
    for start_at in range(0, len(consumers), PIECE_ELEMENTS):
        some = consumers[start_at : start_at + PIECE_ELEMENTS]
        yield [("XGROUP CREATECONSUMER", name, one) for one in some]
    start = b"-"
    while pending := reader.call("XPENDING", key, name, start, "+", PIECE_ELEMENTS):
        yield [
            ("XCLAIM", name, consumer, 0, id_, "IDLE", idle, "RETRYCOUNT", deliveries, "FORCE", "JUSTID")
            for id_, consumer, idle, deliveries in pending
        ]
        start = b"(" + pending[-1][0]


def _named(flat: Sequence[object]) -> dict[bytes, object]:
    """A reply of names and values in turn."""
    return {cast("bytes", flat[at]): flat[at + 1] for at in range(0, len(flat), 2)}


_PIECES: Mapping[bytes, Callable[[Session, bytes], Iterator[Piece]]] = {
    b"string": _string,
    b"list": _list,
    b"set": _scanned("SSCAN", "SCARD", "SADD"),
    b"hash": _scanned("HSCAN", "HLEN", "HSET"),
    b"zset": _scanned("ZSCAN", "ZCARD", "ZADD"),
    b"stream": stream_pieces,
}
_LENGTHS: Mapping[bytes, str] = {
    b"string": "STRLEN", b"list": "LLEN", b"set": "SCARD", b"hash": "HLEN", b"zset": "ZCARD", b"stream": "XLEN",
}  # fmt: skip
