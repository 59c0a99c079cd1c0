"""Opening the environments an application gave us: which wrapper fits which client object."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tenant_lifecycle.client.door import Door
from tenant_lifecycle.client.environment import Bucket, Environment
from tenant_lifecycle.client.session import Place, StoreSide
from tenant_lifecycle.errors import UsageError


def open_places(environments: Mapping[str, Environment], mirror_timeout_s: float) -> dict[str, Place]:
    """Every environment with its door and its stores.

    Raises:
        UsageError: an object is no client of a store that this version knows.
    """
    return {
        name: Place(
            name,
            Door(name),
            {store: _side(store, client, mirror_timeout_s) for store, client in environment.stores.items()},
        )
        for name, environment in environments.items()
    }


def _side(name: str, client: Any, mirror_timeout_s: float) -> StoreSide:
    """Drivers are optional: one that the application did not import cannot have made the object."""
    if isinstance(client, Bucket):
        from tenant_lifecycle.client.objects import ObjectSide

        return ObjectSide(name, client)
    if "redis" in sys.modules:
        import redis

        if isinstance(client, redis.Redis):
            from tenant_lifecycle.client.redis import RedisSide

            return RedisSide(name, client, mirror_timeout_s or 1.0)
    if "pinecone" in sys.modules and all(hasattr(client, verb) for verb in ("upsert", "fetch", "delete")):
        from tenant_lifecycle.client.vectors import VectorSide

        return VectorSide(name, client)
    raise UsageError(
        f"store {name!r}: a {type(client).__name__} is no client that is known here",
        next_step="give a redis.Redis, a Pinecone Index, or a Bucket with a boto3 client",
    )
