"""Redis keeps what every store promises that is erased and searched."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping

import pytest
from redis_pair import Pair

from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.redis import doomed
from tenant_lifecycle.stores.redis.store import RedisStore
from tenant_lifecycle.stores.redis.whose import key_of
from tenant_lifecycle.testing.erasing_contract import ErasingContract

OWN = KeyMap({"docs": Family(Template.parse("doc:{tenant}:*"))})
STREAM = KeyMap(
    {"none": Family(Template.parse("none:{tenant}"))},
    shared={"events": Shared(Template.parse("events"), ("tenant",))},
)


class KeyBench:
    """Items are keys of the tenant's own."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.db = pair.blue
        self.eraser = pair.source
        self.verifier = pair.store(pair.servers[0])
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "no rule": lambda text: self.db.set("shadow:report", text) and None,
            "a list": lambda text: self.db.rpush("shadow:list", text) and None,
            "a queued task": self._task,
            "another database": self._elsewhere,
            "a deleted entry": self._deleted,
        }

    def put(self, tenant: str, item: str, content: str) -> None:
        self.db.set(key_of(f"doc:{tenant}:{item}"), content)

    def content(self, tenant: str, item: str) -> str | None:
        found = self.db.get(key_of(f"doc:{tenant}:{item}"))
        return found.decode() if isinstance(found, bytes) else None

    def blinded(self) -> RedisStore:
        self.db.acl_setuser("seesless", enabled=True, passwords=["+pw"], keys=["doc:*"], commands=["+@all"])
        return self.pair.store(
            self.pair.servers[0], url=f"redis://seesless:pw@127.0.0.1:{self.pair.servers[0].port}/0"
        )

    def replaced_eraser(self) -> RedisStore:
        return self.pair.store(self.pair.servers[0])

    def _task(self, text: bytes) -> None:
        """As Celery puts it: arguments as base64 in the body."""
        body = base64.b64encode(json.dumps([[], {"text": text.decode()}, {}]).encode()).decode()
        self.db.rpush("celery", json.dumps({"body": body, "headers": {"task": "index", "argsrepr": "()"}}))

    def _elsewhere(self, text: bytes) -> None:
        self.pair.blue.execute_command("SELECT", 5)
        self.pair.blue.set("copy", text)
        self.pair.blue.execute_command("SELECT", 0)

    def _deleted(self, text: bytes) -> None:
        """Deleted by XDEL, beside an entry that stays."""
        self.db.xadd("shadow:stream", {"k": "v"})
        self.db.xdel("shadow:stream", self.db.xadd("shadow:stream", {"text": text}))


class StreamBench(KeyBench):
    """Items are entries of one stream that all tenants share."""

    def put(self, tenant: str, item: str, content: str) -> None:
        self.db.xadd("events", {"tenant": tenant, "item": item, "content": content})

    def content(self, tenant: str, item: str) -> str | None:
        entries = [fields for _, fields in self.db.xrange("events") or []]
        mine = {b"tenant": tenant.encode(), b"item": item.encode()}
        return next((one[b"content"].decode() for one in entries if mine.items() <= one.items()), None)


class TestRedisKeys(ErasingContract):
    @pytest.fixture
    def bench(self, make_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyBench]:
        monkeypatch.setattr(doomed, "BATCH", 2)
        bench = KeyBench(make_pair(keys=OWN))
        yield bench
        bench.db.acl_deluser("seesless")


class TestRedisSharedStream(ErasingContract):
    @pytest.fixture
    def bench(self, make_pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamBench]:
        monkeypatch.setattr(doomed, "BATCH", 2)
        bench = StreamBench(make_pair(keys=STREAM))
        yield bench
        bench.db.acl_deluser("seesless")
