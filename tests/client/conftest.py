"""Real servers beside PostgreSQL for the client's tests: two of Redis, one that speaks S3, one stub for vectors."""

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
from moto.server import ThreadedMotoServer
from redis_server import RedisServer
from two_environments import MAP, A, Two, TwoSides
from vector_stub import VectorStub

from tenant_lifecycle.client.environment import Bucket, Environment
from tenant_lifecycle.sandbox.postgres import free_port
from tenant_lifecycle.stores.postgres.database import Database


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[dict[str, RedisServer]]:
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-redis-"))
    servers: dict[str, RedisServer] = {}
    try:
        for name in ("blue", "green"):
            servers[name] = RedisServer(folder)
        yield servers
    finally:
        for server in servers.values():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


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
def indexes() -> Iterator[dict[str, object]]:
    """The SDK's index objects, each against a stub of the service. To be replaced by the sandbox's emulator."""
    stubs = {name: VectorStub() for name in ("blue", "green")}
    yield {name: stub.index() for name, stub in stubs.items()}
    for stub in stubs.values():
        stub.close()


@pytest.fixture
def everything(two: Two, buckets: dict[str, Bucket], indexes: dict[str, object]) -> TwoSides:
    """Environments with a store of every kind."""
    return {
        name: Environment(
            database.dsn, {"redis": two.redis[name], "objects": buckets[name], "vectors": indexes[name]}
        )
        for name, database in two.databases.items()
    }
