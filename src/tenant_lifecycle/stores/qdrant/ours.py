"""Our own records in a Qdrant: who drives a tenant's move, and which Qdrant this is.

Writes are not conditional, so a token is looked at right before a batch is written; a driver that was overtaken
can still write the batch it is at.
"""

from __future__ import annotations

import uuid
from typing import Any

from qdrant_client import models

from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.qdrant.side import OURS, Side

_SPACE = uuid.UUID("5f0e6f0c-6a8e-4c3e-9d53-0b4bd0f2f9a1")


def guard(side: Side, feed: Feed) -> None:
    """Refuse an older driver, remember a newer one.

    Raises:
        Fenced: a newer driver was here.
    """
    seen = read(side, f"token:{feed.tenant}").get("token", 0)
    if int(seen) > feed.token:
        raise Fenced(f"{side.name}: driver token {feed.token} is older than {seen}, which was seen here")
    if int(seen) < feed.token:
        write(side, f"token:{feed.tenant}", {"token": feed.token})


def identity(side: Side) -> str:
    """Changes when another Qdrant, or an empty one, takes this one's place."""
    known = read(side, "identity").get("id")
    if known is None:
        write(side, "identity", {"id": uuid.uuid4().hex})
        known = read(side, "identity").get("id")
    return str(known)


def done(side: Side, feed: Feed, part: str) -> bool:
    """Whether a part of the feed's copy is done."""
    return bool(read(side, f"copy:{feed.name}:{feed.tenant}:{part}"))


def mark_done(side: Side, feed: Feed, part: str, items: int, size: int) -> None:
    write(
        side,
        f"copy:{feed.name}:{feed.tenant}:{part}",
        {"items": items, "bytes": size, "feed": _copy_of(feed)},
    )


def copied(side: Side, feed: Feed, part: str) -> tuple[int, int]:
    """Items and bytes of a part that is done."""
    known = read(side, f"copy:{feed.name}:{feed.tenant}:{part}")
    return int(known.get("items", 0)), int(known.get("bytes", 0))


def forget(side: Side, feed: Feed) -> None:
    """What a copy noted is not true any more."""
    if side.client.describe(OURS) is None:
        return
    match = models.FieldCondition(key="feed", match=models.MatchValue(value=_copy_of(feed)))
    for page in list(side.client.pages(OURS, models.Filter(must=[match]), whole=False)):
        side.client.delete(OURS, [str(record.id) for record in page])


def forget_all(side: Side, tenant: TenantId) -> int:
    """Delete what copies of whatever feed noted about a tenant; how many records. They name the tenant."""
    if side.client.describe(OURS) is None:
        return 0
    found = [
        str(record.id)
        for page in side.client.pages(OURS, None, whole=True)
        for record in page
        if str((record.payload or {}).get("feed", "")).partition(":")[2] == tenant
    ]
    if found:
        side.client.delete(OURS, found)
    return len(found)


def delete(side: Side, name: str) -> None:
    """Delete a record of ours; it need not be there."""
    if side.client.describe(OURS) is not None:
        side.client.delete(OURS, [str(uuid.uuid5(_SPACE, name))])


def _copy_of(feed: Feed) -> str:
    return f"{feed.name}:{feed.tenant}"


def read(side: Side, name: str) -> dict[str, Any]:
    """A record of ours; empty: there is none."""
    if side.client.describe(OURS) is None:
        return {}
    found = side.client.retrieve(OURS, [str(uuid.uuid5(_SPACE, name))])
    return next(iter(found.values())).payload or {} if found else {}


def write(side: Side, name: str, payload: dict[str, Any]) -> None:
    """Write a record of ours, whole."""
    if side.client.describe(OURS) is None:
        side.client.create_plain(OURS)
    record = models.Record(id=str(uuid.uuid5(_SPACE, name)), vector=[1.0], payload=payload)
    side.client.upsert(OURS, [record])
