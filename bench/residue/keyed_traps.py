"""The traps of Redis and Pinecone: streams, the slow log, queues, files on disk, and what no rule mentions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import redis
from pinecone import Pinecone

from bench.measure import until
from bench.residue.eyes import MARKER, NEIGHBOUR, TENANT, THEIRS, about, bytes_in, erase, searched, warned
from bench.residue.trap import Seen, Trap
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.registry import open_store

Pair = tuple[Seen, Seen]
KEYS = KeyMap(
    {"answers": Family(Template.parse("answer:{tenant}:*"))},
    shared={
        "events": Shared(Template.parse("events"), ("tenant_id",)),
        "tasks": Shared(Template.parse("celery"), ("body", "1", "tenant_id")),
    },
)
_SETTINGS = {"rdbcompression": "no", "save": "3600 1"}


@dataclass
class Cache:
    """One server of its own, as an application sees it, and our store over it."""

    server: RedisServer
    db: Any
    store: Any

    def rewrite(self) -> None:
        """What an administrator does after a deletion: a new append-only file and a new snapshot."""
        for start in (self.db.bgrewriteaof, self.db.bgsave):
            until(lambda: not self._busy(), 20.0, "writing files anew")
            start()
        until(lambda: not self._busy(), 20.0, "writing files anew")

    def _busy(self) -> bool:
        told = self.db.info("persistence")
        return bool(
            told["aof_rewrite_in_progress"] or told["rdb_bgsave_in_progress"] or told["aof_rewrite_scheduled"]
        )

    def on_disk(self) -> int:
        """The marker in the server's files."""
        return bytes_in(self.server.folder)

    def delete(self) -> None:
        """Naive: SCAN and DEL of the tenant's keys."""
        for key in self.db.scan_iter(match=f"answer:{TENANT}:*"):
            self.db.delete(key)


@dataclass
class Caches:
    """Makes servers below a folder."""

    folder: Path
    size: int
    stack: ExitStack
    numbers: Iterator[int]

    def new(self) -> Cache:
        """An empty one."""
        server = RedisServer(self.folder / f"redis{next(self.numbers)}", appendonly=True, settings=_SETTINGS)
        self.stack.enter_context(server)
        store: Any = open_store(
            "redis", name="cache", environment="blue", settings={"url": server.url()},
            ownership=OwnershipMap(keys={"cache": KEYS}),
        )  # fmt: skip
        self.stack.callback(store.close)
        db = redis.Redis(port=server.port)
        self.stack.callback(db.close)
        return Cache(server, db, store)


@contextmanager
def caches(folder: Path, size: int) -> Iterator[Caches]:
    """All servers are gone afterwards."""
    with ExitStack() as stack:
        yield Caches(folder, size, stack, count())


def traps(made: Caches) -> list[Trap]:
    """In the order of their numbers."""
    listed: list[tuple[str, str, str, Callable[[Caches], Pair]]] = [
        ("M13", "entries of a shared stream", "XDEL, BGREWRITEAOF, BGSAVE", _stream),
        ("M14", "commands in the slow log", "SCAN, DEL", _slow_log),
        ("M15", "a task in a queue, its arguments as base64", "SCAN, DEL", _task),
        ("2.2a", "the append-only file and the snapshot", "SCAN, DEL", _files),
        ("2.2b", "a key that no rule mentions", "SCAN, DEL", _unmapped),
        ("2.2c", "another database of the server", "SCAN, DEL", _elsewhere),
    ]
    return [
        Trap(code, "Redis", what, naively, partial(measure, made)) for code, what, naively, measure in listed
    ]


def _stream(made: Caches) -> Pair:
    here, there = made.new(), made.new()
    for cache in (here, there):
        for number in range(made.size):
            cache.db.xadd("events", {"tenant_id": TENANT, "text": f"{MARKER} {number}"})
            cache.db.xadd("events", {"tenant_id": NEIGHBOUR, "text": f"{THEIRS} {number}"})
    ids = [id_ for id_, fields in here.db.xrange("events") if fields[b"tenant_id"] == TENANT.encode()]
    here.db.xdel("events", *ids)
    here.rewrite()
    told = erase(there.store)
    return Seen(here.on_disk(), "hits in files"), Seen(
        there.on_disk(), "hits in files", about(told, "events")
    )


