"""What an application knows of an environment: how to reach its PostgreSQL, and its clients of the other stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenant_lifecycle.client.gate import Source


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket, through a boto3 S3 client of the application."""

    client: Any
    bucket: str
    #: A client with short time-outs and no retries, for mirroring; None: objects are not mirrored.
    mirror_client: Any = None


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment, with the application's own connections and clients."""

    #: A DSN, or ``pool.connection`` of a `psycopg_pool.ConnectionPool`.
    postgres: Source
    #: By the store's name in ``lifecycle.yaml``: a ``redis.Redis``, a Pinecone ``Index``, a `Bucket`.
    stores: Mapping[str, Any] = field(default_factory=dict)
