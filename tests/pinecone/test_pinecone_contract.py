"""Pinecone keeps what every keyed store promises.

Names of namespaces are ASCII, so the tenants' documents lie under slugs that a set of ids gives, as an application
with such tenants would do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from pinecone.index import Index
from pinecone_pair import API_KEY, Pair

from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds, Treatment
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.pinecone import keys
from tenant_lifecycle.stores.pinecone.store import PineconeStore
from tenant_lifecycle.testing.store_contract import KeyedStoreContract

FAMILIES = {
    "docs": Family(Template.parse("docs/{slug}")),
    "cache": Family(Template.parse("cache/{slug}"), treatment=Treatment.SKIP),
}


class VectorBench:
    """The contract's bench over two emulators."""

    def __init__(self, pair: Pair) -> None:
        stores = []
        for environment, server in zip(("blue", "green"), pair.servers, strict=True):
            stores.append(
                PineconeStore.from_config(
                    name="vectors",
                    environment=environment,
                    settings={"api_key": API_KEY, "index": pair.name, "host": server.host},
                    ownership=OwnershipMap(keys={"vectors": KeyMap(FAMILIES)}),
                    ids=lambda tenant: TenantIds({"slug": frozenset([quote(tenant, safe="")])}),
                )
            )
        self.source, self.target = stores
        self._indexes: dict[Any, Index] = {self.source: pair.blue, self.target: pair.green}

    def _namespace(self, tenant: str, family: str) -> str:
        return f"{family}/{quote(tenant, safe='')}"

    def key(self, tenant: str, item: str, family: str = "docs") -> bytes:
        return keys.encode(self._namespace(tenant, family), item)

    def put(self, side: Store, tenant: str, item: str, content: str, family: str = "docs") -> None:
        body = {"id": item, "values": [1.0, 2.0, 3.0, 4.0], "metadata": {"content": content}}
        self._indexes[side].upsert(vectors=[body], namespace=self._namespace(tenant, family))

    def drop(self, side: Store, tenant: str, item: str, family: str = "docs") -> None:
        self._indexes[side].delete(ids=[item], namespace=self._namespace(tenant, family))

    def content(self, side: Store, tenant: str, item: str, family: str = "docs") -> str | None:
        found = self._indexes[side].fetch(ids=[item], namespace=self._namespace(tenant, family)).vectors
        return (found[item].metadata or {})["content"] if item in found else None


class TestPinecone(KeyedStoreContract):
    @pytest.fixture
    def bench(self, new_pair: Callable[..., Pair]) -> Any:
        bench = VectorBench(new_pair())
        yield bench
        bench.source.close()
        bench.target.close()


def test_the_servers_of_the_bench_are_real(blue_server: PineconeServer, green_server: PineconeServer) -> None:
    assert blue_server.pid and green_server.pid and blue_server.pid != green_server.pid
