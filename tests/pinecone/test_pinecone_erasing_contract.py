"""Pinecone keeps what every store promises that is erased and searched; the emulator stands for the service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pinecone import Pinecone
from pinecone_pair import API_KEY, vector

from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.pinecone import doomed
from tenant_lifecycle.stores.pinecone.store import PineconeStore
from tenant_lifecycle.stores.registry import no_ids
from tenant_lifecycle.testing.erasing_contract import ErasingContract

RULES = KeyMap(shared={"everyone": Shared(Template.parse("everyone"), ("tenant",))})


class VectorBench:
    """Vectors of a namespace that all tenants share, in a project of its own."""

    def __init__(self, server: PineconeServer) -> None:
        self.server = server
        self.control = Pinecone(API_KEY, host=server.host)
        for one in self.control.indexes.list():
            self.control.indexes.delete(one.name)
        self.name = f"kit-{uuid.uuid4().hex[:8]}"
        fields = {"values": {"type": "dense_vector", "dimension": 4, "metric": "cosine"}}
        self.control.indexes.create(name=self.name, schema={"fields": fields})
        self.index: Any = self.control.index(name=self.name)
        self.eraser, self.verifier = self.replaced_eraser(), self.replaced_eraser()
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "no rule": lambda text: self._write("shadow", "x", text=text.decode()),
            "a list": lambda text: self._write("everyone", "x", tenant="x", some=["a", text.decode()]),
        }

    def put(self, tenant: str, item: str, content: str) -> None:
        self._write("everyone", self._id(tenant, item), tenant=tenant, content=content)

    def content(self, tenant: str, item: str) -> str | None:
        id_ = self._id(tenant, item)
        found = self.index.fetch(ids=[id_], namespace="everyone").vectors.get(id_)
        return str(found.metadata["content"]) if found is not None else None

    def blinded(self) -> PineconeStore:
        return self._open("wrong")

    def replaced_eraser(self) -> PineconeStore:
        return self._open(API_KEY)

    def _open(self, api_key: str) -> PineconeStore:
        return PineconeStore.from_config(
            name="vectors", environment="blue",
            settings={"api_key": api_key, "index": self.name, "host": self.server.host},
            ownership=OwnershipMap(keys={"vectors": RULES}), ids=no_ids,
        )  # fmt: skip

    def _write(self, namespace: str, id_: str, **metadata: Any) -> None:
        self.index.upsert(vectors=[vector(id_, **metadata)], namespace=namespace)

    def _id(self, tenant: str, item: str) -> str:
        """Ids are ASCII."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant}/{item}"))


@pytest.fixture(scope="module")
def project() -> Iterator[PineconeServer]:
    with PineconeServer(index=None, api_key=API_KEY) as server:
        yield server


class TestPinecone(ErasingContract):
    @pytest.fixture
    def bench(self, project: PineconeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[VectorBench]:
        monkeypatch.setattr(doomed, "BATCH", 2)
        bench = VectorBench(project)
        yield bench
        bench.index.close()
        bench.control.close()
