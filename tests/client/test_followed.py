"""The product's own follower reads the journal that the client keeps: a flip under load loses no key of Redis."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping

import psycopg
import pytest
import redis
from two_environments import OTHER, A, Two

from tenant_lifecycle.client.session import Session
from tenant_lifecycle.operations.journal_follower import JournalFollower
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.store import PostgresStore


class Keys:
    """Just enough of a keyed store over a real Redis: every key is the tenant's. The Redis store has tests of its own."""

    kind = "redis"

    def __init__(self, environment: str, client: redis.Redis) -> None:
        self.name, self.environment, self.client = f"{environment}/redis", environment, client

    def set_of(self, tenant: str, key: bytes) -> str:
        return "keys"

    def incarnation(self) -> str:
        return "1"

    def sets(self, tenant: str) -> list[str]:
        return ["keys"]

    def compare(self, *arguments: object) -> None:
        raise AssertionError("the follower carries keys over; it compares none")

    def compare_keys(self, *arguments: object) -> None:
        raise AssertionError("the follower carries keys over; it compares none")

    def repair(self, target: Keys, feed: Feed, keys: Mapping[str, frozenset[bytes]]) -> int:
        for key in keys["keys"]:
            value = self.client.dump(key)
            if value is None:
                target.client.delete(key)
            else:
                target.client.restore(key, 0, value, replace=True)
        return len(keys["keys"])


@pytest.mark.parametrize(
    ("mirror_timeout_s", "isolation"),
    [(0.0, "read committed"), (0.25, "read committed"), (0.25, "serializable")],
)
def test_flips_under_load_lose_no_key(two: Two, mirror_timeout_s: float, isolation: str) -> None:
    use_isolation(two, isolation)
    judges = {name: PostgresStore(db) for name, db in two.databases.items()}
    keys = {name: Keys(name, client) for name, client in two.redis.items()}
    followers = {}
    for side in ("blue", "green"):
        feed = two.open_journal(side)
        pair = StorePair("redis", keys[side], keys[OTHER[side]])
        followers[side] = JournalFollower(pair, judges[side], feed)
        followers[side].start()
        followers[side].apply()
    client = two.client(mirror_timeout_s=mirror_timeout_s)
    stop = threading.Event()
    last: dict[str, int] = {}
    failures: list[BaseException] = []

    def write(name: str) -> None:
        number = 0
        try:
            while not stop.is_set():

                def block(session: Session, number: int = number) -> None:
                    session.redis().set(f"{name}/{number % 7}", number)
                    session.redis().delete(f"{name}/{(number + 3) % 7}")
                    session.redis().set("shared", f"{name}/{number}")

                client.write(A, block, deadline_s=30.0)
                last[name] = number
                number += 1
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    dice, source, epoch = random.Random(11), "blue", 1
    until = time.monotonic() + 4.0
    while time.monotonic() < until or epoch < 4:
        ticket = fence.fence(two.databases[source], A, epoch, 10.0, 5.0)
        assert followers[source].await_marker(followers[source].mark(), 8.0)
        same(two)
        assert fence.commit_move(two.databases[source], A, ticket, OTHER[source])
        fence.activate(two.databases[OTHER[source]], A, epoch + 1)
        source, epoch = OTHER[source], epoch + 1
        time.sleep(dice.uniform(0.0, 0.1))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    for name, number in last.items():
        assert two.redis[source].get(f"{name}/{number % 7}") == b"%d" % number
    assert followers[source].await_marker(followers[source].mark(), 20.0)
    same(two)
    for side, follower in followers.items():
        follower.check()
        follower.stop()
        judges[side].close()


def use_isolation(two: Two, isolation: str) -> None:
    """What applications' sessions get from now on."""
    for database in two.databases.values():
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            conn.execute(
                f"ALTER DATABASE \"{conn.info.dbname}\" SET default_transaction_isolation = '{isolation}'"
            )


def same(two: Two) -> None:
    """Both sides hold the same keys with the same values."""
    found = []
    for client in two.redis.values():
        names = sorted(client.keys("*"))
        found.append(dict(zip(names, client.mget(names) if names else [], strict=True)))
    assert found[0] == found[1]
