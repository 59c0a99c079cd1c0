"""How the service reaches a tenant's stores: the one module that knows the client library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg

T = TypeVar("T")


class Session(Protocol):
    """The stores of one tenant for the length of a block."""

    @property
    def postgres(self) -> psycopg.Connection[Any]:
        """In a transaction that is committed when the block ends well."""

    def redis(self, name: str) -> Any: ...

    def vectors(self, name: str) -> Any: ...

    def objects(self, name: str) -> Any: ...


class Written(Protocol[T]):
    """What a write gives back."""

    value: T
    token: str


class Tenants(Protocol):
    """What the service asks of the client library."""

    def write(self, tenant: str, block: Callable[[Session], T], deadline_s: float = 10) -> Written[T]: ...

    def read(self, tenant: str, block: Callable[[Session], T], token: str | None = None) -> T: ...

    def close(self) -> None: ...


def open_tenants(config: Path, environment: str) -> Tenants:
    """The client of an installation, for the service's instance in one environment."""
    from rag_service.standin import StandIn

    return StandIn(config, environment)
