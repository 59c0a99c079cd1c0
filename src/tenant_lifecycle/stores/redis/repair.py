"""Making a handful of keys on the target equal to the source's: what follows a tenant's writes, and mends.

Both sides are looked at in one step, and only what differs is carried over, so that a key that the application
has mirrored already costs nothing more. Families that are skipped are never carried: their keys are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Feed, Keys
from tenant_lifecycle.stores.redis import carry, ours, values
from tenant_lifecycle.stores.redis.comparison import Both, Named, judge, seen
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.scripts import BIG_BYTES, CALL_BYTES, CALL_KEYS, DIGESTS
from tenant_lifecycle.stores.redis.server import Server

#: So few keys are read at the source together with the look at both sides: a flip has no time for another.
READ_AHEAD_KEYS = 64
#: Below this it is not worth finding out whether a value with another digest is equal after all.
WORTH_READING_BYTES = 32 * 2**10


def repair(source: Server, target: Server, feed: Feed, keys: Keys) -> int:
    """Make the target's keys equal to the source's, absent included; return how many were written or deleted.

    A key that is not the tenant's is left alone, whoever names it.

    Raises:
        Fenced: a newer driver was here; nothing was changed.
        StoreRejected: the target refused a value of a family that has to be moved.
    """
    by = {treatment: _named(source, feed, keys, treatment) for treatment in Treatment}
    with source.session() as reader, target.session() as writer:
        changed = carry.delete(writer, feed, [key for _, key in by[Treatment.SKIP]])
        changed += _mend(reader, writer, feed, by[Treatment.MOVE])
        warm = by[Treatment.WARM]
        try:
            changed += _mend(reader, writer, feed, warm)
        except StoreRejected:
            changed += carry.delete(writer, feed, [key for _, key in warm])
        return changed


def _named(source: Server, feed: Feed, keys: Keys, treatment: Treatment) -> list[Named]:
    return [
        (name, key)
        for name in sorted(keys)
        if source.whose.treatment(name) is treatment
        for key in sorted(keys[name])
        if source.whose.set_of(feed.tenant, key) is not None
    ]


def _mend(reader: Session, writer: Session, feed: Feed, named: Sequence[Named]) -> int:
    changed = 0
    waiting = list(named)
    while waiting:
        page, ahead = _look(reader, writer, feed, waiting)
        waiting = waiting[len(page) :]
        different = _different((reader, writer), page)
        dumped = [one for one in ahead if one.key in different]
        left = [*carry.store(writer, feed, dumped), *(different - {one.key for one in dumped})]
        carry.carry(reader, writer, feed, left, _go_on)
        changed += len(different)
    return changed


def _look(
    reader: Session, writer: Session, feed: Feed, named: Sequence[Named]
) -> tuple[list[Both], list[carry.Dumped]]:
    """Both sides at the same time, and, if they are few, what will have to be carried if it differs.

    The target refuses an older driver.
    """
    some = named[:CALL_KEYS]
    keys = [key for _, key in some]
    reading = reader.begin(DIGESTS, keys, [BIG_BYTES, CALL_BYTES, ""])
    ahead = carry.begin(reader, keys if len(keys) <= READ_AHEAD_KEYS else [])
    looking = writer.begin(DIGESTS, [ours.token_key(feed.tenant), *keys], [BIG_BYTES, CALL_BYTES, feed.token])
    now_here, here = seen(reading.result())
    dumped = ahead.received()
    now_there, there = seen(looking.result())
    now = max(now_here, now_there)
    return [Both(name, key, a, b, now) for (name, key), a, b in zip(some, here, there, strict=False)], dumped


def _different(on: tuple[Session, Session], page: Sequence[Both]) -> set[bytes]:
    """Keys to be carried. Only large values are read to see whether they really differ: writing costs less."""
    unsure = [
        (one.key, one.here.kind, max(one.here.size, one.there.size))
        for one in page
        if one.values_to_be_read and one.here.size > WORTH_READING_BYTES
    ]
    unequal = values.unequal(on, unsure) if unsure else frozenset()
    equal = {key for key, _, _ in unsure} - unequal
    return {one.key for one in page if judge(one, one.key in equal or not one.values_to_be_read) is not None}


def _go_on() -> None:
    """A repair is short."""
