"""Health sources from their configuration."""

from __future__ import annotations

from tenant_lifecycle.config import Config
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.health_file import HealthConfig
from tenant_lifecycle.traffic.base import HealthSource
from tenant_lifecycle.traffic.health.probe import ProbeHealth
from tenant_lifecycle.traffic.health.prometheus import PrometheusHealth, Template
from tenant_lifecycle.traffic.health.query import QueryHealth


def open_health(config: Config) -> list[HealthSource]:
    """Every source but those of kind ``router``, which whoever opens the routers opens beside them.

    Raises:
        ConfigError: a query would have a tenant's id where it must not be, or names a store that is not there.
    """
    return [_open(source, config) for source in config.health.values() if source.kind != "router"]


def _open(source: HealthConfig, config: Config) -> HealthSource:
    if source.kind == "prometheus":
        return PrometheusHealth(source.name, source.url, _templates(source), source.token, source.timeout_s)
    if source.kind == "probe":
        return ProbeHealth(source.name, source.urls, source.requests, source.timeout_s)
    dsns = {
        environment: stores[source.store].settings["dsn"]
        for environment, stores in config.environments.items()
        if source.store in stores and "dsn" in stores[source.store].settings
    }
    if not dsns:
        raise ConfigError(f"{source.place}: no environment has a PostgreSQL store {source.store!r}")
    return QueryHealth(source.name, dsns, source.sql, source.timeout_s)


def _templates(source: HealthConfig) -> dict[str, Template]:
    try:
        return {number: Template(text) for number, text in source.queries.items()}
    except ValueError as exc:
        raise ConfigError(f"{source.place}: health.{source.name}.queries: {exc}") from exc
