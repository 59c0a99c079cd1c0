"""Pinecone keeps what every store promises that is backed up and restored to; tenants have slugs, as in its other contract."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pinecone_pair import Pair
from test_pinecone_contract import VectorBench

from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.testing import backing_contract
from tenant_lifecycle.testing.backing_contract import BackingContract

_PROMOTER = """
import sys
from urllib.parse import quote
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from test_pinecone_contract import FAMILIES, API_KEY
from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.stores.pinecone.store import PineconeStore
host, index, name, preview, tenant, token = sys.argv[3:]
store = PineconeStore.from_config(name="vectors", environment="blue",
    settings={"api_key": API_KEY, "index": index, "host": host},
    ownership=OwnershipMap(keys={"vectors": KeyMap(FAMILIES)}),
    ids=lambda tenant: TenantIds({"slug": frozenset([quote(tenant, safe="")])}))
store.open_preview(tenant, preview, {}, {}).promote(Writing(name, tenant, int(token)), None, lambda: None)
"""


class BackedBench:
    """One side of the other contract's bench."""

    atomic = False

    def __init__(self, pair: Pair) -> None:
        self.both, self._pair = VectorBench(pair), pair
        self.store: Any = self.both.source

    def put(self, tenant: str, item: str, content: str) -> None:
        self.both.put(self.store, tenant, item, content)

    def drop(self, tenant: str, item: str) -> None:
        self.both.drop(self.store, tenant, item)

    def content(self, tenant: str, item: str) -> str | None:
        return self.both.content(self.store, tenant, item)

    def promoting(self, preview: str, writing: Writing) -> Sequence[str]:
        here, host = Path(__file__).parent, self._pair.servers[0].host
        arguments = (host, self._pair.name, writing.name, preview, writing.tenant, str(writing.token))
        return [sys.executable, "-c", _PROMOTER, str(here), str(here.parent), *arguments]

    def many(self, tenant: str, count: int) -> None:
        vectors = [{"id": f"m{n}", "values": [1.0, 2.0, 3.0, n]} for n in range(count)]
        for at in range(0, count, 500):
            self._pair.blue.upsert(
                vectors=vectors[at : at + 500], namespace=self.both._namespace(tenant, "docs")
            )


class TestPinecone(BackingContract):
    @pytest.fixture
    def bench(self, new_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(backing_contract, "KILLS", 2)
        bench = BackedBench(new_pair())
        yield bench
        bench.both.source.close()
        bench.both.target.close()
