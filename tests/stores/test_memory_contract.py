"""The contract of keyed stores, held by the smallest store there is."""

from __future__ import annotations

import pytest

from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.testing.memory import MemoryServer, MemoryStore
from tenant_lifecycle.testing.store_contract import KeyedStoreContract

KEYS = KeyMap(
    {
        "docs": Family(Template.parse("docs/{tenant}/*")),
        "cache": Family(Template.parse("cache/{tenant}/*"), treatment=Treatment.SKIP),
    }
)


class MemoryBench:
    """Two servers in this process."""

    def __init__(self) -> None:
        self.source = MemoryStore(MemoryServer(), "blue", "memory", KEYS)
        self.target = MemoryStore(MemoryServer(), "green", "memory", KEYS)

    def key(self, tenant: str, item: str, family: str = "docs") -> bytes:
        return f"{family}/{tenant}/{item}".encode()

    def put(self, side: Store, tenant: str, item: str, content: str, family: str = "docs") -> None:
        self._items(side)[f"{family}/{tenant}/{item}"] = content.encode()

    def drop(self, side: Store, tenant: str, item: str, family: str = "docs") -> None:
        del self._items(side)[f"{family}/{tenant}/{item}"]

    def content(self, side: Store, tenant: str, item: str, family: str = "docs") -> str | None:
        found = self._items(side).get(f"{family}/{tenant}/{item}")
        return None if found is None else found.decode()

    @staticmethod
    def _items(side: Store) -> dict[str, bytes]:
        assert isinstance(side, MemoryStore)
        return side.server.items


class TestMemoryStore(KeyedStoreContract):
    @pytest.fixture
    def bench(self) -> MemoryBench:
        return MemoryBench()
