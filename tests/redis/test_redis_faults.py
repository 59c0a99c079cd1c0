"""What happens when servers die, hang, refuse, restart or fill up; and how big values pass in little memory."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import exceptions as driver
from redis_pair import KEYS, US, Pair, client, go_on

from tenant_lifecycle.errors import (
    ConfigError,
    LifecycleError,
    StoreReadOnly,
    StoreRejected,
    StoreUnavailable,
)
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.redis import connection
from tenant_lifecycle.stores.redis.store import RedisStore
from tenant_lifecycle.stores.registry import no_ids, open_store

MakePair = Callable[..., Pair]
MakeServer = Callable[..., RedisServer]


@pytest.mark.parametrize("victim", ["blue", "green"])
def test_a_server_killed_in_the_middle_of_a_copy(
    make_pair: MakePair, new_server: MakeServer, victim: str
) -> None:
    servers = new_server(appendonly=True, settings={"appendfsync": "always"}), new_server(appendonly=True)
    pair = make_pair(servers)
    pipe = pair.blue.pipeline(transaction=False)
    for n in range(2_000):
        pipe.set(f"answer:1:{n}", os.urandom(200))
    pipe.execute()
    (part,) = pair.source.split(pair.target, pair.feed())
    server = servers[victim == "green"]
    calls = iter(range(100))

    def kill() -> None:
        if next(calls) == 2:
            server.kill()

    with pytest.raises(StoreUnavailable) as caught:
        pair.source.copy_part(pair.target, pair.feed(), part, kill)
    assert caught.value.retryable and f"{victim}/redis" in str(caught.value)
    with pytest.raises(StoreUnavailable):
        pair.source.copy_part(pair.target, pair.feed(), part, go_on)
    server.start()
    for again in pair.source.split(pair.target, pair.feed(token=2)):
        pair.source.copy_part(pair.target, pair.feed(token=2), again, go_on)
    assert pair.compare()["answers"].items == 2_000
    assert pair.suspects() == {}


def test_a_restart_changes_the_incarnation(make_pair: MakePair, new_server: MakeServer) -> None:
    server, other = new_server(appendonly=True), new_server()
    pair = make_pair((server, other))
    first = pair.source.incarnation()
    assert pair.source.incarnation() == first and first != pair.target.incarnation()
    server.kill()
    with pytest.raises(StoreUnavailable):
        pair.source.incarnation()
    server.start()
    second = pair.source.incarnation()
    assert second != first
    # A fail-over in place: it follows another server, takes over its data, and is promoted.
    pair.blue.replicaof("127.0.0.1", other.port)
    following = pair.source.incarnation()
    pair.blue.replicaof("NO", "ONE")
    assert len({first, second, following, pair.source.incarnation()}) == 4


def test_a_replica_is_read_only(make_pair: MakePair, new_server: MakeServer) -> None:
    servers = new_server(), new_server()
    pair = make_pair(servers)
    pair.blue.set("answer:1:a", 1)
    pair.green.replicaof("127.0.0.1", servers[0].port)
    with pytest.raises((StoreReadOnly, StoreUnavailable)):
        pair.source.repair(pair.target, pair.feed(), {"answers": frozenset({b"answer:1:b", b"answer:1:a"})})
        pair.copy()
    codes = {finding.code: finding.severity.value for finding in pair.target.probe()}
    assert codes["redis.read-only"] == "refusal"


def test_a_hung_server_is_given_up(
    make_pair: MakePair, new_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.3)
    server = new_server()
    pair = make_pair((server, server))
    pair.blue.set("answer:1:a", 1)
    assert pair.source.holds(US)
    server.pause()
    try:
        with pytest.raises(StoreUnavailable):
            pair.source.holds(US)
    finally:
        server.resume()
    # What it answers late to a question given up is not taken for the answer to the next one.
    assert pair.source.holds(US)
    assert pair.source.incarnation() == pair.source.incarnation()


def test_passwords_are_checked_and_never_shown(
    new_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 1.0)
    server = new_server(settings={"requirepass": "s3cret-right"})
    ownership = OwnershipMap(keys={"redis": KEYS})

    def store(url: str) -> RedisStore:
        return RedisStore.from_config(
            name="redis", environment="blue", settings={"url": url}, ownership=ownership, ids=no_ids
        )

    right = store(f"redis://:s3cret-right@127.0.0.1:{server.port}/0")
    assert right.holds(US) is False
    assert "s3cret" not in repr(right.server)
    wrong = store(f"redis://:s3cret-wrong@127.0.0.1:{server.port}/0")
    with pytest.raises(StoreRejected) as caught:
        wrong.holds(US)
    assert "s3cret" not in f"{caught.value} {caught.value.next_step}" and not caught.value.retryable
    (finding,) = wrong.probe()
    assert finding.code == "redis.reachable" and "s3cret" not in finding.message
    with pytest.raises(StoreUnavailable):
        store(f"rediss://:s3cret-right@127.0.0.1:{server.port}/0").holds(US)
    for url in (
        "http://:s3cret@h",
        "redis://:s3cret@h:port/0",
        "redis://:s3cret@h/blue",
        "redis://:s3cret@h?decode_responses=1",
    ):
        with pytest.raises(ConfigError) as refused:
            store(url)
        assert "s3cret" not in str(refused.value)


def test_a_missing_url_or_section_is_said(new_server: MakeServer) -> None:
    with pytest.raises(ConfigError, match="has no url"):
        open_store(
            "redis",
            name="redis",
            environment="blue",
            settings={},
            ownership=OwnershipMap(keys={"redis": KEYS}),
        )
    with pytest.raises(ConfigError) as caught:
        open_store(
            "redis", name="cache", environment="blue", settings={"url": "redis://h"},
            ownership=OwnershipMap(keys={"redis": KEYS}),
        )  # fmt: skip
    assert "ownership.yaml" in str(caught.value) and "stores: cache:" in caught.value.next_step


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (driver.ConnectionError("Error 111 connecting"), StoreUnavailable),
        (driver.TimeoutError("Timeout reading from socket"), StoreUnavailable),
        (driver.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (driver.ReadOnlyError("You can't write against a read only replica."), StoreReadOnly),
        (driver.AuthenticationError("WRONGPASS"), StoreRejected),
        (driver.NoPermissionError("this user has no permissions"), StoreRejected),
        (driver.OutOfMemoryError("command not allowed"), StoreRejected),
        (driver.ResponseError("BUSY Redis is busy running a script"), LifecycleError),
        (driver.ResponseError("MISCONF Redis is configured to save RDB snapshots"), StoreUnavailable),
        (driver.ResponseError("ERR whatever"), StoreRejected),
    ],
)
def test_the_drivers_errors_become_ours(raised: driver.RedisError, error: type[Exception]) -> None:
    with pytest.raises(error) as caught, connection.translating("blue/redis"):
        raise raised
    assert caught.value.__cause__ is raised and "blue/redis" in str(caught.value)


def test_keys_in_the_servers_messages_are_left_out() -> None:
    said = driver.ResponseError(
        "unknown command `HFOO`, with args beginning with: `session:bob@example.org`, "
    )
    with pytest.raises(StoreRejected) as caught, connection.translating("blue/redis"):
        raise said
    assert "bob" not in str(caught.value) and "HFOO" in str(caught.value)


BIG_ONES = {
    # 30 to 64 MB each, made at the server.
    "string": "redis.call('SETRANGE', KEYS[1], 67108864, 'end')",
    "list": "for n = 1, 320 do redis.call('RPUSH', KEYS[1], string.rep(string.format('%03d', n), 40000)) end",
    "hash": "for n = 1, 320 do redis.call('HSET', KEYS[1], n, string.rep(string.format('%03d', n), 40000)) end",
    "zset": "local pad = string.rep('x', 30000) for n = 1, 1200 do redis.call('ZADD', KEYS[1], n, n .. pad) end",
    "stream": "local pad = string.rep('x', 30000) for n = 1, 1200 do redis.call('XADD', KEYS[1], n .. '-1', 'f', n .. pad) end",
}


@pytest.mark.parametrize("kind", sorted(BIG_ONES))
def test_a_big_value_passes_in_bounded_memory(pair: Pair, kind: str) -> None:
    key = f"answer:1:{kind}"
    pair.blue.eval(BIG_ONES[kind], 1, key)
    pair.blue.expire(key, 5_000)
    assert pair.blue.memory_usage(key) > 30 * 2**20
    tracemalloc.start()
    try:
        pair.copy()
        assert pair.suspects() == {}
        assert pair.differences({"answers": frozenset({key.encode()})}) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert abs(pair.green.pttl(key) - pair.blue.pttl(key)) < 100
    _spoil(pair.green, kind, key)
    assert pair.suspects() == {"answers": {key.encode()}}
    pair.green.flushall()


def _spoil(db: Any, kind: str, key: str) -> None:
    match kind:
        case "string":
            db.setrange(key, 33_333_333, "x")
        case "list":
            db.lset(key, 123, "x")
        case "hash":
            db.hset(key, "123", "x")
        case "zset":
            db.zadd(key, {b"123" + b"x" * 30000: 123.5})
        case "stream":
            db.xdel(key, "123-1")


def test_a_big_value_that_changes_meanwhile_is_read_again(pair: Pair) -> None:
    key = "answer:1:list"
    pair.blue.eval(BIG_ONES["list"], 1, key)
    (part,) = pair.source.split(pair.target, pair.feed())
    seen = iter(range(10_000))

    def push() -> None:
        if next(seen) == 10:
            pair.blue.lpush(key, "new first")

    pair.source.copy_part(pair.target, pair.feed(), part, push)
    assert pair.suspects() == {}
    pair.green.flushall()


def test_half_a_big_value_is_never_seen(pair: Pair) -> None:
    key = "answer:1:list"
    pair.blue.eval(BIG_ONES["list"], 1, key)
    pair.green.rpush(key, "before")
    (part,) = pair.source.split(pair.target, pair.feed())
    lengths: set[int] = set()

    def look() -> None:
        lengths.add(pair.green.llen(key))
        if len(lengths) == 1 and next(stop) == 5:
            raise KeyboardInterrupt

    stop = iter(range(10_000))
    with pytest.raises(KeyboardInterrupt):
        pair.source.copy_part(pair.target, pair.feed(), part, look)
    assert lengths == {1}
    assert [k for k in pair.green.keys("tenant_lifecycle:*") if b"building" in k] == []
    pair.source.copy_part(pair.target, pair.feed(), part, go_on)
    assert pair.green.llen(key) == 320
    pair.green.flushall()


def test_a_dump_that_the_target_does_not_understand_is_carried_in_pieces(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No newer server is at hand: the dumps are made to look like one's (format version 99, checksum left wrong).
    from redis_pair import fill_every_type

    from tenant_lifecycle.stores.redis import carry

    keys = fill_every_type(pair.blue)
    real = carry._dumped

    def newer(key: bytes, entry: list[Any]) -> carry.Dumped:
        if len(entry) == 4 and entry[3]:
            entry[3] = entry[3][:-10] + b"\x63\x00" + entry[3][-8:]
        return real(key, entry)

    monkeypatch.setattr(carry, "_dumped", newer)
    assert pair.copy() == len(keys)
    assert pair.suspects() == {}


def test_scripts_that_the_server_forgot_are_sent_again(pair: Pair) -> None:
    pair.blue.set("answer:1:a", 1)
    pair.copy()
    for db in (pair.blue, pair.green):
        db.script_flush()
    pair.blue.set("answer:1:a", 2)
    assert pair.source.repair(pair.target, pair.feed(), {"answers": frozenset({b"answer:1:a"})}) == 1
    assert pair.green.get("answer:1:a") == b"2"


def test_many_threads_and_one_store(pair: Pair) -> None:
    for n in range(50):
        pair.blue.set(f"answer:1:{n}", n)
    failed: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for _ in range(20):
                keys = {"answers": frozenset({b"answer:1:%d" % n})}
                pair.source.repair(pair.target, pair.feed(), keys)
                assert pair.differences(keys) == []
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_the_sandboxs_server_lives_and_dies_as_told(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "one", appendonly=True)
    with server:
        first = server.pid
        assert first is not None and psutil.pid_exists(first)
        with client(server) as db:
            db.set("kept", "yes")
        server.start()
        assert server.pid == first
        server.restart()
        assert server.pid != first
        with client(server) as db:
            assert db.get("kept") == b"yes"
        # Another object over the same folder finds the same server.
        assert RedisServer(tmp_path / "one").pid == server.pid
        server.kill()
        assert server.pid is None
        server.start()
    assert server.pid is None
    server.remove()
    assert not (tmp_path / "one").exists()


def test_two_servers_that_want_one_port_get_two(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "one") as one, RedisServer(tmp_path / "two", port=one.port) as two:
        assert one.port != two.port and one.pid != two.pid
