"""STAND-IN until `tenant_lifecycle.client.TenantClient` is there: writes and reads go to one side, nothing is mirrored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import redis

from tenant_lifecycle import config as configuration
from tenant_lifecycle.client.gate import WriterGate


@dataclass
class _Written:
    value: Any
    token: str


class _Objects:
    def __init__(self, settings: Mapping[str, str]) -> None:
        self._bucket = settings["bucket"]
        self._s3 = boto3.client(
            "s3", endpoint_url=settings["endpoint"], region_name="us-east-1", aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip

    def put(self, key, body, **options):
        return self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, **options)

    def get(self, key):
        return self._s3.get_object(Bucket=self._bucket, Key=key)

    def delete(self, key):
        self._s3.delete_object(Bucket=self._bucket, Key=key)


class _Vectors:
    def __init__(self, conn: redis.Redis) -> None:
        self._conn = conn

    def upsert(self, vectors, namespace):
        self._conn.hset(
            f"vectors/{namespace}",
            mapping={v["id"]: json.dumps([v["values"], v["metadata"]]) for v in vectors},
        )

    def delete(self, ids, namespace):
        self._conn.hdel(f"vectors/{namespace}", *ids)

    def query(self, *, namespace, vector, top_k, include_metadata):
        from types import SimpleNamespace as N

        found = []
        for text in self._conn.hvals(f"vectors/{namespace}"):
            values, metadata = json.loads(text)
            norm = sum(v * v for v in values) ** 0.5
            found.append((sum(a * b for a, b in zip(values, vector, strict=True)) / norm, metadata))
        found.sort(key=lambda one: -one[0])
        return N(matches=[N(metadata=metadata) for _, metadata in found[:top_k]])


class _Session:
    def __init__(self, postgres, redis_, vectors, objects):
        self.postgres, self._redis, self._vectors, self._objects = postgres, redis_, vectors, objects

    def redis(self, name):
        return self._redis

    def vectors(self, name):
        return self._vectors

    def objects(self, name):
        return self._objects


class StandIn:
    def __init__(self, path: Path, environment: str) -> None:
        environments = configuration.load(path).environments
        dsns = {
            n: s["postgres"].settings["dsn"].replace("user=postgres", "user=rag_app")
            for n, s in environments.items()
        }
        self._gate = WriterGate(dsns, next(iter(dsns)))
        self._stores = {}
        for name, stores in environments.items():
            conn = redis.Redis.from_url(stores["redis"].settings["url"])
            self._stores[name] = conn, _Vectors(conn), _Objects(stores["objects"].settings)

    def write(self, tenant: str, block: Callable[[Any], Any], deadline_s: float = 10) -> Any:
        name = self._gate.writer(tenant).environment
        return _Written(
            self._gate.run(tenant, lambda conn: block(_Session(conn, *self._stores[name])), deadline_s), "0"
        )

    def read(self, tenant: str, block: Callable[[Any], Any], token: str | None = None) -> Any:
        return self.write(tenant, block).value

    def close(self) -> None:
        for conn, _, _ in self._stores.values():
            conn.close()
