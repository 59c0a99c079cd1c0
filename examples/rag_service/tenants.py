"""How the service reaches a tenant's stores: the one module that knows the client library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import boto3
import psycopg
import redis
from botocore.config import Config
from pinecone import Pinecone

from tenant_lifecycle import config as configuration
from tenant_lifecycle.client.environment import Bucket, Environment
from tenant_lifecycle.client.tenants import ReadSession, TenantClient

T = TypeVar("T")


class Session(Protocol):
    """The stores of one tenant for the length of a block."""

    @property
    def postgres(self) -> psycopg.Connection[Any]:
        """In a transaction that is committed when the block ends well."""

    def redis(self, name: str) -> Any:
        """With the methods of ``redis.Redis``."""

    def vectors(self, name: str) -> Any:
        """With the methods of a Pinecone ``Index``."""

    def objects(self, name: str) -> Any:
        """``put``, ``get`` and ``delete`` in a bucket, with the options of boto3's client."""


class Tenants:
    """Runs blocks that write where the tenant's writer is, and blocks that read here if this side is fresh enough."""

    def __init__(self, client: TenantClient) -> None:
        self._client = client

    def write(self, tenant: str, block: Callable[[Session], T], deadline_s: float) -> tuple[T, str]:
        """What the block returned, and a token: whoever reads with it sees what the block wrote."""
        written = self._client.write(tenant, block, deadline_s)
        return written.value, written.token

    def read(self, tenant: str, block: Callable[[Session], T], token: str | None) -> T:
        """What the block returned."""
        return self._client.read(tenant, lambda session: block(_Reader(session)), token)

    def close(self) -> None:
        """Give back all connections."""
        self._client.close()


class _Reader:
    """A session that only reads, in the shape of one that writes."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session
        self.postgres = session.postgres

    def redis(self, name: str) -> Any:
        return self._session.stores[name]

    def vectors(self, name: str) -> Any:
        return self._session.stores[name]

    def objects(self, name: str) -> Any:
        return _Contents(self._session.stores[name])


class _Contents:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def get(self, key: str) -> Any:
        return self._bucket.client.get_object(Bucket=self._bucket.bucket, Key=key)


def open_tenants(config: Path, environment: str) -> Tenants:
    """The client of an installation, for the service's instance in one environment."""
    environments = {
        name: Environment(
            stores["postgres"].settings["dsn"],
            {store.name: _client(store) for store in stores.values() if store.kind != "postgres"},
        )
        for name, stores in configuration.load(config).environments.items()
    }
    client = TenantClient(environments, home=next(iter(environments)), local=environment)
    client.listen()
    return Tenants(client)


def _client(store: configuration.StoreConfig) -> Any:
    settings = store.settings
    if store.kind == "redis":
        return redis.Redis.from_url(settings["url"], socket_timeout=5, protocol=2)
    if store.kind == "pinecone":
        return Pinecone(api_key=settings["api_key"], host=settings["host"]).index(settings["index"])
    return Bucket(
        _s3(settings, Config(max_pool_connections=32)),
        settings["bucket"],
        _s3(settings, Config(max_pool_connections=32, connect_timeout=0.2, read_timeout=0.25,
                             retries={"total_max_attempts": 1})),
    )  # fmt: skip


def _s3(settings: Any, options: Config) -> Any:
    return boto3.client(
        "s3", endpoint_url=settings["endpoint"], region_name=settings["region"],
        aws_access_key_id=settings["access_key"], aws_secret_access_key=settings["secret_key"], config=options,
    )  # fmt: skip
