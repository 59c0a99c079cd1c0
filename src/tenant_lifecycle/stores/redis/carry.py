"""Carrying keys over as they are now: read at the source, stored at the target, absent ones deleted there.

It is state that is carried, not operations, so it bears being repeated, in any order. A value travels as the
server's own dump, with the moment it expires. Big values, and those whose dump the target does not understand
(it is older), are rebuilt piece by piece (`pieces`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tenant_lifecycle.stores.base import Check, Copied, Feed
from tenant_lifecycle.stores.redis import ours, pieces
from tenant_lifecycle.stores.redis.connection import Running, Session
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.scripts import BIG_BYTES, CALL_BYTES, CALL_KEYS, DUMPS

NONE = b"none"


@dataclass(frozen=True, slots=True)
class Dumped:
    """A key as the copier read it."""

    key: bytes
    #: As TYPE says it; ``none``: it is not there.
    kind: bytes
    #: Milliseconds since 1970 by the source's clock; -1: it does not expire.
    expiry: int
    #: In memory, estimated by the server.
    size: int
    #: None: not there, or too big.
    dump: bytes | None


def carry(reader: Session, writer: Session, feed: Feed, keys: Sequence[bytes], check: Check) -> Copied:
    """Make the target's keys equal to the source's; count those that are there.

    Raises:
        Fenced: a newer driver was here.
        StoreRejected: the target refused a value; those before it are stored.
    """
    items = size = 0
    waiting = list(keys)
    reading = _begin(reader, waiting)
    while reading is not None:
        check()
        dumped = _received(reading, waiting)
        waiting = waiting[len(dumped) :]
        small = [one for one in dumped if one.dump is not None or one.kind == NONE]
        # The source reads on while the target stores.
        reading = _begin(reader, waiting)
        storing = ours.begin(writer, feed, [_stored(one) for one in small]) if small else None
        answers = storing.answers() if storing is not None else []
        slow = [one for one in dumped if one.dump is None and one.kind != NONE]
        for one, answer in zip(small, answers, strict=True):
            if not isinstance(answer, bytes):
                continue
            if ours.NEWER_DUMP.encode() not in answer:
                raise ours.refused(answer, writer.store)
            slow.append(one)
        if slow and reading is not None:
            # The reader's connection is needed; what was read ahead is read again.
            reading.result()
            reading = None
        for one in slow:
            pieces.rebuild(reader, writer, feed, one.key, check)
        items += sum(one.kind != NONE for one in dumped)
        size += sum(one.size for one in dumped)
        if reading is None:
            reading = _begin(reader, waiting)
    return Copied(items, size)


def _begin(reader: Session, waiting: Sequence[bytes]) -> Running | None:
    return reader.begin(DUMPS, waiting[:CALL_KEYS], [BIG_BYTES, CALL_BYTES]) if waiting else None


def _received(reading: Running, waiting: Sequence[bytes]) -> list[Dumped]:
    """As many of the keys as one call reached."""
    found = cast("list[list[object]]", reading.result())
    return [_dumped(key, entry) for key, entry in zip(waiting, found, strict=False)]


def _dumped(key: bytes, entry: list[object]) -> Dumped:
    kind = cast("bytes", entry[0])
    if kind == NONE:
        return Dumped(key, kind, -1, 0, None)
    _, expiry, size, dump = cast("tuple[bytes, int, int, bytes | None]", tuple(entry))
    # A dump may turn out far larger than the estimate that a few elements gave.
    return Dumped(key, kind, expiry, size, dump if dump is not None and len(dump) <= 4 * BIG_BYTES else None)


def _stored(one: Dumped) -> Command:
    if one.dump is None:
        return Command(("UNLINK", one.key), (one.key,))
    # 0 stands for no expiry, and a moment in the past deletes the key, as it should.
    expiry = max(one.expiry, 1) if one.expiry >= 0 else 0
    return Command(("RESTORE", one.key, expiry, one.dump, "REPLACE", "ABSTTL"), (one.key,))
