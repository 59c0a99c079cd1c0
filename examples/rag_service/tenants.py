"""How the service reaches a tenant's stores: the one module that knows the client library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg

from tenant_lifecycle.client import Bucket, ReadSession, TenantClient
from tenant_lifecycle.wiring.client import open_client

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
    client = open_client(config, environment)
    client.listen()
    return Tenants(client)
