"""Documents: a row, its chunks with embeddings, the text as an object, and a vector per chunk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from botocore.exceptions import ClientError

from rag_service import activity
from rag_service.embedding import cut, embed
from rag_service.requests import Refused, Request
from rag_service.statements import run
from rag_service.tenants import Session


@dataclass(frozen=True, slots=True)
class Stored:
    """A document after it was put."""

    id: str
    v: int
    chunks: int
    sha256: str


def object_key(tenant: str, id: str) -> str:
    """Where a document's text lies in the bucket."""
    return f"documents/{tenant}/{id}.txt"


def namespace(collection: str) -> str:
    """The part of the vector index that has a collection's chunks."""
    return f"library-{collection}"


def put(session: Session, request: Request, id: UUID, title: str, text: str) -> Stored:
    """Create or replace a document everywhere; the same request twice is one.

    Raises:
        Refused: the tenant is not here, or the id is another tenant's.
    """
    conn, tenant, body = session.postgres, request.tenant, text.encode()
    pieces, sha256, key = cut(text), hashlib.sha256(body).hexdigest(), object_key(tenant, str(id))
    if request.done(conn):
        return Stored(str(id), get(session, tenant, id)["v"], len(pieces), sha256)
    row = run(
        conn, "put document", id=id, tenant=tenant, collection=collection(session, tenant), title=title, body=text,
        object=key, sha256=sha256,
    ).fetchone()  # fmt: skip
    if row is None:
        raise Refused(404, "no such document")
    version, space = int(row[0]), namespace(row[1])
    before = {ordinal for (ordinal,) in run(conn, "drop chunks", document=id)}
    vectors = []
    for ordinal, piece in enumerate(pieces):
        embedding = embed(piece)
        run(conn, "insert chunk", document=id, ordinal=ordinal, content=piece, embedding=embedding)
        metadata = {"document": str(id), "ordinal": ordinal, "v": version}
        vectors.append({"id": vector_id(id, ordinal), "values": embedding, "metadata": metadata})
    session.objects("objects").put(
        key, body, ContentType="text/plain; charset=utf-8", Tagging=urlencode({"kind": "document", "v": version}),
        Metadata={"title": quote(title), "v": str(version), "sha256": sha256},
    )  # fmt: skip
    index = session.vectors("vectors")
    index.upsert(vectors, namespace=space)
    left = sorted(before - set(range(len(pieces))))
    if left:
        index.delete([vector_id(id, ordinal) for ordinal in left], namespace=space)
    activity.record(session, request, "document.put", document=str(id))
    request.remember(conn, "document.put")
    return Stored(str(id), version, len(pieces), sha256)


def delete(session: Session, request: Request, id: UUID) -> None:
    """Take a document away everywhere. Idempotent."""
    conn, tenant = session.postgres, request.tenant
    if request.done(conn):
        return
    row = run(conn, "lock document", id=id, tenant=tenant).fetchone()
    if row is not None:
        ordinals = [ordinal for (ordinal,) in run(conn, "drop chunks", document=id)]
        run(conn, "delete document", id=id)
        session.objects("objects").delete(object_key(tenant, str(id)))
        if ordinals:
            ids = [vector_id(id, ordinal) for ordinal in ordinals]
            session.vectors("vectors").delete(ids, namespace=namespace(row[0]))
    activity.record(session, request, "document.delete", document=str(id))
    request.remember(conn, "document.delete")


def get(session: Session, tenant: str, id: UUID) -> dict[str, Any]:
    """Everything about one document; its text comes from the object, if it has one.

    Raises:
        Refused: there is none.
    """
    row = run(session.postgres, "get document", id=id, tenant=tenant).fetchone()
    if row is None:
        raise Refused(404, "no such document")
    found, title, status, tags, version, key, body, chunks = row
    if key is not None:
        body = _content(session, key)
    return {
        "id": found, "title": title, "status": status, "tags": tags, "v": version, "chunks": chunks, "text": body,
        "sha256": hashlib.sha256(body.encode()).hexdigest(),
    }  # fmt: skip


def listed(session: Session, tenant: str, after: UUID, limit: int) -> list[dict[str, Any]]:
    """A page of documents in the order of their ids."""
    rows = run(session.postgres, "list documents", tenant=tenant, after=after, limit=limit)
    return [{"id": id, "title": title, "status": status, "v": v} for id, title, status, v in rows]


def _content(session: Session, key: str) -> str:
    """The text of an object.

    Raises:
        Refused: it was deleted since the row was read.
    """
    try:
        found = session.objects("objects").get(key)
    except ClientError as exc:
        if exc.response["Error"]["Code"] != "NoSuchKey":
            raise
        raise Refused(404, "no such document") from exc
    with found["Body"] as body:
        return str(body.read().decode())


def vector_id(document: UUID | str, ordinal: int) -> str:
    """Name of a chunk's vector."""
    return f"{document}#{ordinal}"


def collection(session: Session, tenant: str) -> str:
    """Where new documents and conversations of a tenant go, and where questions are answered from.

    Raises:
        Refused: there is no such tenant.
    """
    found = collections(session, tenant)
    if not found:
        raise Refused(404, "no such tenant")
    return found[0]["id"]


def collections(session: Session, tenant: str) -> list[dict[str, str]]:
    """All collections of a tenant; the first one is where documents go."""
    rows = run(session.postgres, "collections", tenant=tenant)
    return [{"id": id, "slug": slug} for id, slug in rows]
