"""The ledger finds what is wrong in every store: each test damages one item, and the check must name it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.http_load.load import HttpLoad
from tenant_lifecycle.sandbox.items import ITEMS
from tenant_lifecycle.sandbox.ledger import Do, Effect, Entry, Outcome, read_ledger
from tenant_lifecycle.sandbox.ledger_check import Wrong, check
from tenant_lifecycle.sandbox.ledger_items import check_items
from tenant_lifecycle.sandbox.open_items import object_client, redis_client, vector_index

TENANTS = {"umbra": 2, "zürich-rück": 1}


@dataclass(frozen=True)
class Kept:
    """A load that ran, and the stores it left."""

    ledger: Path
    dsn: str
    readers: dict[str, Any]
    redis: Any
    s3: Any
    bucket: str
    index: Any

    def found(self) -> set[tuple[Wrong, str]]:
        report = check(self.ledger, self.dsn, list(TENANTS), self.readers)
        return {(violation.wrong, violation.table) for violation in report.violations}

    def last(self, kind: str, do: Do) -> tuple[str, ...]:
        """A key whose last effect was that one."""
        state: dict[tuple[str, ...], Do] = {}
        for entry in read_ledger(self.ledger):
            for effect in entry.effects:
                if effect.table == kind:
                    state[tuple(effect.key[part] for part in ITEMS[kind])] = effect.do
        return next(key for key, last in state.items() if last is do)

    @contextlib.contextmanager
    def redis_key(self, kind: str, do: Do = Do.PUT) -> Iterator[tuple[str, ...]]:
        """The key to be damaged; whole again afterwards."""
        place = self.last(kind, do)
        before, ttl = self.redis.dump(place[0]), max(self.redis.pttl(place[0]), 0)
        try:
            yield place
        finally:
            self.redis.delete(place[0])
            if before is not None:
                self.redis.restore(place[0], ttl, before)

    @contextlib.contextmanager
    def object(self, do: Do = Do.PUT) -> Iterator[dict[str, Any]]:
        """An object as ``put_object`` takes it; whole again afterwards."""
        (key,) = self.last("objects", do)
        whole = {"Bucket": self.bucket, "Key": key, "Body": b"x"}
        if do is Do.PUT:
            got = self.s3.get_object(Bucket=self.bucket, Key=key)
            tags = self.s3.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]
            whole |= {
                "Body": got["Body"].read(),
                "ContentType": got["ContentType"],
                "Metadata": got["Metadata"],
            }
            whole["Tagging"] = "&".join(f"{tag['Key']}={tag['Value']}" for tag in tags)
        try:
            yield dict(whole)
        finally:
            if do is Do.PUT:
                self.s3.put_object(**whole)
            else:
                self.s3.delete_object(Bucket=self.bucket, Key=key)

    @contextlib.contextmanager
    def vector(self, do: Do = Do.PUT) -> Iterator[tuple[str, dict[str, Any]]]:
        """A namespace and a vector as ``upsert`` takes it; whole again afterwards."""
        namespace, id = self.last("vectors", do)
        whole = {"id": id, "values": [1.0] * 32}
        if do is Do.PUT:
            got = self.index.fetch(ids=[id], namespace=namespace).vectors[id]
            whole |= {"values": list(got.values), "metadata": dict(got.metadata)}
        try:
            yield namespace, json.loads(json.dumps(whole))
        finally:
            if do is Do.PUT:
                self.index.upsert(vectors=[whole], namespace=namespace, show_progress=False)
            else:
                self.index.delete(ids=[id], namespace=namespace)


@pytest.fixture(scope="module")
def kept(box, tmp_path_factory) -> Iterator[Kept]:
    ledger = tmp_path_factory.mktemp("ledger")
    load = HttpLoad(HttpLoadConfig([box.urls["router"]], TENANTS, ledger, rate=None, reads=0.1))
    load.start()
    load.wait(lambda: load.requests > 350)
    summary = load.stop()
    assert (summary.failed, summary.stale_reads) == (0, [])
    stores = box.connections["blue"]
    with box.items("blue") as readers, redis_client(stores["redis"]) as redis:
        s3, bucket = object_client(stores["objects"]), stores["objects"]["bucket"]
        yield Kept(ledger, box.dsn("blue"), readers, redis, s3, bucket, vector_index(stores["vectors"]))


@pytest.fixture(autouse=True)
def _whole_before_and_after(request) -> Iterator[None]:
    """A test that leaves damage behind would make the next one pass for the wrong reason."""
    if "kept" not in request.fixturenames:
        yield
        return
    kept = request.getfixturevalue("kept")
    yield
    assert kept.found() == set()


def test_an_undamaged_sandbox_holds_everything(kept) -> None:
    report = check(kept.ledger, kept.dsn, list(TENANTS), kept.readers)
    assert report.violations == ()
    assert {effect.table for entry in read_ledger(kept.ledger) for effect in entry.effects} >= set(ITEMS)


# -- Redis

REDIS: dict[str, tuple[str, Do, Wrong, Callable[..., object]]] = {
    "a session is lost": ("redis:session", Do.PUT, Wrong.LOST, lambda r, key: r.delete(key)),
    "a session has an old value": (
        "redis:session", Do.PUT, Wrong.STALE, lambda r, key: r.set(key, '{"cursor": "old"}', keepttl=True),
    ),
    "a session does not end any more": ("redis:session", Do.PUT, Wrong.STALE, lambda r, key: r.persist(key)),
    "an ended session is back": (
        "redis:session", Do.GONE, Wrong.RESURRECTED, lambda r, key: r.set(key, "{}", ex=100),
    ),
    "a kept answer is another": (
        "redis:answer", Do.MAY, Wrong.STALE, lambda r, key: r.set(key, "{}", keepttl=True),
    ),
    "a counter is one short": ("redis:usage", Do.ADD, Wrong.LOST, lambda r, key: r.decr(key)),
    "a counter is one over": ("redis:usage", Do.ADD, Wrong.DUPLICATED, lambda r, key: r.incr(key)),
    "a counter began anew": ("redis:usage", Do.ADD, Wrong.LOST, lambda r, key: r.delete(key)),
    "an event is lost": (
        "redis:events", Do.PUT, Wrong.LOST, lambda r, key, request: r.xdel(key, entry_of(r, key, request)[0]),
    ),
    "an event is there twice": (
        "redis:events", Do.PUT, Wrong.DUPLICATED,
        lambda r, key, request: r.xadd(key, entry_of(r, key, request)[1]),
    ),
    "an event says something else": (
        "redis:events", Do.PUT, Wrong.STALE, lambda r, key, request: change_event(r, key, request),
    ),
    "events that were taken are given out again": (
        "redis:taken", Do.PUT, Wrong.LOST, lambda r, key, _: r.xgroup_setid(key, "workers", "0"),
    ),
    "events that were acknowledged are pending": (
        "redis:taken", Do.PUT, Wrong.LOST, lambda r, key, _: take_again(r, key),
    ),
    "the consumer group is lost": (
        "redis:taken", Do.PUT, Wrong.LOST, lambda r, key, _: r.xgroup_destroy(key, "workers"),
    ),
}  # fmt: skip


def entry_of(redis, key: str, request: str) -> tuple[bytes, dict]:
    return next((id, f) for id, f in redis.xrange(key) if f[b"request"] == request.encode())


def change_event(redis, key: str, request: str) -> None:
    id, fields = entry_of(redis, key, request)
    redis.xdel(key, id)
    redis.xadd(key, {**fields, b"kind": b"party"})


def take_again(redis, key: str) -> None:
    redis.xgroup_setid(key, "workers", "0")
    redis.xreadgroup("workers", "vandal", {key: ">"}, count=100_000)


@pytest.mark.parametrize("name", REDIS)
def test_damage_in_redis_is_found_and_named(kept, name) -> None:
    kind, do, wrong, damage = REDIS[name]
    with kept.redis_key(kind, do) as place:
        damage(kept.redis, *place)
        assert kept.found() == {(wrong, kind)}


def test_a_kept_answer_that_is_gone_is_no_loss(kept) -> None:
    with kept.redis_key("redis:answer", Do.MAY) as (key,):
        assert kept.redis.delete(key) == 1
        assert kept.found() == set()


# -- objects

OBJECTS: dict[str, dict[str, Any]] = {
    "another content": {"Body": b"something else"},
    "another type": {"ContentType": "application/pdf"},
    "other metadata": {"Metadata": {"title": "x", "v": "0", "sha256": "0"}},
    "no metadata": {"Metadata": {}},
    "other tags": {"Tagging": "kind=secret"},
    "no tags": {"Tagging": ""},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_that_is_another_is_found(kept, name) -> None:
    with kept.object() as whole:
        kept.s3.put_object(**{**whole, **OBJECTS[name]})
        assert kept.found() == {(Wrong.STALE, "objects")}


def test_a_lost_object_is_found(kept) -> None:
    with kept.object() as whole:
        kept.s3.delete_object(Bucket=kept.bucket, Key=whole["Key"])
        assert kept.found() == {(Wrong.LOST, "objects")}


def test_a_deleted_object_that_is_back_is_found(kept) -> None:
    with kept.object(Do.GONE) as whole:
        kept.s3.put_object(**whole)
        assert kept.found() == {(Wrong.RESURRECTED, "objects")}


# -- vectors


def _nudged(vector: dict[str, Any]) -> None:
    vector["values"][5] += 0.001


def _of_another_version(vector: dict[str, Any]) -> None:
    vector["metadata"]["v"] += 1


def _without_metadata(vector: dict[str, Any]) -> None:
    del vector["metadata"]


@pytest.mark.parametrize("change", [_nudged, _of_another_version, _without_metadata])
def test_a_vector_that_is_another_is_found(kept, change) -> None:
    with kept.vector() as (namespace, vector):
        change(vector)
        kept.index.upsert(vectors=[vector], namespace=namespace, show_progress=False)
        assert kept.found() == {(Wrong.STALE, "vectors")}


def test_a_lost_vector_is_found(kept) -> None:
    with kept.vector() as (namespace, vector):
        kept.index.delete(ids=[vector["id"]], namespace=namespace)
        assert kept.found() == {(Wrong.LOST, "vectors")}


def test_a_deleted_vector_that_is_back_is_found(kept) -> None:
    with kept.vector(Do.GONE) as (namespace, vector):
        kept.index.upsert(vectors=[vector], namespace=namespace, show_progress=False)
        assert kept.found() == {(Wrong.RESURRECTED, "vectors")}


# -- outcomes: entries as a load would have written them, and what a store holds afterwards

ACK, FAILED, UNKNOWN = Outcome.ACK, Outcome.FAILED, Outcome.UNKNOWN
KEY = {"key": "session:a:1"}
PUT_1, PUT_2 = (Effect(Do.PUT, "redis:session", KEY, {"value": v}) for v in ("1", "2"))
GONE, MAY = Effect(Do.GONE, "redis:session", KEY), Effect(Do.MAY, "redis:session", KEY, {"value": "1"})
ADD = Effect(Do.ADD, "redis:usage", KEY, count=1)
EVENT = Effect(Do.PUT, "redis:events", {**KEY, "request": "1-1"}, {"kind": "ask"})
#: What was done, in order: effect, outcome, committed, attempts. What is there. What the check says of it.
Done = tuple[Effect, Outcome, bool, int]
CASES: dict[str, tuple[list[Done], list[str], set[Wrong]]] = {
    "unknown, and there": ([(PUT_1, UNKNOWN, False, 1)], ["1"], set()),
    "unknown, and not there": ([(PUT_1, UNKNOWN, False, 1)], [], set()),
    "unknown, and something else": ([(PUT_1, UNKNOWN, False, 1)], ["3"], {Wrong.STALE}),
    "unknown, but committed, and not there": ([(PUT_1, UNKNOWN, True, 1)], [], {Wrong.LOST}),
    "unknown after an acknowledged one": ([(PUT_1, ACK, True, 1), (PUT_2, UNKNOWN, False, 1)], ["1"], set()),
    "unknown, and done": ([(PUT_1, ACK, True, 1), (PUT_2, UNKNOWN, False, 1)], ["2"], set()),
    "unknown, and both lost": ([(PUT_1, ACK, True, 1), (PUT_2, UNKNOWN, False, 1)], [], {Wrong.LOST}),
    "unknown deletion": ([(PUT_1, ACK, True, 1), (GONE, UNKNOWN, False, 1)], [], set()),
    "unknown deletion, not done": ([(PUT_1, ACK, True, 1), (GONE, UNKNOWN, False, 1)], ["1"], set()),
    "acknowledged after an unknown one": ([(PUT_1, UNKNOWN, False, 1), (PUT_2, ACK, True, 1)], ["1"], {Wrong.STALE}),
    "failed for certain, and there": ([(PUT_1, FAILED, False, 1)], ["1"], {Wrong.PHANTOM}),
    "failed for certain, and not there": ([(PUT_1, FAILED, False, 1)], [], set()),
    "failed deletion": ([(PUT_1, ACK, True, 1), (GONE, FAILED, False, 1)], [], {Wrong.LOST}),
    "back": ([(PUT_1, ACK, True, 1), (GONE, ACK, True, 1)], ["1"], {Wrong.RESURRECTED}),
    "kept": ([(MAY, ACK, True, 1)], ["1"], set()),
    "forgotten": ([(MAY, ACK, True, 1)], [], set()),
    "kept, but another": ([(MAY, ACK, True, 1)], ["2"], {Wrong.STALE}),
    "two of one": ([(PUT_1, ACK, True, 1)], ["1", "1"], {Wrong.DUPLICATED}),
    "sent twice, still one": ([(PUT_1, ACK, True, 2)], ["1", "1"], {Wrong.DUPLICATED}),
    "an event, sent twice": ([(EVENT, ACK, True, 2)], ["ask", "ask"], set()),
    "an event, three of two": ([(EVENT, ACK, True, 2)], ["ask", "ask", "ask"], {Wrong.DUPLICATED}),
    "an event, one of two is another": ([(EVENT, ACK, True, 2)], ["ask", "sing"], {Wrong.STALE}),
    "an event, sent twice and lost": ([(EVENT, ACK, True, 2)], [], {Wrong.LOST}),
    "an unknown event": ([(EVENT, UNKNOWN, False, 1)], [], set()),
    "counted": ([(ADD, ACK, True, 1)] * 3, ["3"], set()),
    "counted, sent twice": ([(ADD, ACK, True, 2)], ["2"], set()),
    "counted, unknown": ([(ADD, ACK, True, 1), (ADD, UNKNOWN, False, 1)], ["2"], set()),
    "counted, unknown, too often": ([(ADD, ACK, True, 1), (ADD, UNKNOWN, False, 1)], ["3"], {Wrong.DUPLICATED}),
    "counted, failed": ([(ADD, ACK, True, 1), (ADD, FAILED, False, 1)], ["2"], {Wrong.DUPLICATED}),
    "counted, lost": ([(ADD, ACK, True, 1)] * 3, ["2"], {Wrong.LOST}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_may_be_there_follows_from_what_was_told(name) -> None:
    done, held, expected = CASES[name]
    entries = [
        (Entry("a", 1, n, "x", 0.0, (effect,), outcome, 1.0, "", attempts), committed)
        for n, (effect, outcome, committed, attempts) in enumerate(done, start=1)
    ]

    def read(keys):
        return {key: [{"value": one, "kind": one} for one in held] for key in keys if held}

    _, wrong = check_items(entries, dict.fromkeys(ITEMS, read))
    assert {violation.wrong for violation in wrong} == expected


def test_a_ledger_of_stores_that_nothing_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="speaks of redis:session, and nothing was given to read it"):
        check_items([(Entry("a", 1, 1, "x", 0.0, (PUT_1,), ACK), True)], {})


def test_a_key_in_its_last_half_second_still_expires(kept: Kept) -> None:
    kept.redis.set("brief", "v", px=400)
    kept.redis.set("lasting", "v")
    found = kept.readers["redis:answer"]([("brief",), ("lasting",), ("gone",)])
    assert found == {
        ("brief",): [{"value": "v", "expires": "yes"}],
        ("lasting",): [{"value": "v", "expires": "no"}],
    }
    kept.redis.delete("lasting")
