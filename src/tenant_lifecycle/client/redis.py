"""Redis in a block: commands whose written keys are known, entered before they are sent.

Scripts, transactions and blocking commands are not offered: which keys they write, and when, is theirs to know.
Commands are not rolled back with the block, and a block may run twice: prefer SET to INCR, or do them last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenant_lifecycle.client.session import Session

#: Methods of ``redis.Redis`` that write, by how many of their first arguments are the keys they write.
WRITES: Mapping[str, int] = dict.fromkeys(
    (
        "append", "decr", "decrby", "expire", "expireat", "getdel", "getex", "getset", "hdel", "hincrby",
        "hincrbyfloat", "hset", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lpop", "lpush", "lpushx",
        "lrem", "lset", "ltrim", "persist", "pexpire", "pexpireat", "pfadd", "psetex", "rpop", "rpush", "rpushx",
        "sadd", "set", "setbit", "setex", "setnx", "setrange", "spop", "srem", "xack", "xadd", "xautoclaim",
        "xclaim", "xdel", "xgroup_create", "xgroup_delconsumer", "xgroup_destroy", "xtrim", "zadd", "zincrby",
        "zpopmax", "zpopmin", "zrem", "zremrangebyrank", "zremrangebyscore",
    ),
    1,
) | dict.fromkeys(("copy", "lmove", "rename", "renamenx", "rpoplpush", "smove"), 2)  # fmt: skip
#: Methods that only read.
READS = frozenset(
    (
        "exists", "get", "getrange", "hexists", "hget", "hgetall", "hkeys", "hlen", "hmget", "hvals", "lindex",
        "llen", "lrange", "mget", "pttl", "scard", "sismember", "smembers", "strlen", "ttl", "type", "xinfo_groups",
        "xlen", "xpending", "xrange", "xrevrange", "zcard", "zcount", "zrange", "zrangebyscore", "zrank", "zscore",
    )
)  # fmt: skip
#: A key that takes more memory than this is not mirrored, for each of its writes would copy it whole; bytes.
MIRROR_BYTES = 256 * 1024
#: Errors that are the server's answer.
_ANSWERS = (redis.ResponseError, redis.DataError)


class RedisSide:
    """One Redis of one environment."""

    def __init__(self, name: str, client: redis.Redis, timeout_s: float) -> None:
        """``timeout_s``: how long one request of a mirror may take."""
        self.name = name
        self.client = client
        encoder: Any = client.get_encoder()
        self._encode = encoder.encode
        self._own = redis.Redis(connection_pool=_like(client, timeout_s))

    def key(self, key: Any) -> bytes:
        """The exact bytes of a key as the client sends it."""
        return bytes(self._encode(key))

    def answered(self, error: BaseException) -> bool:
        return isinstance(error, _ANSWERS)

    def mirror(self, target: RedisSide, keys: Mapping[bytes, object], timeout_s: float) -> int:
        until = time.monotonic() + timeout_s
        sizes = self._own.pipeline(transaction=False)
        for key in keys:
            sizes.memory_usage(key, samples=5)
        small = [key for key, size in zip(keys, sizes.execute(), strict=True) if (size or 0) <= MIRROR_BYTES]
        states = _dump(self._own, small) if small else []
        if time.monotonic() >= until:
            return len(keys)
        if states:
            _restore(target._own, states)
        return len(keys) - len(small)

    def close(self) -> None:
        """End our own connections; the application's are the application's."""
        self._own.connection_pool.disconnect()


def _like(client: redis.Redis, timeout_s: float) -> redis.ConnectionPool:
    """Connections like the application's that decode nothing, wait briefly and never repeat."""
    pool = client.connection_pool
    settings = {
        **{
            k: v
            for k, v in pool.connection_kwargs.items()
            if not k.startswith(("maint_", "himport_", "orig_"))
        },
        "decode_responses": False,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
    }
    return redis.ConnectionPool(connection_class=pool.connection_class, **settings)


def _dump(client: redis.Redis, keys: Sequence[bytes]) -> list[tuple[bytes, bytes | None, int]]:
    """Of each key: its value as DUMP gives it, None if it is gone, and when it ends (Unix ms; 0: never)."""
    pipe = client.pipeline(transaction=True)
    for key in keys:
        pipe.dump(key)
        pipe.pttl(key)
    pipe.time()
    *answers, (seconds, micros) = pipe.execute()
    now_ms = seconds * 1000 + micros // 1000
    return [
        (key, answers[2 * n], now_ms + answers[2 * n + 1] if answers[2 * n + 1] > 0 else 0)
        for n, key in enumerate(keys)
    ]


def _restore(client: redis.Redis, states: Iterable[tuple[bytes, bytes | None, int]]) -> None:
    pipe = client.pipeline(transaction=False)
    for key, value, ends_ms in states:
        if value is None:
            pipe.unlink(key)
        else:
            pipe.restore(key, ends_ms, value, replace=True, absttl=ends_ms > 0)
    pipe.execute()


class RedisKeys:
    """A Redis inside a block. Methods of ``redis.Redis`` in `WRITES` and `READS` have its arguments and answers."""

    def __init__(self, session: Session, side: RedisSide) -> None:
        self._session = session
        self._side = side

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._side.client, name, None)
        if method is not None and name in READS:
            return method  # type: ignore[no-any-return]
        if method is None or name not in WRITES:
            raise AttributeError(f"{name} is not offered inside a block; execute() names the keys it writes")
        count = WRITES[name]

        def write(*arguments: Any, **options: Any) -> Any:
            if len(arguments) < count:
                raise TypeError(f"{name}: give the first {count} argument(s) by position: they are keys")
            return self._write(arguments[:count], lambda: method(*arguments, **options))

        return write

    def execute(self, command: str, *arguments: Any, keys: Sequence[Any] | None = None) -> Any:
        """Any command, by its own words. ``keys`` are those it writes; by default its first argument.

        Whoever names too few loses their writes at a flip.
        """
        written = arguments[:1] if keys is None else keys
        send: Callable[..., Any] = self._side.client.execute_command
        return self._write(written, lambda: send(command, *arguments))

    def delete(self, *keys: Any) -> int:
        return int(self._write(keys, lambda: self._side.client.delete(*keys)))

    def unlink(self, *keys: Any) -> int:
        return int(self._write(keys, lambda: self._side.client.unlink(*keys)))

    def mset(self, mapping: Mapping[Any, Any]) -> bool:
        return bool(self._write(list(mapping), lambda: self._side.client.mset(mapping)))

    def xreadgroup(
        self,
        group: str,
        consumer: str,
        streams: Mapping[Any, Any],
        count: int | None = None,
        noack: bool = False,
    ) -> Any:
        """Read as a consumer, which writes the group's state; does not block."""
        return self._write(
            list(streams),
            lambda: self._side.client.xreadgroup(group, consumer, dict(streams), count=count, noack=noack),
        )

    def _write(self, keys: Sequence[Any], act: Callable[[], Any]) -> Any:
        if not keys:
            raise TypeError("no key is written")
        return self._session.write(self._side, [self._side.key(key) for key in keys], act)
