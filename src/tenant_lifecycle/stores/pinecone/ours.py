"""Our own records in an index: who drives a tenant's move, what of a copy is done, and which index this is.

They are vectors of a namespace of ours, because there is nothing else to write to. The service has no conditional
writes, so a driver token can only be looked at before a batch is written and again after it. What is left: a
driver that was overtaken can still write what it read before, for as long as one round of requests takes; what it
wrote is the source's state of a moment before, and its own look afterwards makes it stop.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.pinecone.freshness import Found
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import OURS, Side

Metadata = Mapping[str, Any]

_IDENTITY = "identity"


def token_id(feed: Feed) -> str:
    """The id of the record that holds the tenant's largest driver token; a tenant's id may have any letters."""
    return f"token:{hashlib.sha256(feed.tenant.encode()).hexdigest()}"


def guard(side: Side, feed: Feed, patience: Patience) -> None:
    """Refuse an older driver, remember a newer one.

    Raises:
        Fenced: a newer driver was here.
    """
    judge(side, feed, side.freshness.read({OURS: [token_id(feed)]}, patience), patience)


def judge(side: Side, feed: Feed, found: Found, patience: Patience) -> None:
    """`guard` with the record already read."""
    record = found.get((OURS, token_id(feed)))
    seen = int((record.metadata or {}).get("token", 0)) if record is not None else 0
    if seen > feed.token:
        raise Fenced(
            f"{side.name}: driver token {feed.token} is older than {seen}, which was seen here",
            next_step="another driver does the work; nothing has to be done here",
        )
    if seen < feed.token:
        write(side, {token_id(feed): {"token": feed.token, "feed": feed.name}}, patience)


def identity(side: Side, patience: Patience) -> str:
    """Which index this is: changes when it is created anew, or another one takes its place.

    The record is written once and never changed, so a read that finds it is right, however stale; only one that
    does not find it has to be made sure of.
    """
    record = side.client.fetch(OURS, [_IDENTITY], patience)[0].get(_IDENTITY)
    if record is None:
        record = side.freshness.read({OURS: [_IDENTITY]}, patience)[OURS, _IDENTITY]
    if record is None:
        write(side, {_IDENTITY: {"id": uuid.uuid4().hex}}, patience)
        record = side.freshness.read({OURS: [_IDENTITY]}, patience)[OURS, _IDENTITY]
    known = str((record.metadata or {}).get("id")) if record is not None else "unknown"
    return f"{side.client.model(patience).host} {known}"


def write(side: Side, records: Mapping[str, Metadata], patience: Patience) -> None:
    """Write records of ours."""
    marker = side.client.marker(patience)
    vectors = [{"id": id, **marker, "metadata": dict(metadata)} for id, metadata in records.items()]
    for first in range(0, len(vectors), 100):
        side.client.upsert(OURS, vectors[first : first + 100], patience)


def read(side: Side, prefix: str, patience: Patience) -> dict[str, Metadata]:
    """Records of ours whose ids begin with ``prefix``."""
    if side.freshness.settle(OURS, patience) is None:
        return {}
    ids = [id for page in side.client.pages(OURS, patience, prefix) for id in page]
    found = side.freshness.read({OURS: ids}, patience)
    return {id: vector.metadata or {} for (_, id), vector in found.items() if vector is not None}


def forget(side: Side, prefix: str, patience: Patience) -> None:
    """Delete records of ours whose ids begin with ``prefix``."""
    for page in list(side.client.pages(OURS, patience, prefix)):
        side.client.delete(OURS, page, patience)
