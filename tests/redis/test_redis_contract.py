"""The contract of keyed stores, held by Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis_pair import Pair

from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.testing.store_contract import KeyedStoreContract

KEYS = KeyMap(
    {
        "docs": Family(Template.parse("docs/{tenant}/*")),
        "cache": Family(Template.parse("cache/{tenant}/*"), treatment=Treatment.SKIP),
    }
)


class RedisBench:
    """Two real servers."""

    def __init__(self, pair: Pair) -> None:
        self.source, self.target = pair.source, pair.target
        self._clients = {"blue": pair.blue, "green": pair.green}

    def key(self, tenant: str, item: str, family: str = "docs") -> bytes:
        return f"{family}/{tenant}/{item}".encode()

    def put(self, side: Store, tenant: str, item: str, content: str, family: str = "docs") -> None:
        self._clients[side.environment].set(self.key(tenant, item, family), content)

    def drop(self, side: Store, tenant: str, item: str, family: str = "docs") -> None:
        self._clients[side.environment].delete(self.key(tenant, item, family))

    def content(self, side: Store, tenant: str, item: str, family: str = "docs") -> str | None:
        found = self._clients[side.environment].get(self.key(tenant, item, family))
        return None if found is None else found.decode()


class TestRedisStore(KeyedStoreContract):
    @pytest.fixture
    def bench(self, make_pair: Callable[..., Pair]) -> RedisBench:
        return RedisBench(make_pair(keys=KEYS))
