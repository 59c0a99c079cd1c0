"""Notifications: every touch of the tenant's keys, nobody else's, and a word whenever one may have been missed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from redis_pair import US, Pair, fill_stream, wait_until

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.base import Listening
from tenant_lifecycle.stores.redis import hints

MakePair = Callable[..., Pair]
MakeServer = Callable[..., RedisServer]


@dataclass
class Heard:
    """What a listener was told."""

    keys: list[bytes] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    stops: list[Listening] = field(default_factory=list)

    def listen(self, pair: Pair, on_key: Callable[[bytes], None] | None = None) -> None:
        self.stops.append(pair.source.listen(US, on_key or self.keys.append, self.gaps.append))


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    yield made
    for stop in made.stops:
        stop.stop()


def test_every_touch_of_the_tenants_keys_is_told(pair: Pair, heard: Heard) -> None:
    pair.ids[US] = TenantIds({"collection": frozenset({"c1"})})
    heard.listen(pair)
    db = pair.blue
    db.set("answer:12:x", 1)
    db.set(b"answer:1:\xff\n*", 1)
    db.lpush("answer:1:list", 1)
    db.hset("answer:1:hash", "a", "b")
    db.sadd("answer:1:set", 1)
    db.zadd("answer:1:zset", {"a": 1})
    fill_stream(db, b"answer:1:stream")
    db.set("session:1:x", 1)
    db.set("vec:c1:x", 1)
    db.set("answer:1:short", 1, px=1)
    db.delete("answer:1:list")
    db.rename("answer:1:hash", "answer:1:other")
    wanted = {
        b"answer:1:\xff\n*", b"answer:1:list", b"answer:1:hash", b"answer:1:other", b"answer:1:set", b"answer:1:zset",
        b"answer:1:stream", b"session:1:x", b"vec:c1:x", b"answer:1:short",
    }  # fmt: skip
    wait_until(lambda: set(heard.keys) >= wanted)
    assert set(heard.keys) == wanted and heard.gaps == []


def test_keys_of_a_data_set_that_came_up_later_are_told(
    pair: Pair, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "IDS_EVERY_S", 0.1)
    heard.listen(pair)
    pair.blue.set("vec:c9:x", 1)
    pair.ids[US] = TenantIds({"collection": frozenset({"c9"})})
    wait_until(lambda: b"vec:c9:x" in heard.keys)


def test_a_lost_connection_is_a_gap_when_it_breaks_and_when_it_is_back(pair: Pair, heard: Heard) -> None:
    heard.listen(pair)
    _cut(pair)
    wait_until(lambda: len(heard.gaps) >= 2)
    assert "stopped" in heard.gaps[0] and heard.gaps[-1].endswith("listening again")
    pair.blue.set("answer:1:x", 1)
    wait_until(lambda: b"answer:1:x" in heard.keys)


def _cut(pair: Pair) -> None:
    for one in pair.blue.client_list(_type="pubsub"):
        pair.blue.client_kill_filter(_id=one["id"])


def test_a_restart_is_a_gap_and_says_so(make_pair: MakePair, new_server: MakeServer, heard: Heard) -> None:
    server = new_server(notify="KA")
    pair = make_pair((server, new_server()))
    heard.listen(pair)
    server.kill()
    wait_until(lambda: heard.gaps)
    server.start()
    wait_until(lambda: any("restarted" in gap for gap in heard.gaps))
    pair.blue.set("answer:1:x", 1)
    wait_until(lambda: b"answer:1:x" in heard.keys)


def test_who_reads_too_slowly_is_cut_off_and_told(
    make_pair: MakePair, new_server: MakeServer, heard: Heard
) -> None:
    server = new_server(notify="KA", settings={"client-output-buffer-limit": "pubsub 32kb 16kb 1"})
    pair = make_pair((server, new_server()))
    slow: list[bytes] = []

    def on_key(key: bytes) -> None:
        if not slow:
            wait_until(lambda: not pair.blue.client_list(_type="pubsub"))
        slow.append(key)

    heard.listen(pair, on_key)
    key = "answer:1:" + "x" * 10_000
    pipe = pair.blue.pipeline(transaction=False)
    for _ in range(2_000):
        pipe.set(key, 1)
    pipe.execute()
    wait_until(lambda: any(gap.endswith("listening again") for gap in heard.gaps))


def test_what_the_caller_fails_to_take_is_a_gap(pair: Pair, heard: Heard) -> None:
    def fail(key: bytes) -> None:
        raise RuntimeError("no room")

    heard.listen(pair, fail)
    pair.blue.set("answer:1:x", 1)
    wait_until(lambda: heard.gaps)


@pytest.mark.parametrize("setting", ["", "A", "KEx", "Kg$lshz"])
def test_a_server_that_tells_too_little_is_refused(
    make_pair: MakePair, redis_servers: tuple[RedisServer, RedisServer], heard: Heard, setting: str
) -> None:
    pair = make_pair(redis_servers[::-1])
    pair.blue.config_set("notify-keyspace-events", setting)
    with pytest.raises(StoreRejected) as caught:
        heard.listen(pair)
    assert "notify-keyspace-events KA" in caught.value.next_step
    pair.blue.config_set("notify-keyspace-events", "KEg$lshztxe")
    heard.listen(pair)


@pytest.mark.parametrize(("setting", "enough"), [("KA", True), ("K$g", False), ("", False)])
def test_where_the_setting_may_not_be_read_it_is_tried(
    make_pair: MakePair, new_server: MakeServer, heard: Heard, setting: str, enough: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from tenant_lifecycle.stores.redis import notifying

    monkeypatch.setattr(notifying, "CANARY_TIMEOUT_S", 0.3)
    pair = make_pair((new_server(notify=setting, settings={"rename-command": 'CONFIG ""'}), new_server()))
    if enough:
        heard.listen(pair)
        pair.blue.set("answer:1:x", 1)
        wait_until(lambda: heard.keys == [b"answer:1:x"])
    else:
        with pytest.raises(StoreRejected):
            heard.listen(pair)
    assert pair.blue.keys("tenant_lifecycle:*") == []


def test_listening_ends_and_a_dead_server_is_said_at_once(
    make_pair: MakePair, new_server: MakeServer
) -> None:
    server = new_server(notify="KA")
    pair = make_pair((server, new_server()))
    heard = Heard()
    heard.listen(pair)
    heard.stops[0].stop()
    heard.stops[0].stop()
    wait_until(lambda: not pair.blue.client_list(_type="pubsub"))
    server.kill()
    with pytest.raises(StoreUnavailable):
        heard.listen(pair)
    assert heard.gaps == []


def test_what_was_touched_before_is_told_before_it_is_said_to_be_settled(pair: Pair, heard: Heard) -> None:
    heard.listen(pair, lambda key: (time.sleep(0.0002), heard.keys.append(key)))
    listening = heard.stops[0]
    pair.ids[US] = TenantIds()
    for round_ in range(5):
        pipe = pair.blue.pipeline()
        for number in range(400):
            pipe.set(f"answer:1:{round_}-{number}", 1)
        pair.blue.set(f"vec:c{round_}:x", 1)
        pipe.execute()
        pair.ids[US] = TenantIds({"collection": frozenset({f"c{round_}"})})
        assert listening.settled(5.0)
        assert len(heard.keys) == 401 * (round_ + 1), "not everything was told"


def test_nothing_is_settled_while_nobody_is_listening(pair: Pair, heard: Heard) -> None:
    heard.listen(pair)
    listening = heard.stops[0]
    assert listening.settled(2.0)
    _cut(pair)
    assert not listening.settled(0.3) or heard.gaps
    wait_until(lambda: any("listening again" in gap for gap in heard.gaps))
    assert listening.settled(2.0)