def _slow_log(made: Caches) -> Pair:
    def logged(cache: Cache) -> int:
        return sum(MARKER.encode() in one["command"] for one in cache.db.slowlog_get(1000))

    here, there = made.new(), made.new()
    for cache in (here, there):
        cache.db.config_set("slowlog-log-slower-than", 0)
        cache.db.set(f"answer:{TENANT}:a", MARKER)
        cache.db.config_set("slowlog-log-slower-than", 10_000_000)
    here.delete()
    told = erase(there.store)
    return Seen(logged(here), "commands"), Seen(logged(there), "commands", about(told, "slow"))


def _task(made: Caches) -> Pair:
    body = base64.b64encode(json.dumps([[], {"tenant_id": TENANT, "text": MARKER}, {}]).encode()).decode()
    here, there = made.new(), made.new()
    for cache in (here, there):
        cache.db.rpush("celery", json.dumps({"body": body, "headers": {"argsrepr": "()"}}))
    here.delete()
    told = erase(there.store)
    return Seen(here.db.llen("celery"), "tasks"), Seen(
        there.db.llen("celery"), "tasks", about(told, "celery")
    )


def _files(made: Caches) -> Pair:
    here, there = made.new(), made.new()
    for cache in (here, there):
        for number in range(made.size):
            cache.db.set(f"answer:{TENANT}:{number}", MARKER)
        cache.db.save()
    here.delete()
    told = erase(there.store)
    return Seen(here.on_disk(), "hits in files"), Seen(
        there.on_disk(), "hits in files", about(told, "file", "snapshot")
    )


def _unmapped(made: Caches) -> Pair:
    cache = made.new()
    cache.db.set("shadow:cache", MARKER)
    cache.delete()
    left = int(cache.db.exists("shadow:cache"))
    told = [*warned(cache.store), *searched(cache.store, "db")]
    return Seen(left, "keys"), Seen(left, "keys", about(told, "unmapped", "db0"))


def _elsewhere(made: Caches) -> Pair:
    cache = made.new()
    with redis.Redis(port=cache.server.port, db=3) as other:
        other.set("forgotten", MARKER)
        cache.delete()
        told = [*warned(cache.store), *searched(cache.store, "db3")]
        left = other.dbsize()
    return Seen(left, "keys"), Seen(left, "keys", about(told, "db3", "redis.databases"))


@contextmanager
def vectors() -> Iterator[list[Trap]]:
    """The traps of the vector service, over an emulator of it."""
    with PineconeServer() as server:
        yield [
            Trap(
                "2.3a", "Pinecone (emulator)", "a namespace that no rule mentions", "delete the tenant's namespace",
                partial(_namespace, server),
            ),
            Trap(
                "2.3b", "Pinecone", "vectors that the provider keeps for up to 90 days", "delete the tenant's namespace",
                None, "an emulator has no such window; `horizon` of the store states it as the provider's word",
            ),
        ]  # fmt: skip


def _namespace(server: PineconeServer) -> Pair:
    with Pinecone("bench", host=server.host) as control:
        values = {"type": "dense_vector", "dimension": 32, "metric": "cosine"}
        control.indexes.create(name="items", schema={"fields": {"values": values}})
        index = control.index(name="items")
    vector = {"id": "1", "values": [0.1] * 32, "metadata": {"text": MARKER}}
    index.upsert(vectors=[vector], namespace="exports", show_progress=False)
    store = open_store(
        "pinecone", name="vectors", environment="blue",
        settings={"api_key": "bench", "index": "items", "host": server.host},
        ownership=OwnershipMap(keys={"vectors": KeyMap({"items": Family(Template.parse("t-{tenant}"))})}),
    )  # fmt: skip
    left = len(index.fetch(ids=["1"], namespace="exports").vectors)
    told = about([*warned(store), *searched(store)], "exports", "unmapped")
    return Seen(left, "vectors"), Seen(left, "vectors", told)
