"""Keys in Redis: strings, hashes, sorted sets and lists, half of them with a time to live."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from bench.keyed.resp import Resp
from bench.keyed.tenancy import NEIGHBOUR, TENANT, batches, opened
from tenant_lifecycle.sandbox.redis import RedisServer

_HOUR_MS = 3_600_000


class RedisKeys:
    """See `tenancy.Tenancy`."""

    kind = "redis"
    peer = "a loop with redis-py"

    def __init__(self, blue: RedisServer, green: RedisServer, items: int) -> None:
        self.items = items
        self.stores = opened("redis", "item:{tenant}:*", ({"url": blue.url()}, {"url": green.url()}))
        self._blue, self._green = redis.Redis(port=blue.port), redis.Redis(port=green.port)
        self._raw = Resp(blue.port), Resp(green.port)
        for tenant in (TENANT, NEIGHBOUR):
            self._fill(tenant)

    def empty(self) -> None:
        self._green.flushall()

    def there(self) -> int:
        return sum(1 for _ in self._green.scan_iter(match=f"item:{TENANT}:*", count=1000))

    def copy(self) -> None:
        for key in self._keys(self._blue):
            self._carry(key)

    def copy_raw(self) -> None:
        """As `copy`, without a client library: SCAN in pages, then DUMP, PTTL and RESTORE of each key."""
        blue, green = self._raw
        for key in self._keys(self._blue):
            dump, ttl = blue.ask(b"DUMP", key), blue.ask(b"PTTL", key)
            assert isinstance(dump, bytes) and isinstance(ttl, int)
            green.ask(b"RESTORE", key, b"%d" % max(ttl, 0), dump, b"REPLACE")

    def equal(self) -> bool:
        return all(self._same(key) for key in self._keys(self._blue)) and self.there() == self.items

    def change(self, count: int, number: int) -> list[bytes]:
        keys = [f"item:{TENANT}:{n}" for n in range(count)]
        with self._blue.pipeline(transaction=False) as pipe:
            for n, key in enumerate(keys):
                pipe.delete(key)
                if (n + number) % 10:
                    pipe.set(key, f"changed {number} {n} ".ljust(200, "x"), px=_HOUR_MS)
            pipe.execute()
        return [key.encode() for key in keys]

    def carry(self, keys: list[bytes]) -> None:
        for key in keys:
            self._carry(key)

    def close(self) -> None:
        """Give back connections."""
        for one in (*self.stores, self._blue, self._green, *self._raw):
            one.close()

    def _keys(self, side: redis.Redis) -> Iterator[bytes]:
        return side.scan_iter(match=f"item:{TENANT}:*", count=1000)

    def _carry(self, key: bytes) -> None:
        dump = self._blue.dump(key)
        if dump is None:
            self._green.delete(key)
        else:
            ttl = self._blue.pttl(key)
            self._green.restore(key, max(ttl, 0), dump, replace=True)

    def _same(self, key: bytes) -> bool:
        """The servers are of one version, and small values have one encoding: here equal values are equal dumps."""
        if self._blue.dump(key) != self._green.dump(key):
            return False
        return abs(self._blue.pttl(key) - self._green.pttl(key)) < 1000

    def _fill(self, tenant: str) -> None:
        dice = random.Random(tenant)
        for some in batches(list(range(self.items)), 1000):
            with self._blue.pipeline(transaction=False) as pipe:
                for n in some:
                    _item(pipe, f"item:{tenant}:{n}", n, dice)
                pipe.execute()


def _item(pipe: redis.client.Pipeline, key: str, n: int, dice: random.Random) -> None:
    word = dice.randbytes(80).hex()
    if n % 4 == 1:
        pipe.hset(key, mapping={f"field{i}": f"{i}{word[:40]}" for i in range(8)})
    elif n % 4 == 2:
        pipe.zadd(key, {f"{i}{word[:20]}": float(i) for i in range(10)})
    elif n % 4 == 3:
        pipe.rpush(key, *(f"{i}{word[:30]}" for i in range(10)))
    else:
        pipe.set(key, word)
    if n % 2:
        pipe.pexpire(key, _HOUR_MS)


@contextmanager
def redis_keys(folder: Path, items: int) -> Iterator[RedisKeys]:
    """On two servers of its own."""
    with RedisServer(folder / "redis-blue") as blue, RedisServer(folder / "redis-green") as green:
        keys = RedisKeys(blue, green, items)
        try:
            yield keys
        finally:
            keys.close()
