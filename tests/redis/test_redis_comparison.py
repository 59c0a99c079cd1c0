"""Nothing that differs goes unseen, nothing that is equal is reported, and repair makes it equal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis_pair import NAMED, THEM, US, Pair, fill_every_type, go_on

from tenant_lifecycle.errors import Fenced, StoreRejected
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.stores.base import Keys
from tenant_lifecycle.stores.redis import comparison, digests, repair, scripts, values

Mutation = Callable[[Any], Any]
MUTATIONS: dict[str, tuple[bytes, Mutation, str]] = {
    "a bit flipped": (b"text", lambda db: db.setbit(b"answer:1:text", 3, 1), "value"),
    "a number off by one": (b"number", lambda db: db.incr(b"answer:1:number"), "value"),
    "two items of a list swapped": (b"list", lambda db: (db.lset(b"answer:1:list", 0, 1), db.lset(b"answer:1:list", 1, 0)), "value"),
    "a field changed": (b"hash", lambda db: db.hset(b"answer:1:hash", b"f7", b"v8"), "value"),
    "values of two fields swapped": (b"hash", lambda db: db.hset(b"answer:1:hash", mapping={b"f7": b"v8", b"f8": b"v7"}), "value"),
    "a field renamed": (b"small hash", lambda db: (db.hdel(b"answer:1:small hash", "g"), db.hset(b"answer:1:small hash", "h", "")), "value"),
    "a member exchanged": (b"set", lambda db: (db.srem(b"answer:1:set", "m7"), db.sadd(b"answer:1:set", "x")), "value"),
    "a score changed in its last bit": (b"zset", lambda db: db.zadd(b"answer:1:zset", {b"m1": 0.14285714285714288}), "value"),
    "a stream entry deleted": (b"stream", lambda db: db.xdel(b"answer:1:stream", "1005-1"), "value"),
    "a pending entry acknowledged": (b"stream", lambda db: db.xack(b"answer:1:stream", "workers", "1002-1"), "value"),
    "a pending entry with another consumer": (b"stream", lambda db: db.xclaim(b"answer:1:stream", "workers", "eve", 0, ["1002-1"]), "value"),
    "a delivery more": (b"stream", lambda db: db.xclaim(b"answer:1:stream", "workers", "alice", 0, ["1002-1"]), "value"),
    "a consumer less": (b"stream", lambda db: db.xgroup_delconsumer(b"answer:1:stream", "workers", "lazy"), "value"),
    "a group moved on": (b"stream", lambda db: db.xgroup_setid(b"answer:1:stream", "idle", "1011-1"), "value"),
    "a group less": (b"stream", lambda db: db.xgroup_destroy(b"answer:1:stream", "idle"), "value"),
    "an entry added and deleted": (b"stream", lambda db: (db.xadd(b"answer:1:stream", {"a": "b"}, id="2000-1"), db.xdel(b"answer:1:stream", "2000-1")), "value"),
    "a key that lasts": (b"fading", lambda db: db.persist(b"answer:1:fading"), "ttl"),
    "a key that fades": (b"text", lambda db: db.expire(b"answer:1:text", 10_000), "ttl"),
    "a second more": (b"fading", lambda db: db.pexpire(b"answer:1:fading", db.pttl(b"answer:1:fading") + 1_000), "ttl"),
    "another type": (b"ints", lambda db: (db.delete(b"answer:1:ints"), db.set(b"answer:1:ints", "x")), "type"),
}  # fmt: skip


@pytest.mark.parametrize("big", [False, True])
def test_every_mutation_is_found_and_mended(pair: Pair, big: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_every_type(pair.blue)
    pair.copy()
    if big:
        # As if every value were too large to be read at once.
        for module in (comparison, values, repair):
            monkeypatch.setattr(module, "BIG_BYTES", 0)
        monkeypatch.setattr(repair, "WORTH_READING_BYTES", 0)
        monkeypatch.setattr(values, "PAGE_ELEMENTS", 200)
        monkeypatch.setattr(values, "PAGE_BYTES", 9_000)
    assert pair.suspects() == {}
    for name, (tail, mutate, field) in MUTATIONS.items():
        key = b"answer:1:" + tail
        mutate(pair.green)
        assert pair.suspects() == {"answers": {key}}, name
        keys: Keys = {"answers": frozenset({key, b"answer:1:geo"})}
        assert pair.differences(keys) == [(key, "DIFFERENT", (field,))], name
        assert pair.source.repair(pair.target, pair.feed(), keys) == 1, name
        assert pair.source.repair(pair.target, pair.feed(), keys) == 0, name
        assert pair.differences(keys) == [], name
    assert pair.suspects() == {}


def test_missing_and_extra_keys_are_found_and_mended(pair: Pair) -> None:
    pair.ids[US] = TenantIds({}, {NAMED: frozenset({"blob:1", "blob:2"})})
    for key in ("answer:1:a", "answer:1:b", "blob:1", "profile:1"):
        pair.blue.set(key, "x")
    pair.copy()
    pair.green.delete("answer:1:a", "blob:1")
    for key in ("answer:1:extra", "blob:2"):
        pair.green.set(key, "x")
    assert pair.suspects() == {"answers": {b"answer:1:a", b"answer:1:extra"}, "named": {b"blob:1", b"blob:2"}}
    keys = {
        "answers": frozenset({b"answer:1:a", b"answer:1:extra", b"answer:1:nowhere"}),
        "named": frozenset({b"blob:1", b"blob:2"}),
    }
    assert sorted(pair.differences(keys)) == [
        (b"answer:1:a", "MISSING", ()), (b"answer:1:extra", "EXTRA", ()),
        (b"blob:1", "MISSING", ()), (b"blob:2", "EXTRA", ()),
    ]  # fmt: skip
    assert pair.source.repair(pair.target, pair.feed(), keys) == 4
    assert pair.suspects() == {}


def test_another_tenants_key_under_ours_name_is_found(pair: Pair) -> None:
    pair.blue.set("answer:1:a", "ours")
    pair.blue.set("answer:12:a", "theirs")
    pair.copy()
    pair.green.set("answer:1:a", "theirs")
    pair.green.set("answer:1:2:a", "theirs")
    assert pair.suspects() == {"answers": {b"answer:1:a", b"answer:1:2:a"}}


def test_equal_values_in_other_encodings_and_orders_are_equal(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "WORTH_READING_BYTES", 0)
    for db, order in ((pair.blue, 1), (pair.green, -1)):
        members = [b"m%d" % n for n in range(1_200)]
        db.config_set("rdbcompression", "yes" if order == 1 else "no")
        db.config_set("hash-max-ziplist-entries", 512 if order == 1 else 1)
        for key in ("answer:1:hash", "answer:1:few"):
            some = members if key.endswith("hash") else members[:20]
            db.hset(key, mapping={member: member for member in some[::order]})
        db.sadd("answer:1:set", *members[::order])
        db.zadd("answer:1:zset", dict.fromkeys(members, 1))
        db.set("answer:1:long", "a" * 9_999)
    try:
        assert pair.blue.dump("answer:1:hash") != pair.green.dump("answer:1:hash")
        assert pair.blue.dump("answer:1:long") != pair.green.dump("answer:1:long")
        keys = {"answers": frozenset(pair.blue.keys("answer:1:*"))}
        assert pair.suspects() == {} and pair.differences(keys) == []
        assert pair.source.repair(pair.target, pair.feed(), keys) == 0
    finally:
        pair.green.config_set("rdbcompression", "yes")
        pair.green.config_set("hash-max-ziplist-entries", 512)


def test_a_key_whose_time_has_come_on_one_side_is_no_difference(pair: Pair) -> None:
    pair.blue.set("answer:1:a", "x", px=60)
    pair.green.set("answer:1:b", "x", px=60)
    keys = {"answers": frozenset({b"answer:1:a", b"answer:1:b"})}
    assert pair.differences(keys) == []
    pair.blue.set("answer:1:a", "x", px=60_000)
    assert pair.differences(keys) == [(b"answer:1:a", "MISSING", ())]
    time.sleep(0.1)
    pair.green.set("answer:1:a", "x", pxat=int(time.time() * 1000) + pair.blue.pttl("answer:1:a"))
    assert pair.differences(keys) == []


def test_only_what_is_moved_is_compared_and_what_is_skipped_is_deleted(pair: Pair) -> None:
    for key in ("warm:1:a", "session:1:a"):
        pair.blue.set(key, "new")
        pair.green.set(key, "stale")
    pair.green.set("session:12:a", "another's")
    keys = {"warm": frozenset({b"warm:1:a"}), "sessions": frozenset({b"session:1:a", b"session:1:b"})}
    assert pair.differences(keys) == [] and pair.suspects() == {}
    assert pair.source.repair(pair.target, pair.feed(), keys) == 2
    assert pair.green.get("warm:1:a") == b"new"
    assert pair.green.exists("session:1:a") == 0 and pair.green.exists("session:12:a") == 1


def test_a_full_target_refuses_and_a_warm_key_is_deleted_there(pair: Pair) -> None:
    for key in ("warm:1:a", "answer:1:a"):
        pair.blue.set(key, "new" * 100)
        pair.green.set(key, "stale")
    pair.green.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreRejected, match="memory"):
            pair.source.repair(pair.target, pair.feed(), {"answers": frozenset({b"answer:1:a"})})
        assert pair.source.repair(pair.target, pair.feed(), {"warm": frozenset({b"warm:1:a"})}) == 1
        assert pair.green.exists("warm:1:a") == 0
        # A newer driver may clear up, and the older one is refused from then on.
        assert pair.target.remove(pair.feed(token=9), go_on)["answers"] == 1
    finally:
        pair.green.config_set("maxmemory", 0)
    with pytest.raises(Fenced):
        pair.source.repair(pair.target, pair.feed(), {"answers": frozenset({b"answer:1:a"})})


def test_whose_a_key_is(pair: Pair) -> None:
    pair.ids[US] = TenantIds({"collection": frozenset({"c1"})}, {NAMED: frozenset({"blob:7"})})
    for key, family in {
        b"answer:1:": "answers", b"answer:1:\xff": "answers", b"answer:12:x": None, b"profile:1": "profile",
        b"profile:1 ": None, b"vec:c1:x": "vectors", b"vec:c12:x": None, b"blob:7": "named", b"blob:8": None,
        b"session:1:x": "sessions", b"celery": None, b"unknown": None,
    }.items():  # fmt: skip
        assert pair.source.set_of(US, key) == family, key
    # A data set that came up, and one that was deleted: both are the tenant's.
    pair.ids[US] = TenantIds({"collection": frozenset({"c2"})})
    assert pair.source.set_of(US, b"vec:c2:x") == "vectors"
    assert pair.source.set_of(US, b"vec:c1:x") == "vectors"
    assert pair.source.set_of(THEM, b"vec:c1:x") is None
    pair.green.set("vec:c1:left", "x")
    assert pair.suspects() == {"vectors": {b"vec:c1:left"}}


def test_a_large_family_is_walked_in_pages(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for db in (pair.blue, pair.green):
        pipe = db.pipeline(transaction=False)
        for n in range(6_000):
            pipe.set(f"answer:1:{n}", n)
            pipe.set(f"answer:12:{n}", n)
        pipe.execute()
    pair.blue.delete("answer:1:17")
    pair.green.delete("answer:1:4711")
    compared = pair.source.compare(pair.target, US, "answers", go_on)
    assert compared.items == 5_999 and compared.leaves > 4
    assert compared.suspects == {"answers": {b"answer:1:17", b"answer:1:4711"}}


def test_a_handful_of_keys_takes_one_round_trip_a_side(pair: Pair) -> None:
    keys = frozenset(b"answer:1:%d" % n for n in range(20))
    for key in keys:
        pair.blue.set(key, b"x" * 100)
    pair.copy()
    pair.differences({"answers": keys})
    before = [_commands(db) for db in (pair.blue, pair.green)]
    assert pair.differences({"answers": keys}) == []
    assert pair.source.repair(pair.target, pair.feed(), {"answers": keys}) == 0
    assert [_commands(db) - b for db, b in zip((pair.blue, pair.green), before, strict=True)] == [3, 2]


def _commands(db: Any) -> int:
    """Calls of EVALSHA and of everything else that clients may send, apart from INFO itself."""
    stats = db.info("commandstats")
    return stats["cmdstat_evalsha"]["calls"] + sum(
        stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]
        for name in ("eval", "hgetall", "auth", "select", "client")
    )


def test_the_comparison_shares_no_enumeration_with_the_copier() -> None:
    for module in (digests, comparison, values, scripts):
        assert not {"scan", "carry", "pieces", "parts", "tenants_keys"} & set(vars(module))
