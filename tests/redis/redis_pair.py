"""Two servers, the rules of a sample application, and a tenant's keys of every type."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import redis

from tenant_lifecycle.model.keymap import Family, IdSet, KeyMap, TenantIds, Treatment
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.base import Compared, Feed, Keys
from tenant_lifecycle.stores.redis.store import RedisStore

US, THEM = TenantId("1"), TenantId("12")
KEYS = KeyMap(
    {
        "answers": Family(Template.parse("answer:{tenant}:*")),
        "profile": Family(Template.parse("profile:{tenant}")),
        "vectors": Family(Template.parse("vec:{collection}:*")),
        "named": Family(Template.parse("blob:*"), IdSet(TableName("public", "blobs"), "key")),
        "warm": Family(Template.parse("warm:{tenant}:*"), treatment=Treatment.WARM),
        "sessions": Family(Template.parse("session:{tenant}:*"), treatment=Treatment.SKIP),
    },
    (Template.parse("celery*"),),
)
NAMED = IdSet(TableName("public", "blobs"), "key")


@dataclass
class Pair:
    """Blue and green: servers, plain clients, and stores over them."""

    servers: tuple[RedisServer, RedisServer]
    keys: KeyMap = KEYS
    #: What the relational store would say.
    ids: dict[str, TenantIds] = field(default_factory=dict)
    stores: list[RedisStore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.blue, self.green = (client(server) for server in self.servers)
        self.source, self.target = (
            self.store(server, environment)
            for server, environment in zip(self.servers, ("blue", "green"), strict=True)
        )

    def store(self, server: RedisServer, environment: str = "blue", url: str = "") -> RedisStore:
        store = RedisStore.from_config(
            name="redis",
            environment=environment,
            settings={"url": url or server.url()},
            ownership=OwnershipMap(keys={"redis": self.keys}),
            ids=lambda tenant: self.ids.get(tenant, TenantIds()),
        )
        self.stores.append(store)
        return store

    def feed(self, tenant: str = US, token: int = 1, name: str = "move_1") -> Feed:
        return Feed(name, TenantId(tenant), token)

    def copy(self, feed: Feed | None = None) -> int:
        """Copy everything; return how many keys."""
        feed = feed or self.feed()
        return sum(
            self.source.copy_part(self.target, feed, part, go_on).items
            for part in self.source.split(self.target, feed)
        )

    def compare(self, tenant: str = US) -> dict[str, Compared]:
        return {
            name: self.source.compare(self.target, TenantId(tenant), name, go_on)
            for name in self.source.sets(TenantId(tenant))
        }

    def suspects(self, tenant: str = US) -> dict[str, set[bytes]]:
        """Keys that a full comparison names, by family."""
        return {
            name: set(compared.suspects[name])
            for name, compared in self.compare(tenant).items()
            if compared.suspects
        }

    def differences(self, keys: Keys, tenant: str = US) -> list[tuple[bytes, str, tuple[str, ...]]]:
        """What `compare_keys` finds, in short."""
        found = self.source.compare_keys(self.target, TenantId(tenant), keys)
        return [(one.key, one.kind.name, one.fields) for one in found]

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.blue.close()
        self.green.close()


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, protocol=2, socket_timeout=30)


def go_on() -> None:
    """A check that never objects."""


def fill_every_type(db: Any, prefix: bytes = b"answer:1:") -> list[bytes]:
    """One key of each type and encoding below the prefix; returns the keys."""
    db.set(prefix + b"text", b"hello \x00\xff world")
    db.set(prefix + b"number", 12345)
    db.set(prefix + b"long", b"abc" * 5_000)
    db.setbit(prefix + b"bits", 1_000, 1)
    db.pfadd(prefix + b"hll", *(str(n) for n in range(2_000)))
    db.set(prefix + b"fading", "soon", px=3_600_000)
    db.rpush(prefix + b"list", *(b"%d" % n for n in range(3_000)))
    db.hset(prefix + b"small hash", mapping={b"f\x00": b"v", b"g": b""})
    db.hset(prefix + b"hash", mapping={b"f%d" % n: b"v%d" % n for n in range(1_500)})
    db.sadd(prefix + b"ints", *range(100))
    db.sadd(prefix + b"set", *(b"m%d" % n for n in range(1_500)))
    db.zadd(
        prefix + b"zset",
        {b"m%d" % n: n / 7 for n in range(1_500)} | {b"inf": float("inf"), b"-": float("-inf")},
    )
    db.geoadd(prefix + b"geo", (13.361389, 38.115556, "Palermo"))
    fill_stream(db, prefix + b"stream")
    return sorted(key for key in db.scan_iter(count=10_000) if key.startswith(prefix))


def fill_stream(db: Any, key: bytes) -> None:
    """A stream with deleted entries, two groups, consumers with and without pending entries."""
    for n in range(50):
        db.xadd(key, {b"n": b"%d" % n, b"\xff": b"\x00"}, id=f"{1000 + n}-1")
    db.xdel(key, "1049-1", "1003-1")
    db.xgroup_create(key, "workers", "0")
    db.xgroup_create(key, "idle", "1010-1")
    db.xgroup_createconsumer(key, "workers", "lazy")
    db.xreadgroup("workers", "alice", {key: ">"}, count=5)
    db.xreadgroup("workers", "bob", {key: ">"}, count=3)
    db.xclaim(key, "workers", "bob", 0, ["1000-1"])
    db.xack(key, "workers", "1001-1")


def wait_until(condition: Any, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)
