"""What the user interface remembers about a person's session, in Redis, for a day."""

from __future__ import annotations

import json
from typing import Any

from rag_service.requests import Refused, Request
from rag_service.tenants import Session

TTL_S = 24 * 3600


def key(tenant: str, id: str) -> str:
    """Where a session is kept."""
    return f"session:{tenant}:{id}"


def put(session: Session, request: Request, id: str, value: dict[str, Any]) -> None:
    """Replace a session's value."""
    if request.done(session.postgres):
        return
    session.redis("redis").set(key(request.tenant, id), json.dumps(value, sort_keys=True), ex=TTL_S)
    request.remember(session.postgres, "session.put")


def get(session: Session, tenant: str, id: str) -> dict[str, Any]:
    """A session's value.

    Raises:
        Refused: there is none, or it ran out.
    """
    kept = session.redis("redis").get(key(tenant, id))
    if kept is None:
        raise Refused(404, "no such session")
    value: dict[str, Any] = json.loads(kept)
    return value


def end(session: Session, request: Request, id: str) -> None:
    """Forget a session. Idempotent."""
    if request.done(session.postgres):
        return
    session.redis("redis").delete(key(request.tenant, id))
    request.remember(session.postgres, "session.end")
