"""Copying a tenant's keys: every type, every byte, the moment of expiry; and nobody else's keys."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis_pair import KEYS, NAMED, THEM, US, Pair, client, fill_every_type, go_on, wait_until

from tenant_lifecycle.errors import Fenced, StoreRejected, WrongState
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.base import (
    Copies,
    Digests,
    Hints,
    Keyed,
    Part,
    Prepares,
    Removes,
    Store,
)
from tenant_lifecycle.stores.redis import parts, pieces, scripts


def test_the_store_has_the_abilities_of_a_keyed_store(pair: Pair) -> None:
    for ability in (Store, Prepares, Copies, Digests, Keyed, Hints, Removes):
        assert isinstance(pair.source, ability), ability
    assert pair.source.name == "blue/redis" and pair.source.tenants() == []


def test_every_type_arrives_byte_for_byte(pair: Pair) -> None:
    keys = fill_every_type(pair.blue)
    pair.blue.set("profile:1", "me")
    assert pair.copy() == len(keys) + 1
    for key in keys:
        # DUMP differs where the order in a table is random; what is in it must not.
        assert _content(pair.green, key) == _content(pair.blue, key), key
    assert pair.green.get("profile:1") == b"me"
    assert pair.suspects() == {}


def _content(db, key: bytes):
    kind = db.type(key)
    if kind == b"stream":
        groups = [
            group
            | {
                "pending": [
                    {k: v for k, v in one.items() if k != "time_since_delivered"}
                    for one in db.xpending_range(key, group["name"], "-", "+", 1000)
                ],
                "consumers": sorted(
                    (c["name"], c["pending"]) for c in db.xinfo_consumers(key, group["name"])
                ),
            }
            for group in db.xinfo_groups(key)
        ]
        return db.xrange(key), groups, db.xinfo_stream(key)["last-generated-id"]
    return {
        b"string": lambda: db.get(key),
        b"list": lambda: db.lrange(key, 0, -1),
        b"set": lambda: db.smembers(key),
        b"hash": lambda: db.hgetall(key),
        b"zset": lambda: db.zrange(key, 0, -1, withscores=True),
    }[kind]()


def test_every_type_arrives_piece_by_piece_as_well(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenant_lifecycle.stores.redis import carry

    keys = fill_every_type(pair.blue)
    monkeypatch.setattr(carry, "BIG_BYTES", 0)
    monkeypatch.setattr(pieces, "PIECE_ELEMENTS", 7)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 512)
    pair.copy()
    for key in keys:
        assert _content(pair.green, key) == _content(pair.blue, key), key
    assert pair.suspects() == {}
    assert [key for key in pair.green.keys("*") if b"building" in key] == []


def test_keys_expire_at_the_same_moment(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenant_lifecycle.stores.redis import carry

    for big in (scripts.BIG_BYTES, 0):
        monkeypatch.setattr(carry, "BIG_BYTES", big)
        pair.green.flushall()
        pair.blue.set("answer:1:a", "x", px=100_000)
        pair.blue.hset("answer:1:b", "x", "y")
        pair.blue.pexpire("answer:1:b", 5_000_000)
        pair.blue.set("answer:1:c", "lasts")
        pair.copy()
        for key in ("answer:1:a", "answer:1:b"):
            assert abs(pair.green.pttl(key) - pair.blue.pttl(key)) < 50
        assert pair.green.pttl("answer:1:c") == -1


def test_a_key_that_expired_on_the_way_does_not_come_to_life(pair: Pair) -> None:
    pair.blue.set("answer:1:a", "x", px=40)
    listed = pair.source.split(pair.target, pair.feed())
    pair.green.set("answer:1:a", "an older copy")
    time.sleep(0.06)
    for part in listed:
        pair.source.copy_part(pair.target, pair.feed(), part, go_on)
    assert pair.green.exists("answer:1:a") == 0


def test_hostile_keys_and_ids_are_taken_literally(pair: Pair) -> None:
    for tenant in ("*", "[ab]", "a?c", "x\\y", "a:b", "a", "ü\n'\"", "{1}", "^-]", "caf\udcc3"):
        ours = f"answer:{tenant}:".encode("utf-8", "surrogateescape")
        pair.blue.flushall()
        pair.green.flushall()
        mine = [ours + tail for tail in (b"", b"*", b"\x00\xff\r\n", "ключ".encode(), b"[x]", b"\\")]
        for key in mine:
            pair.blue.set(key, "mine")
        others = [
            b"answer:b:1",
            b"answer:abc:1",
            b"answer:xy:1",
            b"answer:1:1",
            b"answer:aa:1",
            b"xanswer:" + ours,
        ]
        for key in others:
            pair.blue.set(key, "theirs")
        pair.copy(pair.feed(tenant))
        assert sorted(k for k in pair.green.keys("*") if not k.startswith(b"tenant_lifecycle:")) == sorted(
            mine
        )
        assert pair.suspects(tenant) == {}
        assert pair.source.remove(pair.feed(tenant), go_on)["answers"] == len(mine)
        assert sorted(k for k in pair.blue.keys("*") if not k.startswith(b"tenant_lifecycle:")) == sorted(
            others
        )


def test_neighbours_are_left_alone_by_copy_repair_and_removal(pair: Pair) -> None:
    for db in (pair.blue, pair.green):
        for key in ("answer:12:x", "answer:12:", "profile:12", "warm:12:x", "session:12:x", "answer:a:b:x"):
            db.set(key, "neighbour")
    fill_every_type(pair.blue)
    before = _dumps(pair.green)
    pair.copy()
    pair.source.repair(pair.target, pair.feed(), {"answers": frozenset({b"answer:1:text", b"answer:1:none"})})
    pair.target.remove(pair.feed(token=2), go_on)
    assert _dumps(pair.green) == before
    pair.copy(pair.feed("a", name="a"))
    assert set(_dumps(pair.green)) == set(before) | set()


def _dumps(db) -> dict[bytes, bytes]:
    return {key: db.dump(key) for key in db.keys("*") if not key.startswith(b"tenant_lifecycle:")}


def test_families_are_treated_as_the_map_says(pair: Pair) -> None:
    pair.ids[US] = TenantIds(
        {"collection": frozenset({"c1", "c*"})}, {NAMED: frozenset({"blob:7", "blob:gone"})}
    )
    for key in ("vec:c1:a", "vec:c*:b", "vec:c2:no", "blob:7", "blob:8", "warm:1:x", "session:1:x"):
        pair.blue.set(key, key)
    assert {part.set for part in pair.source.split(pair.target, pair.feed())} == {"vectors", "named", "warm"}
    assert pair.copy() == 4
    there = {key for key in pair.green.keys("*") if not key.startswith(b"tenant_lifecycle:")}
    assert there == {b"vec:c1:a", b"vec:c*:b", b"blob:7", b"warm:1:x"}
    assert pair.source.sets(US) == ["answers", "profile", "vectors", "named"]


def test_parts_are_the_same_for_every_driver_and_remember_what_is_done(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.split, "__defaults__", (10,))
    for n in range(25):
        pair.blue.set(f"answer:1:{n}", n)
    first = pair.source.split(pair.target, pair.feed())
    assert sorted(part.items for part in first) == [5, 10, 10]
    pair.blue.set("answer:1:later", 1)
    again = pair.source.split(pair.target, pair.feed(token=2))
    assert again == first
    copied = pair.source.copy_part(pair.target, pair.feed(token=2), first[0], go_on)
    assert [part.done for part in pair.source.split(pair.target, pair.feed(token=2))] == [True, False, False]
    assert pair.source.copy_part(pair.target, pair.feed(token=2), first[0], go_on) == copied
    with pytest.raises(WrongState):
        pair.source.copy_part(pair.target, pair.feed(token=2), Part("000099", "answers", 1, False), go_on)


def test_a_part_that_was_interrupted_is_copied_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenant_lifecycle.stores.redis import carry

    monkeypatch.setattr(carry, "CALL_KEYS", 10)
    for n in range(100):
        pair.blue.set(f"answer:1:{n}", n)
    (part,) = pair.source.split(pair.target, pair.feed())
    calls = iter(range(5))

    def stop() -> None:
        if next(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pair.source.copy_part(pair.target, pair.feed(), part, stop)
    there = len(pair.green.keys("answer:1:*"))
    assert 0 < there < 100
    pair.blue.delete("answer:1:3")
    assert pair.source.copy_part(pair.target, pair.feed(), part, go_on).items == 99
    assert len(pair.green.keys("answer:1:*")) == 99
    assert pair.suspects() == {}


def test_an_older_driver_is_refused_everywhere(pair: Pair) -> None:
    pair.blue.set("answer:1:a", "new")
    (part,) = pair.source.split(pair.target, pair.feed(token=5))
    pair.source.repair(pair.target, pair.feed(token=7), {"answers": frozenset({b"answer:1:equal"})})
    old = pair.feed(token=6)
    for attempt in (
        lambda: pair.source.copy_part(pair.target, old, part, go_on),
        lambda: pair.source.repair(pair.target, old, {"answers": frozenset({b"answer:1:a"})}),
        lambda: pair.source.repair(pair.target, old, {"sessions": frozenset({b"session:1:a"})}),
        lambda: pair.source.split(pair.target, pair.feed(token=6, name="other")),
    ):
        with pytest.raises(Fenced):
            attempt()
    assert pair.green.exists("answer:1:a") == 0
    pair.green.set("answer:1:a", "there")
    with pytest.raises(Fenced):
        pair.target.remove(old, go_on)
    assert pair.green.get("answer:1:a") == b"there"
    # Another tenant's driver is another driver.
    pair.blue.set("answer:12:a", "new")
    pair.copy(pair.feed(THEM, token=1))
    assert pair.green.get("answer:12:a") == b"new"


def test_our_own_keys_tell_no_tenant_and_are_nobodys(pair: Pair) -> None:
    tenant = "secret-tenant"
    pair.blue.set(f"answer:{tenant}:a", 1)
    pair.source.split(pair.target, pair.feed(tenant))
    ours = pair.green.keys("tenant_lifecycle:*")
    assert ours and all(tenant.encode() not in key for key in ours)
    assert pair.source.set_of(US, ours[0]) is None
    assert pair.target.inventory(US) is not None
    assert KEYS.mentions(ours[0].decode()) is False


def test_two_drivers_that_split_at_once_get_the_same_parts(pair: Pair) -> None:
    for n in range(200):
        pair.blue.set(f"answer:1:{n}", n)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: pair.source.split(pair.target, pair.feed()), range(8)))
    assert all(parts_ == found[0] for parts_ in found) and found[0][0].items == 200
    assert len([key for key in pair.green.keys("tenant_lifecycle:*") if b":copy:" in key]) == 1


def test_a_repair_leaves_alone_what_is_not_the_tenants(pair: Pair) -> None:
    for key in ("answer:12:x", "session:12:x", "warm:12:x"):
        pair.green.set(key, "another's")
    keys = {
        "answers": frozenset({b"answer:12:x"}),
        "sessions": frozenset({b"session:12:x"}),
        "warm": frozenset({b"warm:12:x"}),
    }
    assert pair.source.repair(pair.target, pair.feed(), keys) == 0
    assert pair.green.exists("answer:12:x", "session:12:x", "warm:12:x") == 3


def test_warm_keys_that_the_target_refuses_do_not_stop_a_copy(pair: Pair) -> None:
    pair.blue.set("warm:1:a", "x")
    (part,) = pair.source.split(pair.target, pair.feed())
    pair.green.set("warm:1:a", "stale")
    pair.green.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreRejected):
            pair.source.copy_part(pair.target, pair.feed(), part, go_on)
    finally:
        pair.green.config_set("maxmemory", 0)
    assert pair.green.exists("warm:1:a") == 0
    assert pair.source.copy_part(pair.target, pair.feed(), part, go_on).items == 1


def test_only_the_database_of_the_url_is_touched(
    pair: Pair, redis_servers: tuple[RedisServer, RedisServer]
) -> None:
    blue = pair.store(redis_servers[0], "blue", redis_servers[0].url(3))
    green = pair.store(redis_servers[1], "green", redis_servers[1].url(4))
    pair.blue.set("answer:1:other database", 1)
    with client(redis_servers[0]) as db:
        db.select(3)
        db.set("answer:1:x", 1)
    feed = pair.feed()
    assert [blue.copy_part(green, feed, part, go_on).items for part in blue.split(green, feed)] == [1]
    assert (
        pair.green.keys("*") == []
        and green.holds(US)
        and not blue.compare(green, US, "answers", go_on).suspects
    )
    heard: list[bytes] = []
    listening = blue.listen(US, heard.append, lambda _: None)
    blue.remove(feed, go_on)
    wait_until(lambda: heard == [b"answer:1:x"])
    listening.stop()
    assert pair.blue.exists("answer:1:other database")
