"""Copying one part: its keys are carried over as they are now, and then the part is marked as done.

A driver that dies before the mark leaves keys that the next one carries over again, which changes nothing.
"""

from __future__ import annotations

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Check, Copied, Feed, Part
from tenant_lifecycle.stores.redis import carry, parts
from tenant_lifecycle.stores.redis.server import Server


def copy_part(source: Server, target: Server, feed: Feed, part: Part, check: Check) -> Copied:
    """Copy one part and mark it as done; done before: does nothing new. Keys that are gone are deleted.

    Keys of a family that can be made again and that the target refuses are left out.

    Any number of threads and machines may copy parts of one feed at once.

    Raises:
        Fenced: a newer driver was here.
        WrongState: the part was never split off.
    """
    with source.session() as reader, target.session() as writer:
        keys, done = parts.part_keys(writer, feed, part)
        if done is not None:
            return done
        try:
            copied = carry.carry(reader, writer, feed, keys, check)
        except StoreRejected:
            if source.whose.treatment(part.set) is not Treatment.WARM:
                raise
            # It can be made again, and what is not there is not stale.
            carry.delete(writer, feed, keys)
            copied = Copied(0, 0)
        parts.mark_done(writer, feed, part, copied)
        return copied
