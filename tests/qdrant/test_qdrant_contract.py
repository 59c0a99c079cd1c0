"""Qdrant keeps what every keyed store promises, with a collection for each tenant and family."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from qdrant_client import QdrantClient, models

from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds, Treatment
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.qdrant import keys
from tenant_lifecycle.stores.qdrant.store import QdrantStore
from tenant_lifecycle.testing.store_contract import KeyedStoreContract

FAMILIES = {
    "docs": Family(Template.parse("docs-{slug}")),
    "cache": Family(Template.parse("cache-{slug}"), treatment=Treatment.SKIP),
}


def _collection(tenant: str, family: str) -> str:
    """Names of collections may not have every letter, so tenants have slugs, as in an application."""
    return f"{family}-{quote(tenant, safe='')}"


class CollectionBench:
    """The contract's bench: a collection for each tenant and family."""

    def __init__(self) -> None:
        self.source, self.target = (
            QdrantStore.from_config(
                name="vectors",
                environment=environment,
                settings={"path": ":memory:"},
                ownership=OwnershipMap(keys={"vectors": KeyMap(FAMILIES)}),
                ids=lambda tenant: TenantIds({"slug": frozenset([quote(tenant, safe="")])}),
            )
            for environment in ("blue", "green")
        )

    def _id(self, item: str) -> str:
        return str(uuid.UUID(bytes=hashlib.sha256(item.encode()).digest()[:16]))

    def _client(self, side: Any) -> QdrantClient:
        client: QdrantClient = side.side.client._qdrant
        return client

    def key(self, tenant: str, item: str, family: str = "docs") -> bytes:
        return keys.encode(_collection(tenant, family), self._id(item))

    def put(self, side: Store, tenant: str, item: str, content: str, family: str = "docs") -> None:
        client, collection = self._client(side), _collection(tenant, family)
        if not client.collection_exists(collection):
            client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.COSINE))
        point = models.PointStruct(id=self._id(item), vector=[1.0, 2.0], payload={"content": content})
        client.upsert(collection, [point])

    def drop(self, side: Store, tenant: str, item: str, family: str = "docs") -> None:
        self._client(side).delete(_collection(tenant, family), [self._id(item)])

    def content(self, side: Store, tenant: str, item: str, family: str = "docs") -> str | None:
        client, collection = self._client(side), _collection(tenant, family)
        if not client.collection_exists(collection):
            return None
        found = client.retrieve(collection, [self._id(item)])
        return (found[0].payload or {})["content"] if found else None


class TestQdrant(KeyedStoreContract):
    @pytest.fixture
    def bench(self) -> Any:
        bench = CollectionBench()
        yield bench
        bench.source.close()
        bench.target.close()
