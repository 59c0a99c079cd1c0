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
    reading = begin(reader, waiting)
    while waiting:
        check()
        dumped = reading.received()
        waiting = waiting[len(dumped) :]
        # The source reads on while the target stores.
        reading = begin(reader, waiting)
        slow = store(writer, feed, dumped)
        if slow:
            # The reader's connection is needed; what was read ahead is read again.
            reading.received()
            for key in slow:
                pieces.rebuild(reader, writer, feed, key, check)
            reading = begin(reader, waiting)
        items += sum(one.kind != NONE for one in dumped)
        size += sum(one.size for one in dumped)
    return Copied(items, size)


def store(writer: Session, feed: Feed, dumped: Sequence[Dumped]) -> list[bytes]:
    """Store what was read, delete what was not there; the keys that are left to be rebuilt in pieces.

    Raises: as `carry`.
    """
    slow = [one.key for one in dumped if one.dump is None and one.kind != NONE]
    small = [one for one in dumped if one.dump is not None or one.kind == NONE]
    answers = ours.begin(writer, feed, [_stored(one) for one in small], go_on=True).answers() if small else []
    for one, answer in zip(small, answers, strict=True):
        if isinstance(answer, bytes):
            if ours.NEWER_DUMP.encode() not in answer:
                raise ours.refused(answer, writer.store)
            slow.append(one.key)
    return slow


def delete(writer: Session, feed: Feed, keys: Sequence[bytes]) -> int:
    """Delete keys on the target; return how many were there. Raises `Fenced`."""
    deleted = 0
    for start in range(0, len(keys), CALL_KEYS):
        some = keys[start : start + CALL_KEYS]
        deleted += sum(ours.write(writer, feed, [Command(("UNLINK", key), (key,)) for key in some]))
    return deleted


@dataclass(frozen=True, slots=True)
class Reading:
    """Keys on their way from the source."""

    keys: Sequence[bytes]
    #: None: there are none.
    running: Running | None

    def received(self) -> list[Dumped]:
        """As many of the keys as one call reached; to be called once."""
        if self.running is None:
            return []
        found = cast("list[list[object]]", self.running.result())
        return [_dumped(key, entry) for key, entry in zip(self.keys, found, strict=False)]


def begin(reader: Session, keys: Sequence[bytes]) -> Reading:
    """Have the source read the first ones of these keys."""
    some = keys[:CALL_KEYS]
    return Reading(some, reader.begin(DUMPS, some, [BIG_BYTES, CALL_BYTES]) if some else None)


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
