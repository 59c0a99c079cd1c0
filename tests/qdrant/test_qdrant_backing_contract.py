"""Qdrant keeps what every store promises that is backed up and restored to, on the client's local mode.

That mode lives in one process, so nothing can be killed there: `test_qdrant_backup` stops a promotion before every one
of its writes instead.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from qdrant_client import models

from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.stores.qdrant.store import QdrantStore
from tenant_lifecycle.testing.backing_contract import BackingBench, BackingContract

FAMILIES = {"docs": Family(Template.parse("docs-{slug}"))}


def slug(tenant: str) -> str:
    return quote(tenant, safe="").replace("%", "_")


class PointBench:
    atomic = False

    def __init__(self, store: QdrantStore) -> None:
        self.store: Any = store
        self._client = store.side.client._qdrant

    def put(self, tenant: str, item: str, content: str) -> None:
        self._upsert(tenant, [(item, content)])

    def _upsert(self, tenant: str, items: Sequence[tuple[str, str]]) -> None:
        name = f"docs-{slug(tenant)}"
        if not self._client.collection_exists(name):
            self._client.create_collection(name, models.VectorParams(size=2, distance=models.Distance.DOT))
        points = [
            models.PointStruct(id=_id(item), vector=[0.1, 1 / 3], payload={"content": content})
            for item, content in items
        ]
        self._client.upsert(name, points)

    def drop(self, tenant: str, item: str) -> None:
        self._client.delete(f"docs-{slug(tenant)}", [_id(item)])

    def content(self, tenant: str, item: str) -> str | None:
        found = self._client.retrieve(f"docs-{slug(tenant)}", [_id(item)], with_payload=True)
        return str((found[0].payload or {})["content"]) if found else None

    def promoting(self, preview: str, writing: Writing) -> Sequence[str]:
        raise NotImplementedError("the local mode lives in one process")

    def many(self, tenant: str, count: int) -> None:
        self._upsert(tenant, [(f"m{n}", str(n)) for n in range(count)])


def _id(item: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, item))


class TestQdrant(BackingContract):
    @pytest.fixture
    def bench(self) -> Iterator[Any]:
        store = QdrantStore.from_config(
            name="vectors", environment="blue", settings={"path": ":memory:"},
            ownership=OwnershipMap(keys={"vectors": KeyMap(FAMILIES)}),
            ids=lambda tenant: TenantIds({"slug": frozenset([slug(tenant)])}),
        )  # fmt: skip
        yield PointBench(store)
        store.close()

    @pytest.mark.skip(reason="the client's local mode lives in one process; see test_qdrant_backup")
    def test_killed_anywhere_a_promotion_can_be_told_again(self, bench: BackingBench) -> None: ...
