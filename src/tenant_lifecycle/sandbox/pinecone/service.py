"""What the emulator does with a request: one method per operation of the interface.

Requests are handled one after the other, so each is atomic.
"""

from __future__ import annotations

import base64
import time
from bisect import bisect_right
from typing import Any

import orjson

from tenant_lifecycle.sandbox.pinecone import stored
from tenant_lifecycle.sandbox.pinecone.answers import (
    Answer,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    committed,
    reconciled,
)
from tenant_lifecycle.sandbox.pinecone.filters import matches
from tenant_lifecycle.sandbox.pinecone.indexes import Index
from tenant_lifecycle.sandbox.pinecone.records import Namespace, Record, Write
from tenant_lifecycle.sandbox.pinecone.scores import nearest

_MOST_UPSERTED, _MOST_UPSERT_BYTES, _MOST_IDS = 1_000, 2 * 1024 * 1024, 1_000
Query = dict[str, list[str]]


class Service:
    """All indexes."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.indexes: dict[str, Index] = {}
        #: Seconds before reads see a write.
        self.stale_s = 0.0

    # -- indexes

    def create_index(self, body: dict[str, Any]) -> Answer:
        index = Index(body, f"{self._address}/index/{body.get('name')}")
        if index.name in self.indexes:
            raise Conflict("there is an index of that name")
        self.indexes[index.name] = index
        return Answer(index.model(), 201)

    def list_indexes(self) -> Answer:
        return Answer({"indexes": [index.model() for index in self.indexes.values()]})

    def describe_index(self, name: str) -> Answer:
        return Answer(self._index(name).model())

    def configure_index(self, name: str, body: dict[str, Any]) -> Answer:
        index = self._index(name)
        index.protection = str(body.get("deletion_protection") or index.protection)
        index.tags = {**(index.tags or {}), **(body.get("tags") or {})} or None
        return Answer(index.model())

    def delete_index(self, name: str) -> Answer:
        if self._index(name).protection == "enabled":
            raise Forbidden("deletion protection is enabled for this index")
        del self.indexes[name]
        return Answer(status=202)

    # -- writes

    def upsert(self, index: Index, body: dict[str, Any], size: int) -> Answer:
        vectors = body.get("vectors") or []
        if not 1 <= len(vectors) <= _MOST_UPSERTED or size > _MOST_UPSERT_BYTES:
            raise BadRequest("an upsert takes 1 to 1000 vectors and at most 2 MB")
        records = {one.id: one for one in (stored.record(index, vector) for vector in vectors)}
        number = self._write(index, body, lambda held: held.update(records), create=True)
        return committed(number, {"upsertedCount": len(vectors)})

    def update(self, index: Index, body: dict[str, Any]) -> Answer:
        values = stored.dense(index, body["values"], optional=False) if body.get("values") else None
        sparse = stored.sparse_values(index, body["sparseValues"]) if body.get("sparseValues") else None
        metadata = stored.metadata(body.get("setMetadata"))
        wanted, chosen = body.get("id"), body.get("filter")
        if (wanted is None) is (chosen is None):
            raise BadRequest("an update names an id or a filter")
        namespace = index.namespace(body.get("namespace", ""))
        if namespace is None:
            raise NotFound("namespace not found")
        found = _chosen(namespace.visible(time.monotonic()), wanted, chosen)
        if body.get("dryRun"):
            return Answer({"matchedRecords": len(found)})

        def change(held: dict[str, Record]) -> None:
            for one in _chosen(held, wanted, chosen):
                held[one.id] = Record(
                    one.id,
                    one.values if values is None else values,
                    one.indices if sparse is None else sparse[0],
                    one.weights if sparse is None else sparse[1],
                    {**(one.metadata or {}), **metadata} if metadata else one.metadata,
                )

        number = self._write(index, body, change)
        return committed(number, {"matchedRecords": len(found)} if chosen is not None else {})

    def delete(self, index: Index, body: dict[str, Any]) -> Answer:
        ids, everything, chosen = body.get("ids"), bool(body.get("deleteAll")), body.get("filter")
        if (bool(ids) + everything + bool(chosen)) != 1 or len(ids or []) > _MOST_IDS:
            raise BadRequest("a deletion names up to 1000 ids, or a filter, or everything")
        matches({}, chosen)

        def remove(held: dict[str, Record]) -> None:
            doomed = ids or [one.id for one in held.values() if everything or matches(one.metadata, chosen)]
            for id in doomed:
                held.pop(id, None)

        return committed(self._write(index, body, remove))

    def _write(self, index: Index, body: dict[str, Any], write: Write, *, create: bool = False) -> int:
        namespace = index.namespace(body.get("namespace", ""), create=create)
        if namespace is None:
            raise NotFound("namespace not found")
        return namespace.write(write, time.monotonic(), self.stale_s)

    # -- reads

    def fetch(self, index: Index, query: Query) -> Answer:
        ids, name = query.get("ids", []), _one(query, "namespace")
        if not 1 <= len(ids) <= _MOST_IDS:
            raise BadRequest("a fetch names 1 to 1000 ids")
        held = _visible(index.namespace(name))
        found = {id: held[id].as_dict() for id in ids if id in held}
        return Answer({"vectors": found, "namespace": name, "usage": {"readUnits": 1}})

    def fetch_by_metadata(self, index: Index, body: dict[str, Any]) -> Answer:
        namespace = index.namespace(body.get("namespace", ""))
        held = _visible(namespace)
        ids = [id for id in sorted(held) if matches(held[id].metadata, body.get("filter"))]
        page, rest = _page(ids, int(body.get("limit") or 100), body.get("paginationToken"))
        vectors = {id: held[id].as_dict() for id in page}
        return Answer({"vectors": vectors, "namespace": body.get("namespace", ""), **rest})

    def list(self, index: Index, query: Query) -> Answer:
        namespace, prefix = index.namespace(_one(query, "namespace")), _one(query, "prefix")
        ids = namespace.ids(time.monotonic()) if namespace else []
        if prefix:
            ids = [id for id in ids if id.startswith(prefix)]
        page, rest = _page(ids, _limit(query), _one(query, "paginationToken"))
        return Answer({"vectors": [{"id": id} for id in page], "namespace": _one(query, "namespace"), **rest})

    def query(self, index: Index, body: dict[str, Any]) -> Answer:
        now = time.monotonic()
        namespace = index.namespace(body.get("namespace", ""))
        held = _visible(namespace)
        vector, sparse = body.get("vector"), body.get("sparseVector")
        if body.get("id") is not None:
            if body["id"] not in held:
                raise NotFound("no vector has that id")
            model = held[body["id"]]
            vector = model.values.tolist() or None
            sparse = {"indices": model.indices, "values": model.weights} if model.indices else None
        dense = stored.dense(index, vector, optional=False) if vector else None
        chosen = [one for one in held.values() if matches(one.metadata, body.get("filter"))]
        found = nearest(chosen, index.metric, dense, sparse, int(body.get("topK") or 10))
        shown = {"values": bool(body.get("includeValues")), "metadata": bool(body.get("includeMetadata"))}
        answer = {
            "matches": [{**one.as_dict(**shown), "score": score} for one, score in found],
            "namespace": body.get("namespace", ""),
            "usage": {"readUnits": 1},
        }
        return reconciled(namespace.reconciled(now) if namespace else 0, answer)

    def describe_index_stats(self, index: Index, body: dict[str, Any]) -> Answer:
        counts = {
            name: sum(1 for one in _visible(space).values() if matches(one.metadata, body.get("filter")))
            for name, space in index.namespaces.items()
            if space.reconciled(time.monotonic()) and space.shown
        }
        return Answer(
            {
                "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
                "dimension": index.dimension or None,
                "indexFullness": 0,
                "totalVectorCount": sum(counts.values()),
                "metric": index.metric,
                "vectorType": "dense" if index.dimension else "sparse",
            }
        )

    # -- namespaces

    def create_namespace(self, index: Index, body: dict[str, Any]) -> Answer:
        if index.namespace(str(body.get("name") or "")) is not None:
            raise Conflict("there is a namespace of that name")
        namespace = index.namespace(str(body.get("name") or ""), create=True)
        assert namespace is not None
        namespace.schema = body.get("schema")
        namespace.write(lambda _held: None, time.monotonic(), self.stale_s)
        return Answer(_description(namespace), 201)

    def list_namespaces(self, index: Index, query: Query) -> Answer:
        prefix = _one(query, "prefix")
        now = time.monotonic()
        names = sorted(
            name
            for name, space in index.namespaces.items()
            if name.startswith(prefix) and space.reconciled(now) and space.shown
        )
        page, rest = _page(names, _limit(query), _one(query, "paginationToken"))
        spaces = [_description(index.namespaces[name]) for name in page]
        return Answer({"namespaces": spaces, "total_count": len(names), **rest})

    def describe_namespace(self, index: Index, name: str) -> Answer:
        namespace = index.namespace(name)
        if namespace is None:
            raise NotFound("namespace not found")
        return Answer(_description(namespace))

    def delete_namespace(self, index: Index, name: str) -> Answer:
        namespace = index.namespace(name)
        if namespace is None:
            raise NotFound("namespace not found")
        namespace.schema = None
        namespace.write(lambda held: held.clear(), time.monotonic(), self.stale_s, exists=False)
        return Answer(status=202)

    # -- what all of them use

    def _index(self, name: str) -> Index:
        if name not in self.indexes:
            raise NotFound("index not found")
        return self.indexes[name]


def _visible(namespace: Namespace | None) -> dict[str, Record]:
    return namespace.visible(time.monotonic()) if namespace else {}


def _chosen(held: dict[str, Record], id: str | None, chosen: dict[str, Any] | None) -> list[Record]:
    if id is not None:
        return [held[id]] if id in held else []
    return [one for one in held.values() if matches(one.metadata, chosen)]


def _description(namespace: Namespace) -> dict[str, Any]:
    held = _visible(namespace)
    size = sum(len(one.values) * 4 + len(orjson.dumps(one.metadata or {})) for one in held.values())
    # The service gives both numbers as texts.
    described: dict[str, Any] = {
        "name": namespace.name,
        "record_count": str(len(held)),
        "size_bytes": str(size),
    }
    return {**described, "schema": namespace.schema} if namespace.schema else described


def _one(query: Query, name: str) -> str:
    return query.get(name, [""])[0]


def _limit(query: Query) -> int:
    limit = int(_one(query, "limit") or 100)
    if not 1 <= limit <= 100:
        raise BadRequest("the limit of a page is 1 to 100")
    return limit


def _page(names: list[str], limit: int, token: str | None) -> tuple[list[str], dict[str, Any]]:
    """Names after the one in the token, and the token for the next page if there is one."""
    first = 0
    if token:
        after = base64.urlsafe_b64decode(token).decode()
        first = bisect_right(names, after)
    page = names[first : first + limit]
    if first + limit >= len(names):
        return page, {}
    return page, {"pagination": {"next": base64.urlsafe_b64encode(page[-1].encode()).decode()}}
