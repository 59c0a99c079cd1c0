"""Objects, vectors and Redis keys for the sample application's tenants, made from their rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from tenant_lifecycle.sandbox.open_items import object_client, redis_client, vector_index
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.sandbox.sample import RESIDENTS, TENANTS

#: At scale 1, of all tenants together.
OBJECTS, SESSIONS, ANSWERS, EVENTS = 300, 1_000, 800, 3_000
_DAY_S = 24 * 3600
_THREADS = 8
_BATCH = 200

Connection = psycopg.Connection[Any]


def choose_documents(conn: Connection, scale: float) -> None:
    """Mark the documents whose text also lies in the bucket: the oldest ones, at least one of every tenant."""
    conn.execute("SET LOCAL session_replication_role = replica")
    for tenant, count in _shares(conn, OBJECTS * scale):
        conn.execute(
            "UPDATE documents SET meta = meta || jsonb_build_object('object', 'documents/' || tenant_id || '/' || id || '.txt')"
            " WHERE id IN (SELECT id FROM documents WHERE tenant_id = %s ORDER BY number LIMIT %s)",
            (tenant, count),
        )


def fill_objects(conn: Connection, settings: Mapping[str, Any], _scale: float) -> None:
    """The text of every document that says it has an object, as the application would have put it."""
    s3, bucket = object_client(settings), settings["bucket"]

    def put(row: tuple[str, str, str, str]) -> None:
        key, title, version, text = row
        body = text.encode()
        s3.put_object(
            Bucket=bucket, Key=key, Body=body, ContentType="text/plain; charset=utf-8",
            Metadata={"title": quote(title), "v": version, "sha256": hashlib.sha256(body).hexdigest()},
            Tagging=urlencode({"kind": "document", "v": version}),
        )  # fmt: skip

    rows = conn.execute(
        "SELECT meta->>'object', title, coalesce(meta->>'v', '0'), body FROM documents WHERE meta ? 'object'"
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, rows))


def fill_vectors(conn: Connection, settings: Mapping[str, Any], _scale: float) -> None:
    """A vector for every chunk, in the namespace of its document's collection."""
    index = vector_index(settings)
    rows = conn.execute(
        "SELECT d.collection_id::text, d.id::text, c.ordinal, coalesce((d.meta->>'v')::int, 0), c.embedding::text"
        " FROM chunks c JOIN documents d ON d.id = c.document_id ORDER BY 1, 2, 3"
    )
    by_namespace: dict[str, list[dict[str, Any]]] = {}
    for collection, document, ordinal, version, embedding in rows:
        metadata = {"document": document, "ordinal": ordinal, "v": version}
        values = [float(number) for number in embedding[1:-1].split(",")]
        vector = {"id": f"{document}#{ordinal}", "values": values, "metadata": metadata}
        by_namespace.setdefault(f"library-{collection}", []).append(vector)

    def upsert(one: tuple[str, list[dict[str, Any]]]) -> None:
        for start in range(0, len(one[1]), _BATCH):
            index.upsert(vectors=one[1][start : start + _BATCH], namespace=one[0], show_progress=False)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(upsert, by_namespace.items()))


def fill_redis(conn: Connection, settings: Mapping[str, Any], scale: float) -> None:
    """Sessions, kept answers, a stream with its consumer group, and counters of every tenant."""
    with redis_client(settings) as redis, redis.pipeline(transaction=False) as pipe:
        pipe.flushdb()
        for tenant, count in _shares(conn, SESSIONS * scale):
            for n in range(count):
                value = json.dumps({"cursor": n, "filters": ["open"]}, sort_keys=True)
                pipe.set(f"session:{tenant}:seed-{n}", value, ex=_DAY_S)
        for tenant, count in _shares(conn, ANSWERS * scale):
            for n in range(count):
                key = hashlib.sha256(f"seed {n}".encode()).hexdigest()[:32]
                answer = {"answer": f"Answer {n}.", "cites": []}
                pipe.set(f"answer:{tenant}:{key}", json.dumps(answer), ex=_DAY_S)
        for tenant, count in _shares(conn, EVENTS * scale):
            for n in range(count):
                pipe.xadd(f"events:{tenant}", {"kind": "document.put", "request": f"seed-{n}"})
            pipe.xgroup_create(f"events:{tenant}", "workers", id="0")
            pipe.set(f"usage:{tenant}:web:document.put", count)
            pipe.set(f"usage:{tenant}:web:ask", 3 * count)
        pipe.execute()


def _shares(conn: Connection, total: float) -> Iterator[tuple[str, int]]:
    """The tenants that are here, and their part of ``total`` by weight, at least one."""
    here = {id for (id,) in conn.execute("SELECT id FROM tenants")}
    tenants = [tenant for tenant in (*TENANTS, *RESIDENTS) if tenant.id in here]
    weight = sum(tenant.weight for tenant in TENANTS)
    for tenant in tenants:
        yield tenant.id, max(1, round(total * tenant.weight / weight))


#: What fills a store, given the application's database and the store's settings.
FILLERS: Mapping[Part, Callable[[Connection, Mapping[str, Any], float], None]] = {
    Part.REDIS: fill_redis,
    Part.OBJECTS: fill_objects,
    Part.VECTORS: fill_vectors,
}
