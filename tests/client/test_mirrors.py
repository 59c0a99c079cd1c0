"""A mirror may be down, slow or dead: the request succeeds, and no late request of it gets past the flip."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from two_environments import A, Two, warm

from tenant_lifecycle.client.environment import Environment
from tenant_lifecycle.client.session import Session
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.testing.proxy import FaultProxy


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may stop and freeze."""
    with RedisServer(tmp_path) as server:
        yield server


def beside(two: Two, port: int) -> dict[str, Environment]:
    """Green's Redis at that port."""
    environments = two.environments()
    environments["green"] = Environment(
        two.databases["green"].dsn, {"redis": redis.Redis(port=port, socket_timeout=20)}
    )
    return environments


def put(key: str):
    return lambda session: session.redis().set(key, "v")


def test_a_target_that_is_down_costs_no_request(two: Two, lonely: RedisServer) -> None:
    two.open_journal()
    client = two.client(environments=beside(two, lonely.port))
    warm(client)
    lonely.stop()
    for number in range(20):
        assert client.write(A, put(f"k{number}")).value is True
    counts = client.counts()
    assert counts["mirrors_failed"] >= 1 and counts["mirrors_skipped"] >= 10, "it is left alone for a while"
    assert {e.key for e in two.entries()} >= {b"k%d" % number for number in range(20)}
    lonely.start()
    until = time.monotonic() + 20
    with redis.Redis(port=lonely.port) as there:
        while not there.get("back"):
            assert time.monotonic() < until
            client.write(A, put("back"))
            time.sleep(0.1)


def test_a_request_of_unknown_outcome_keeps_its_key_open(two: Two, lonely: RedisServer) -> None:
    two.open_journal()
    client = two.client(environments=beside(two, lonely.port), mirror_timeout_s=0.2)
    warm(client)
    assert not any(entry.open for entry in two.entries())
    lonely.pause()
    began = time.monotonic()
    client.write(A, put("k"))
    assert time.monotonic() - began < 10
    assert [e.open for e in two.entries() if e.key == b"k"] == [False, True]
    assert client.counts()["keys_held"] == 1
    with two.databases["blue"].session() as conn:
        (left,) = conn.execute(
            "SELECT extract(epoch FROM max(open_until) - clock_timestamp())::float8 FROM tenant_lifecycle.touched"
        ).fetchone()
    assert 10 < left <= 15


def test_a_write_whose_answer_is_lost_keeps_its_key_open(two: Two, redis_servers) -> None:
    """The block may swallow the error and commit: the request could still arrive."""
    two.open_journal()
    with FaultProxy("127.0.0.1", redis_servers["blue"].port) as proxy:
        environments = two.environments()
        environments["blue"] = Environment(
            two.databases["blue"].dsn,
            {"redis": redis.Redis(port=proxy.port, retry=None, socket_timeout=0.3)},
        )
        client = two.client(environments=environments, mirror_timeout_s=0)
        client.write(A, put("k0"))

        def block(session: Session) -> None:
            proxy.black_hole()
            with pytest.raises(redis.RedisError):
                session.redis().set("k", 1)

        client.write(A, block)
        assert [e.open for e in two.entries() if e.key == b"k"] == [False, True]
        with pytest.raises(redis.ResponseError):
            proxy.heal()
            client.write(A, lambda s: s.redis().execute("HSET", "k0", "a"))
        assert not any(e.open for e in two.entries() if e.key == b"k0"), "an answer is an answer"


def test_a_block_that_cannot_keep_its_keys_open_fails(two: Two, lonely: RedisServer) -> None:
    """The journal is gone at the worst moment: nothing is committed, and the block's own entries stay open."""
    from tenant_lifecycle.client.outcome import JournalUnreachable

    two.open_journal()
    client = two.client(environments=beside(two, lonely.port), mirror_timeout_s=0.2)
    warm(client)
    door = client._places["blue"].door

    def no_answer(*args: object) -> None:
        raise JournalUnreachable("no answer")

    def block(session: Session) -> None:
        session.postgres.execute("INSERT INTO docs (t, note) VALUES (%s, 'n')", (A,))
        session.redis().set("k", 1)
        lonely.pause()
        door.hold = no_answer

    with pytest.raises(JournalUnreachable):
        client.write(A, block)
    assert two.notes("blue") == set()
    assert [e.open for e in two.entries() if e.key == b"k"] == [True]


def test_a_large_value_is_left_to_the_move(two: Two) -> None:
    two.open_journal()
    client = two.client()
    warm(client)
    client.write(A, lambda s: s.redis().set("large", b"x" * 1_000_000))
    assert two.redis["green"].get("large") is None and two.redis["blue"].get("large") is not None
    assert client.counts()["mirrors_skipped"] >= 1


def test_mirroring_can_be_switched_off(two: Two) -> None:
    two.open_journal()
    client = two.client(mirror_timeout_s=0)
    for number in range(5):
        client.write(A, put(f"k{number}"))
        time.sleep(0.05)
    assert two.redis["green"].dbsize() == 0 and len(two.entries()) == 5


def test_blocks_that_race_for_a_key_leave_it_in_the_journal(two: Two) -> None:
    """The later write may be mirrored before the earlier one; carrying over what the journal names mends it."""
    two.open_journal()
    client = two.client()
    warm(client)

    def run(number: int) -> None:
        for step in range(20):
            client.write(A, lambda s, step=step: s.redis().set("contended", f"{number}/{step}"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(entry.key == b"contended" for entry in two.entries()) == 80
    value = two.redis["blue"].dump("contended")
    assert value is not None
    assert two.redis["green"].get("contended") is not None


def test_the_hook_hears_what_is_counted(two: Two) -> None:
    heard: dict[str, int] = {}

    def hook(name: str, count: int) -> None:
        heard[name] = heard.get(name, 0) + count

    client = two.client(on_count=hook)
    client.write(A, put("k"))
    with psycopg.connect(two.databases["blue"].dsn):
        assert heard == {"blocks": 1}
