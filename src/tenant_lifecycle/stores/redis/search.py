"""A Redis server with the verifier's eyes: every database and every key, of whatever type, walked to its end.

Shares no listing with the eraser: no globs, no families; ownership rules are asked only to say what is declared.
No identifier goes into a command, so the slow log and MONITOR learn none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Batch, Found, Looked, Place
from tenant_lifecycle.stores.redis import items, rawstream
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import is_ours, text_of
from tenant_lifecycle.stores.tally import Tally

#: The place of what a server keeps besides keys: slow log, names of clients and of users.
ABOUT = "server"
COUNT = 500
#: A value is read whole up to this many bytes, and in overlapping pieces beyond.
PIECE_BYTES, OVERLAP = 16 * 2**20, 64 * 2**10
#: A stream is dumped, which takes its size in memory again, up to this many bytes.
MOST_DUMPED = 256 * 2**20


def places(server: Server) -> list[Place]:
    """Every database that has keys, the declared one in any case, and what the server keeps about itself."""
    with server.session() as session:
        told = session.call("INFO", "keyspace").decode("utf-8", "replace").splitlines()
    sizes = {line.partition(":")[0]: _keys(line) for line in told if line.startswith("db")}
    own = f"db{server.wire.database}"
    sizes.setdefault(own, 0)
    found = [Place(name, name == own, size) for name, size in sorted(sizes.items())]
    return [*found, Place(ABOUT, True, 0)]


def _keys(line: str) -> int:
    return int(line.partition("keys=")[2].partition(",")[0] or 0)


def search(server: Server, place: Place, found: Found, check: Check) -> Looked:
    """Go through one database, or through what the server keeps about itself.

    What these credentials may not read makes the result say so.
    """
    tally = Tally(place.name, found)
    try:
        if place.name == ABOUT:
            with server.session() as session:
                _about(session, tally)
        else:
            with _database(server, place.name) as session:
                _walk(server, session, tally, check, declared=place.declared)
    except StoreRejected as exc:
        tally.could_not_read(str(exc))
    return tally.looked()


def remaining(server: Server, batch: Batch, check: Check) -> frozenset[bytes]:
    """Items of the batch that are still there; asked one by one, by key or by member."""
    keys, members = items.grouped(batch.keys)
    check()
    with server.session() as session:
        there = session.calls([("EXISTS", key) for key in keys])
        left = {items.whole(key) for key, one in zip(keys, there, strict=True) if one}
        for key, names in members.items():
            check()
            kind = session.call("TYPE", key)
            left |= {items.member(key, name) for name in _members_left(session, key, kind, names)}
    return frozenset(left)


def _members_left(session: Session, key: bytes, kind: bytes, names: Sequence[bytes]) -> Iterator[bytes]:
    match kind:
        case b"stream":
            answers = session.calls([("XRANGE", key, name, name) for name in names])
        case b"list":
            answers = [one is not None for one in session.calls([("LPOS", key, name) for name in names])]
        case b"hash" | b"set" | b"zset":
            asked = {b"hash": "HEXISTS", b"set": "SISMEMBER", b"zset": "ZSCORE"}[kind]
            replies = session.calls([(asked, key, name) for name in names])
            answers = [one not in (0, None) for one in replies]
        case _:
            answers = [False] * len(names)
    yield from (name for name, there in zip(names, answers, strict=True) if there)


@contextmanager
def _database(server: Server, name: str) -> Iterator[Session]:
    """A connection of its own to a database that the store's settings do not name."""
    line = server.wire.dedicated()
    session = Session(line, server.name)
    try:
        session.call("SELECT", int(name.removeprefix("db")))
        yield session
    finally:
        line.disconnect()


def _walk(server: Server, session: Session, tally: Tally, check: Check, *, declared: bool) -> None:
    """A key that moves while the server resizes its table comes twice; none is left out."""
    cursor = b"0"
    while True:
        check()
        cursor, keys = session.call("SCAN", cursor, "COUNT", COUNT)
        kinds = session.calls([("TYPE", key) for key in keys])
        for key, kind in zip(keys, kinds, strict=True):
            tally.count()
            proposal = "" if declared and _mentioned(server, key) else _proposal(key, tally.place, declared)
            _key(session, tally, key, kind, proposal)
        if cursor == b"0":
            return


