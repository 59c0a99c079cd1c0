"""The application's client, made from the same ``lifecycle.yaml`` that the moves are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenant_lifecycle import config as configuration
from tenant_lifecycle.client.environment import Bucket, Environment
from tenant_lifecycle.client.tenants import MIRROR_TIMEOUT_S, TenantClient
from tenant_lifecycle.errors import ConfigError, UsageError

#: How long an application waits for a store, seconds.
_ANSWER_S = 10.0


def open_client(file: Path, environment: str, *, home: str | None = None) -> TenantClient:
    """A client of an application that runs in ``environment``; nothing is connected yet.

    ``home`` is where tenants live that nobody manages; by default the file's first environment. Stores of kinds
    that the client has no wrapper for are left out.

    Raises:
        ConfigError: the file is wrong, or an environment has not exactly one PostgreSQL store.
        UsageError: there is no such environment.
    """
    config = configuration.load(file)
    for name in (environment, home):
        if name is not None and name not in config.environments:
            raise UsageError(
                f"there is no environment {name!r} in {file}",
                next_step=f"known: {', '.join(config.environments)}",
            )
    return TenantClient(
        {name: _environment(name, stores) for name, stores in config.environments.items()},
        home or next(iter(config.environments)),
        environment,
    )


def _environment(name: str, stores: Mapping[str, configuration.StoreConfig]) -> Environment:
    databases = [store for store in stores.values() if store.kind == "postgres"]
    if len(databases) != 1:
        raise ConfigError(
            f"environment {name!r} has {len(databases)} PostgreSQL stores; the client needs exactly one, "
            "whose fence decides",
            next_step="make a TenantClient with the stores you mean",
        )
    clients = {
        store.name: _CLIENTS[store.kind](store.settings)
        for store in stores.values()
        if store.kind in _CLIENTS
    }
    return Environment(databases[0].settings["dsn"], clients)


def _redis(settings: Mapping[str, str]) -> Any:
    import redis

    return redis.Redis.from_url(settings["url"], socket_timeout=_ANSWER_S)


def _pinecone(settings: Mapping[str, str]) -> Any:
    """Asks the service for the index's address, once."""
    from pinecone import Pinecone

    from tenant_lifecycle.stores.pinecone.answers import understand_answers

    understand_answers()
    service = Pinecone(settings["api_key"], host=settings.get("host") or None)
    return service.Index(name=settings["index"])


def _s3(settings: Mapping[str, str]) -> Bucket:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=settings.get("access_key"),
        aws_secret_access_key=settings.get("secret_key"),
        profile_name=settings.get("profile"),
        region_name=settings.get("region"),
    )

    def client(timeout_s: float, attempts: int) -> Any:
        limits = {"connect_timeout": timeout_s, "read_timeout": timeout_s}
        return session.client(
            "s3",
            endpoint_url=settings.get("endpoint"),
            config=Config(
                **limits,
                retries={"total_max_attempts": attempts, "mode": "standard"},
                s3={"addressing_style": "path"} if settings.get("endpoint") else {},
            ),
        )

    return Bucket(client(_ANSWER_S, 3), settings["bucket"], client(MIRROR_TIMEOUT_S * 4, 1))


#: How to make an application's client of a kind.
_CLIENTS: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "redis": _redis,
    "pinecone": _pinecone,
    "s3": _s3,
}
