"""The sandbox's servers for the client's tests: beside PostgreSQL two of Redis, and emulators of S3 and Pinecone."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
import redis
from botocore.config import Config
from pinecone import Pinecone
from two_environments import MAP, A, Two, TwoSides

from tenant_lifecycle.client.environment import Bucket, Environment
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.postgres.database import Database


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-client-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_servers(folder: Path) -> Iterator[dict[str, RedisServer]]:
    with RedisServer(folder / "blue") as blue, RedisServer(folder / "green") as green:
        yield {"blue": blue, "green": green}


@pytest.fixture(scope="session")
def s3_endpoint(folder: Path) -> Iterator[str]:
    with ObjectServer(folder / "objects") as server:
        yield server.endpoint


@pytest.fixture(scope="session")
def vector_server() -> Iterator[PineconeServer]:
    with PineconeServer(index=None) as server:
        yield server


def s3_client(endpoint: str, **config: object) -> object:
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(**config),
    )  # fmt: skip


@pytest.fixture
def databases(new_database: Callable[..., str]) -> Iterator[dict[str, Database]]:
    """An empty pair with one table, PostgreSQL 16 and 18."""
    sides = {
        name: Database(f"{name}/postgres", name, new_database(major), MAP)
        for name, major in (("blue", 16), ("green", 18))
    }
    for side in sides.values():
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            conn.execute(
                "CREATE TABLE docs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), t text, note text UNIQUE)"
            )
    yield sides
    for side in sides.values():
        side.close()


@pytest.fixture
def two(databases: dict[str, Database], redis_servers: dict[str, RedisServer]) -> Iterator[Two]:
    """Blue and green with PostgreSQL and Redis, armed for tenant A, blue its writer."""
    clients = {name: redis.Redis(port=server.port) for name, server in redis_servers.items()}
    for client in clients.values():
        client.flushall()
    two = Two(databases, clients)
    two.arm(A)
    yield two
    two.close()
    for client in clients.values():
        client.close()


@pytest.fixture
def buckets(s3_endpoint: str) -> Iterator[dict[str, Bucket]]:
    """An empty bucket for each side."""
    client = s3_client(s3_endpoint)
    quick = s3_client(s3_endpoint, connect_timeout=2, read_timeout=2, retries={"max_attempts": 0})
    made = {}
    for name in ("blue", "green"):
        bucket = f"client-{name}-{time.monotonic_ns()}"
        client.create_bucket(Bucket=bucket)
        made[name] = Bucket(client, bucket, quick)
    yield made


@pytest.fixture
def indexes(vector_server: PineconeServer) -> Iterator[dict[str, object]]:
    """The SDK's index objects, each of an empty index of two dimensions."""
    schema = {"fields": {"values": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}}
    with Pinecone("k", host=vector_server.host) as control:
        names = {side: f"{side}-{time.monotonic_ns()}" for side in ("blue", "green")}
        for name in names.values():
            control.indexes.create(name=name, schema=schema)
        yield {side: control.index(name=name) for side, name in names.items()}


@pytest.fixture
def everything(two: Two, buckets: dict[str, Bucket], indexes: dict[str, object]) -> TwoSides:
    """Environments with a store of every kind."""
    return {
        name: Environment(
            database.dsn, {"redis": two.redis[name], "objects": buckets[name], "vectors": indexes[name]}
        )
        for name, database in two.databases.items()
    }
