"""Routers and health sources together, as a gradual cutover needs them."""

from __future__ import annotations

from tenant_lifecycle.config import Config
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.traffic.base import HealthSource, Router
from tenant_lifecycle.traffic.envoy.health import EnvoyHealth
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter
from tenant_lifecycle.traffic.steering import Steering
from tenant_lifecycle.wiring.health import open_health
from tenant_lifecycle.wiring.traffic import open_routers


def open_steering(config: Config) -> Steering | None:
    """Every router and every source of the configuration; None if it has no router.

    Without a section ``health`` the counters of every router that has some are the sources.

    Raises:
        ConfigError: a source names a router that is not there, or that counts nothing a gate could use.
    """
    routers = open_routers(config).by_name
    if not routers:
        return None
    sources = open_health(config)
    sources += [
        _counters(one.place, routers.get(one.router), one.router)
        for one in config.health.values()
        if one.kind == "router"
    ]
    if not config.health:
        sources += [EnvoyHealth(router) for router in routers.values() if isinstance(router, EnvoyRouter)]
    return Steering(list(routers.values()), sources)


def _counters(place: str, router: Router | None, name: str) -> HealthSource:
    if router is None:
        raise ConfigError(f"{place}: there is no router {name!r} under traffic: routers:")
    if not isinstance(router, EnvoyRouter):
        raise ConfigError(
            f"{place}: router {name!r} ({router.kind}) does not count how long answers take",
            next_step="use a source of kind prometheus or probe",
        )
    return EnvoyHealth(router)
