"""Redis keeps what every store promises that is backed up and restored to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis_pair import Pair

from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.testing import backing_contract
from tenant_lifecycle.testing.backing_contract import BackingContract

KEYS = KeyMap(
    {
        "answers": Family(Template.parse("answer:{tenant}:*")),
        "again": Family(Template.parse("again:{tenant}"), treatment=Treatment.SKIP),
    }
)
_PROMOTER = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from test_redis_backing_contract import KEYS
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.stores.redis.store import RedisStore
url, name, preview, tenant, token = sys.argv[3:]
store = RedisStore.from_config(name="redis", environment="blue", settings={"url": url},
    ownership=OwnershipMap(keys={"redis": KEYS}), ids=lambda tenant: TenantIds())
store.open_preview(tenant, preview, {}, {}).promote(Writing(name, tenant, int(token)), None, lambda: None)
"""


class RedisBench:
    atomic = False

    def __init__(self, pair: Pair) -> None:
        self.store: Any = pair.source
        self._pair = pair

    def put(self, tenant: str, item: str, content: str) -> None:
        self._pair.blue.hset(f"answer:{tenant}:{item}", "content", content)

    def drop(self, tenant: str, item: str) -> None:
        self._pair.blue.delete(f"answer:{tenant}:{item}")

    def content(self, tenant: str, item: str) -> str | None:
        found = self._pair.blue.hget(f"answer:{tenant}:{item}", "content")
        return found.decode() if found is not None else None

    def promoting(self, preview: str, writing: Writing) -> Sequence[str]:
        here, url = Path(__file__).parent, self._pair.servers[0].url()
        arguments = (
            str(here),
            str(here.parent),
            url,
            writing.name,
            preview,
            writing.tenant,
            str(writing.token),
        )
        return [sys.executable, "-c", _PROMOTER, *arguments]

    def many(self, tenant: str, count: int) -> None:
        with self._pair.blue.pipeline() as pipe:
            for n in range(count):
                pipe.set(f"answer:{tenant}:m{n}", n)
            pipe.execute()


class TestRedis(BackingContract):
    @pytest.fixture
    def bench(self, make_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(backing_contract, "KILLS", 3)
        return RedisBench(make_pair(keys=KEYS))
