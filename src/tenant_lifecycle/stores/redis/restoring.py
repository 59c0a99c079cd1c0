"""Making a value again from the form of a backup: as commands of bounded size for an empty key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from tenant_lifecycle.model.backup.redis_value import Header, Record, score_text, unpacked
from tenant_lifecycle.stores.redis.connection import Word

#: Bytes of one command, about, and most words in it.
COMMAND_BYTES, COMMAND_WORDS = 2**20, 1_000

Words = tuple[Word, ...]


def commands(header: Header, key: bytes, content: Iterable[bytes]) -> Iterator[Words]:
    """What makes the value under the key, which must not be there; expiry is left to the caller.

    Raises:
        ValueError: the content is not that of the type.
    """
    if header.dumped:
        yield "RESTORE", key, 0, b"".join(content)
    elif header.kind == "string":
        steps = (
            piece[at : at + COMMAND_BYTES] for piece in content for at in range(0, len(piece), COMMAND_BYTES)
        )
        yield "SET", key, next(steps, b"")
        yield from (("APPEND", key, step) for step in steps)
    elif header.kind == "stream":
        yield from _stream(key, unpacked(content))
    else:
        name, words_of = _ADDING[header.kind]
        for words in _grouped(words_of(record) for record in unpacked(content)):
            yield (name, key, *words)


def _grouped(elements: Iterable[tuple[bytes, ...]]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for element in elements:
        group += element
        size += sum(map(len, element))
        if size >= COMMAND_BYTES or len(group) >= COMMAND_WORDS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _stream(key: bytes, records: Iterator[Record]) -> Iterator[Words]:
    what, last = next(records, (b"", b""))
    if what != b"last":
        raise ValueError("no content of a stream")
    # Makes an empty stream, which none of the other commands does.
    yield "XGROUP", "CREATE", key, "tenant_lifecycle", "0", "MKSTREAM"
    yield "XGROUP", "DESTROY", key, "tenant_lifecycle"
    group = b""
    for record in chain(records, [(b"end",)]):
        if last and record[0] != b"entry":
            yield "XSETID", key, last
            last = b""
        match record[0]:
            case b"entry":
                yield ("XADD", key, *record[1:])
            case b"group":
                group = record[1]
                yield "XGROUP", "CREATE", key, group, record[2]
            case b"consumer":
                yield "XGROUP", "CREATECONSUMER", key, group, record[1]
            case b"pending":
                _, id_, consumer, times = record
                yield (
                    "XCLAIM", key, group, consumer, 0, id_, "IDLE", 0, "RETRYCOUNT", times, "FORCE", "JUSTID",
                )  # fmt: skip


_ADDING: Mapping[str, tuple[str, Callable[[Record], tuple[bytes, ...]]]] = {
    "list": ("RPUSH", lambda record: record),
    "set": ("SADD", lambda record: record),
    "hash": ("HSET", lambda record: record),
    "zset": ("ZADD", lambda record: (score_text(record[0]), record[1])),
}
