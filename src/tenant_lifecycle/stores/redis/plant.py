"""Planting a marker as a tenant's own data: one key, in the first family whose names are open.

Shared containers get none: a marker in a queue or a stream would be worked on by the application.
"""

from __future__ import annotations

from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.erasing import CANARY_NAME, Erasing, Planted
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import key_of

#: Enough that the server keeps it compressed in its files.
_REPETITIONS = 40


def plant(server: Server, erasing: Erasing, marker: str) -> list[Planted]:
    """Write the marker into ``{beginning of the family}tenant-lifecycle-canary``; nothing if no family is open.

    Raises:
        Fenced: a newer driver was here.
    """
    families = server.whose.resolve(erasing.tenant).families.values()
    pattern = next((pattern for family in families for pattern in family.patterns), None)
    if pattern is None:
        return []
    key = key_of(pattern.prefix + CANARY_NAME + pattern.suffix)
    value = " ".join([marker] * _REPETITIONS)
    feed = Feed(erasing.name, erasing.tenant, erasing.token)
    with server.session() as session:
        ours.write(session, feed, [Command(("SET", key, value.encode()), (key,))])
    return [Planted(f"db{server.wire.database}", 1)]
