"""What a tenant did, in Redis: counters by client and kind, and a stream of events that workers share."""

from __future__ import annotations

from typing import Any

from rag_service.requests import Request
from rag_service.tenants import Session

#: The consumer group of every stream.
GROUP = "workers"
KINDS = ("document.put", "document.delete", "ask")


def stream(tenant: str) -> str:
    """Key of a tenant's stream."""
    return f"events:{tenant}"


def counter(tenant: str, client: str, kind: str) -> str:
    """Key of one of a tenant's counters."""
    return f"usage:{tenant}:{client}:{kind}"


def record(session: Session, request: Request, kind: str, **fields: str) -> None:
    """Count a request and tell the workers.

    Not undone when the transaction around it is rolled back: a request that failed may have been counted.
    """
    redis = session.redis("redis")
    redis.incrby(counter(request.tenant, request.client, kind), 1)
    redis.xadd(stream(request.tenant), {"kind": kind, "request": request.ref, **fields})


def take(session: Session, request: Request, consumer: str, count: int) -> list[dict[str, str]]:
    """The next events that no worker has had, acknowledged at once."""
    redis, key = session.redis("redis"), stream(request.tenant)
    if request.done(session.postgres):
        return []
    if not _has_group(redis, key):
        redis.xgroup_create(key, GROUP, id="0", mkstream=True)
    answer = redis.xreadgroup(GROUP, consumer, {key: ">"}, count=count)
    entries = [entry for _, entries in _pairs(answer) for entry in entries]
    if entries:
        redis.xack(key, GROUP, *(id for id, _ in entries))
    request.remember(session.postgres, "events.take")
    return [
        {"id": _text(id), **{_text(name): _text(value) for name, value in fields.items()}}
        for id, fields in entries
    ]


def usage(session: Session, tenant: str, client: str) -> dict[str, int]:
    """All counters of one client."""
    redis = session.redis("redis")
    return {kind: int(redis.get(counter(tenant, client, kind)) or 0) for kind in KINDS}


def _has_group(redis: Any, key: str) -> bool:
    if not redis.exists(key):
        return False
    return any(_text(group["name"]) == GROUP for group in redis.xinfo_groups(key))


def _pairs(answer: Any) -> list[tuple[Any, Any]]:
    """XREADGROUP's answer is a list of pairs in protocol 2 and a map in protocol 3."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(key, [entry for some in found for entry in some]) for key, found in answer.items()]
    return [(key, found) for key, found in answer]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
