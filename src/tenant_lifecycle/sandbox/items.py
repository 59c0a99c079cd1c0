"""How the ledger's keys and values are read from Redis, the vector index and the bucket: all as text.

Drivers as they are, nothing of the product in between: what is wrong with the product must show here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Key = tuple[str, ...]
Values = Mapping[str, str | None]
#: The items under some keys, usually one or none for each.
ItemReader = Callable[[Sequence[Key]], Mapping[Key, list[Values]]]

#: Parts of the key, by the ledger's name for a kind of items.
ITEMS: Mapping[str, tuple[str, ...]] = {
    "objects": ("key",),
    "vectors": ("namespace", "id"),
    "redis:session": ("key",),
    "redis:answer": ("key",),
    # An entry of a stream is told by the request that wrote it.
    "redis:events": ("key", "request"),
    # Entries that a consumer took and acknowledged.
    "redis:taken": ("key", "entry"),
    # A number.
    "redis:usage": ("key",),
}
#: Kinds whose items are written once more when a request is sent once more.
REPEATED = frozenset({"redis:events"})
NO_ITEMS: Mapping[str, ItemReader] = {}
_THREADS = 8
#: Vectors asked for at once; their ids travel in the address.
_FETCHED = 50
#: Redis' PTTL of a key that does not expire.
_NEVER = -1


def digest(content: bytes) -> str:
    """As values hold it."""
    return hashlib.sha256(content).hexdigest()


def canonical(data: Any) -> str:
    """Metadata and the like as text, equal if and only if equal."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False)


def vector_digest(values: Iterable[float]) -> str:
    """Of the numbers as the index keeps them: float32."""
    numbers = list(values)
    return digest(struct.pack(f"<{len(numbers)}f", *numbers))


def redis_items(redis: Any) -> dict[str, ItemReader]:
    """Readers over a ``redis.Redis`` that answers in bytes."""

    def texts(keys: Sequence[Key]) -> dict[Key, list[Values]]:
        # Both at one moment, and in milliseconds: a key in its last half second has a TTL of 0 seconds.
        with redis.pipeline(transaction=True) as pipe:
            for (key,) in keys:
                pipe.get(key)
                pipe.pttl(key)
            answers = pipe.execute()
        found: dict[Key, list[Values]] = {}
        for place, value, ttl in zip(keys, answers[::2], answers[1::2], strict=True):
            if value is not None:
                found[place] = [{"value": value.decode(), "expires": "no" if ttl == _NEVER else "yes"}]
        return found

    return {
        "redis:session": texts,
        "redis:answer": texts,
        "redis:usage": texts,
        "redis:events": lambda keys: _entries(redis, keys),
        "redis:taken": lambda keys: _taken(redis, keys),
    }


def object_items(s3: Any, bucket: str) -> dict[str, ItemReader]:
    """Readers over a boto3 client for S3."""
    # Asked for here once: the client makes its classes of errors when they are first asked for, and threads that
    # ask at the same time get different ones.
    missing = s3.exceptions.NoSuchKey

    def one(key: Key) -> list[Values]:
        try:
            found = s3.get_object(Bucket=bucket, Key=key[0])
        except missing:
            return []
        tags = s3.get_object_tagging(Bucket=bucket, Key=key[0])["TagSet"]
        return [
            {
                "sha256": digest(found["Body"].read()),
                "type": found["ContentType"],
                "metadata": canonical(found["Metadata"]),
                "tags": canonical({tag["Key"]: tag["Value"] for tag in tags}),
            }
        ]

    def read(keys: Sequence[Key]) -> dict[Key, list[Values]]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return {key: found for key, found in zip(keys, pool.map(one, keys), strict=True) if found}

    return {"objects": read}


def vector_items(index: Any) -> dict[str, ItemReader]:
    """Readers over an ``Index`` of the Pinecone SDK."""

    def read(keys: Sequence[Key]) -> dict[Key, list[Values]]:
        by_namespace: dict[str, list[str]] = defaultdict(list)
        for namespace, id in keys:
            by_namespace[namespace].append(id)
        found: dict[Key, list[Values]] = {}
        for namespace, ids in by_namespace.items():
            for start in range(0, len(ids), _FETCHED):
                some = index.fetch(ids=ids[start : start + _FETCHED], namespace=namespace).vectors
                for id, vector in some.items():
                    values = {
                        "vector": vector_digest(vector.values),
                        "metadata": canonical(_whole(vector.metadata)),
                    }
                    found[namespace, id] = [values]
        return found

    return {"vectors": read}


def _whole(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Numbers come back as floats; whole ones are written as such."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in (metadata or {}).items()
    }


def _entries(redis: Any, keys: Sequence[Key]) -> dict[Key, list[Values]]:
    """Every entry of the streams, by the request that wrote it."""
    found: dict[Key, list[Values]] = defaultdict(list)
    wanted = set(keys)
    for stream in {key for key, _ in keys}:
        for _, fields in redis.xrange(stream):
            values = {name.decode(): value.decode() for name, value in fields.items()}
            place = (stream, values.pop("request", ""))
            if place in wanted:
                found[place].append(values)
    return found


def _taken(redis: Any, keys: Sequence[Key], group: str = "workers") -> dict[Key, list[Values]]:
    """The entries that the group will not give out again."""
    found: dict[Key, list[Values]] = {}
    for stream in {key for key, _ in keys}:
        groups = redis.xinfo_groups(stream) if redis.exists(stream) else []
        last = next((one["last-delivered-id"] for one in groups if one["name"].decode() == group), b"0-0")
        pending: set[bytes] = set()
        if any(one["pending"] for one in groups):
            pending = {one["message_id"] for one in redis.xpending_range(stream, group, "-", "+", 100_000)}
        for key in keys:
            entry = key[1].encode()
            if key[0] == stream and _id(entry) <= _id(last) and entry not in pending:
                found[key] = [{"state": "done"}]
    return found


def _id(text: bytes) -> tuple[int, int]:
    first, _, second = text.partition(b"-")
    return int(first), int(second or 0)