def _mentioned(server: Server, key: bytes) -> bool:
    return is_ours(key) or server.whose.mentions(text_of(key))


def _proposal(key: bytes, place: str, declared: bool) -> str:
    """A line for ownership.yaml; for another database, a store of its own has to be declared first."""
    beginning = text_of(key).partition(":")[0]
    template = f"{beginning}:*" if b":" in key else beginning
    rule = f"shared: {{found: {{template: {template!r}, owner: '{{tenant}}*'}}}}"
    return rule if declared else f"a redis store for {place}, and for it {rule}"


def _key(session: Session, tally: Tally, key: bytes, kind: bytes, proposal: str) -> None:
    where = text_of(key)
    tally.look(where, key, proposal)
    if kind == b"none":
        return
    if kind not in _VALUES:
        tally.could_not_read(f"values of the type {kind.decode(errors='replace')}")
        return
    try:
        for part in _VALUES[kind](session, key):
            tally.look(where, part, proposal)
    except (StoreRejected, ValueError) as exc:
        if isinstance(exc, StoreRejected) and session.call("TYPE", key) != kind:
            # It went, or became something else, between two looks; the next walk finds it as it is.
            return
        tally.could_not_read(str(exc))


def _string(session: Session, key: bytes) -> Iterator[bytes]:
    at = 0
    while part := session.call("GETRANGE", key, at, at + PIECE_BYTES - 1):
        yield part
        if len(part) < PIECE_BYTES:
            return
        at += PIECE_BYTES - OVERLAP


def _list(session: Session, key: bytes) -> Iterator[bytes]:
    at = 0
    while part := session.call("LRANGE", key, at, at + COUNT - 1):
        yield from part
        at += len(part)


def _scanned(command: str) -> Callable[[Session, bytes], Iterator[bytes]]:
    """All words of a hash, set or sorted set: names, values, scores."""

    def read(session: Session, key: bytes) -> Iterator[bytes]:
        cursor = b"0"
        while True:
            cursor, part = session.call(command, key, cursor, "COUNT", COUNT)
            yield from part
            if cursor == b"0":
                return

    return read


def _stream(session: Session, key: bytes) -> Iterator[bytes]:
    """Entries, also deleted ones that are only marked; names of groups and consumers."""
    size = int(session.call("MEMORY", "USAGE", key) or 0)
    if size > MOST_DUMPED:
        raise ValueError(f"deleted entries of a stream of {size // 2**20} MiB, which is not dumped")
    dump = session.call("DUMP", key)
    if dump is not None:
        yield from rawstream.elements(dump)
    for group in session.call("XINFO", "GROUPS", key):
        name = _named(group)[b"name"]
        yield cast("bytes", name)
        for consumer in session.call("XINFO", "CONSUMERS", key, cast("bytes", name)):
            yield cast("bytes", _named(consumer)[b"name"])


def _named(flat: Sequence[object]) -> dict[bytes, object]:
    return {cast("bytes", flat[at]): flat[at + 1] for at in range(0, len(flat), 2)}


_VALUES: Mapping[bytes, Callable[[Session, bytes], Iterator[bytes]]] = {
    b"string": _string, b"list": _list, b"set": _scanned("SSCAN"), b"zset": _scanned("ZSCAN"),
    b"hash": _scanned("HSCAN"), b"stream": _stream,
}  # fmt: skip


def _about(session: Session, tally: Tally) -> None:
    """Each part by itself: one that may not be asked does not hide the others."""
    asked = {
        "slow log": ("SLOWLOG", "GET", 100_000), "clients": ("CLIENT", "LIST"), "users": ("ACL", "LIST"),
    }  # fmt: skip
    for where, words in asked.items():
        try:
            answer = session.call(*words)
        except StoreError as exc:
            tally.could_not_read(str(exc))
            continue
        for part in _flat(answer):
            tally.count()
            tally.look(where, part)


def _flat(reply: object) -> Iterator[bytes]:
    if isinstance(reply, bytes):
        yield reply
    elif isinstance(reply, list):
        for one in reply:
            yield from _flat(one)
