"""Taking a tenant's keys away again: every family, also those that are not moved, in small steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.scan import glob_below, scan, tenants_keys
from tenant_lifecycle.stores.redis.server import Server

BATCH_KEYS = 500


def remove(server: Server, feed: Feed, check: Check) -> Mapping[str, int]:
    """Delete the tenant's keys here; returns counts by family of what this call deleted.

    Memory is given back in the background (UNLINK). Our own keys for the tenant go too, but for the driver
    token, which only grows. Call it only where the tenant's writes are refused.

    Raises:
        Fenced: a newer driver was here.
    """
    resolved = server.whose.resolve(feed.tenant)
    deleted: Counter[str] = Counter(dict.fromkeys(server.whose.sets(*Treatment), 0))
    with server.session() as reader, server.session() as writer:
        for page in tenants_keys(reader, resolved, server.whose.sets(*Treatment)):
            for start in range(0, len(page), BATCH_KEYS):
                check()
                some = page[start : start + BATCH_KEYS]
                gone = ours.write(writer, feed, [Command(("UNLINK", key), (key,)) for _, key in some])
                for (name, _), count in zip(some, gone, strict=True):
                    deleted[name] += count
        for area in ("copy", "building", "preview"):
            for keys in scan(reader, glob_below(ours.our_key(feed.tenant, area))):
                if keys:
                    ours.write(writer, feed, [Command(("UNLINK", key), (key,)) for key in keys])
    return dict(deleted)
