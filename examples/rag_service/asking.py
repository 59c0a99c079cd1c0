"""Questions: find chunks near the question, answer with them, cite them, keep the answer for a while."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from rag_service import activity
from rag_service.documents import collection, namespace
from rag_service.embedding import embed
from rag_service.requests import Refused, Request
from rag_service.statements import run
from rag_service.tenants import Session

#: Seconds for which an answer is kept.
TTL_S = 300


def search(session: Session, tenant: str, text: str, limit: int = 4) -> list[dict[str, Any]]:
    """Chunks nearest to a text, nearest first, as the database has them now.

    The index may be behind; what the database does not have any more is left out.
    """
    space = namespace(collection(session, tenant))
    found = session.vectors("vectors").query(
        vector=embed(text), top_k=limit * 2, namespace=space, include_metadata=True
    )
    # Numbers come back as floats.
    places = [(str(hit.metadata["document"]), int(hit.metadata["ordinal"])) for hit in found.matches]
    rows = run(
        session.postgres, "chunks by place", tenant=tenant, documents=[document for document, _ in places],
        ordinals=[ordinal for _, ordinal in places],
    )  # fmt: skip
    chunks = {(document, ordinal): (content, v) for document, ordinal, content, v in rows}
    return [
        {"document": place[0], "ordinal": place[1], "content": chunks[place][0], "v": chunks[place][1]}
        for place in places
        if place in chunks
    ][:limit]


def ask(session: Session, request: Request, conversation: UUID, question: str) -> dict[str, Any]:
    """Answer, from the cache if every document it cites is as it was, and write both down.

    Raises:
        Refused: the tenant is not here, or the conversation is another tenant's.
    """
    conn, tenant = session.postgres, request.tenant
    if request.done(conn):
        return {"answer": "", "cites": [], "cached": True, "repeated": True}
    key = f"answer:{tenant}:{hashlib.sha256(question.encode()).hexdigest()[:32]}"
    redis = session.redis("redis")
    answer = _kept(session, tenant, redis.get(key))
    cached = answer is not None
    if answer is None:
        found = search(session, tenant, question)
        text = found[0]["content"] if found else "Nothing is known about that."
        answer = {
            "answer": text,
            "cites": [{"document": f["document"], "ordinal": f["ordinal"], "v": f["v"]} for f in found],
        }
        redis.set(key, json.dumps(answer), ex=TTL_S)
    _write_down(session, request, conversation, question, answer["answer"])
    activity.record(session, request, "ask", conversation=str(conversation))
    request.remember(conn, "ask")
    return {**answer, "cached": cached, "repeated": False}


def messages(session: Session, tenant: str, conversation: UUID) -> list[dict[str, str]]:
    """A conversation from its beginning."""
    rows = run(session.postgres, "messages", id=conversation, tenant=tenant)
    return [{"ref": ref, "role": role, "content": content} for ref, role, content in rows]


def _kept(session: Session, tenant: str, kept: bytes | str | None) -> dict[str, Any] | None:
    """A kept answer, if it still is one."""
    if kept is None:
        return None
    answer: dict[str, Any] = json.loads(kept)
    cited = {cite["document"]: cite["v"] for cite in answer["cites"]}
    now = dict(run(session.postgres, "versions", ids=list(cited), tenant=tenant).fetchall())
    return answer if now == cited else None


def _write_down(session: Session, request: Request, conversation: UUID, question: str, answer: str) -> None:
    conn = session.postgres
    run(
        conn, "put conversation", id=conversation, collection=collection(session, request.tenant),
        title=question[:80],
    )  # fmt: skip
    if run(conn, "owns conversation", id=conversation, tenant=request.tenant).fetchone() is None:
        raise Refused(404, "no such conversation")
    for role, content in (("user", question), ("assistant", answer)):
        ref = f"{request.ref}-{role}" if request.ref else ""
        run(
            conn, "insert message", conversation=conversation, ref=ref, role=role, content=content,
            tokens=len(content.split()),
        )  # fmt: skip
