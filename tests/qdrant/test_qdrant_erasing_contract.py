"""Qdrant keeps what every store promises that is erased and searched; on the client's local mode."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from qdrant_client import models
from test_qdrant_store import open_store

from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.stores.qdrant import doomed
from tenant_lifecycle.stores.qdrant.side import Side
from tenant_lifecycle.stores.qdrant.store import QdrantStore
from tenant_lifecycle.stores.registry import no_ids
from tenant_lifecycle.testing.erasing_contract import ErasingContract


class PointBench:
    """Points of a collection that all tenants share. Local mode has one client, so all stores are over it."""

    def __init__(self) -> None:
        self.eraser = open_store("blue", collection="everyone", tenant_field="tenant")
        self.api: Any = self.eraser.side.client._qdrant
        self._make("everyone")
        self.verifier = self.replaced_eraser()
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "no rule": lambda text: self._write("shadow", {"text": text.decode()}),
            "deep in a payload": lambda text: self._write(
                "everyone", {"tenant": "x", "a": [{text.decode(): 1}]}
            ),
        }

    def put(self, tenant: str, item: str, content: str) -> None:
        self._write("everyone", {"tenant": tenant, "item": item, "content": content}, f"{tenant}/{item}")

    def content(self, tenant: str, item: str) -> str | None:
        found = self.api.retrieve("everyone", [self._id(f"{tenant}/{item}")], with_payload=True)
        return str(found[0].payload["content"]) if found else None

    def blinded(self) -> QdrantStore:
        return open_store("blue", path="", url="http://127.0.0.1:1")

    def replaced_eraser(self) -> QdrantStore:
        return QdrantStore(Side(self.eraser.side.client, KeyMap(), no_ids, "everyone", "tenant"), "blue")

    def _make(self, collection: str) -> None:
        params = models.VectorParams(size=1, distance=models.Distance.DOT)
        self.api.create_collection(collection, vectors_config=params)

    def _write(self, collection: str, payload: dict[str, Any], name: str = "") -> None:
        if not self.api.collection_exists(collection):
            self._make(collection)
        id_ = self._id(name) if name else str(uuid.uuid4())
        self.api.upsert(collection, [models.PointStruct(id=id_, vector=[1.0], payload=payload)])

    def _id(self, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class TestQdrant(ErasingContract):
    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[PointBench]:
        monkeypatch.setattr(doomed, "BATCH", 2)
        bench = PointBench()
        yield bench
        bench.eraser.close()
