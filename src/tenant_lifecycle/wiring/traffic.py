"""Routers out of ``lifecycle.yaml``, and what the command line asks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tenant_lifecycle import config as configuration
from tenant_lifecycle.errors import LifecycleError, UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.traffic_check import Checked, check_traffic
from tenant_lifecycle.traffic.base import Route, Router, Served
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter
from tenant_lifecycle.traffic.haproxy.frontend import TABLE
from tenant_lifecycle.traffic.haproxy.router import HAProxyRouter
from tenant_lifecycle.traffic.route53 import Route53Router, open_client
from tenant_lifecycle.traffic.routers import Routers
from tenant_lifecycle.traffic.tenant_header import SESSION_COOKIE
from tenant_lifecycle.traffic_config import RouterConfig


@dataclass(frozen=True, slots=True)
class Seen:
    """One tenant in one router, as it is now."""

    router: str
    kind: str
    intended: Route | None = None
    written: Route | None = None
    actual: Route | None = None
    served: Mapping[str, Served] = field(default_factory=dict)
    #: Why the router could not be asked; then the rest is what was learned before.
    error: LifecycleError | None = None


def open_routers(config: configuration.Config) -> Routers:
    """Every router of the configuration; nothing is connected yet."""
    opened = {
        name: _KINDS[router.kind](router, config.state_folder)
        for name, router in config.traffic.routers.items()
    }
    return Routers(opened)


def check_routes(file: Path, tenant: TenantId | None, window_s: float | None) -> list[Checked]:
    """Look for drift; None for the tenant: everybody with a route. None for the window: the configured one."""
    config = configuration.load(file)
    rules = config.traffic.check
    if window_s is not None:
        rules = replace(rules, window_s=window_s)
    with _routers(config) as routers:
        tenants = None if tenant is None else [tenant]
        return check_traffic(list(routers.by_name.values()), tenants, rules)


def see_routes(file: Path, tenant: TenantId) -> list[Seen]:
    """What every router was asked to do with a tenant, says it does, and has counted."""
    with _routers(configuration.load(file)) as routers:
        return [_see(router, tenant) for router in routers.by_name.values()]


def set_routes(file: Path, route: Route) -> list[Seen]:
    """Have the route in every router, and look at it."""
    with _routers(configuration.load(file)) as routers:
        routers.set_route(route)
        return [_see(router, route.tenant) for router in routers.by_name.values()]


def clear_routes(file: Path, tenant: TenantId) -> list[Seen]:
    """Take the tenant's route out of every router, and look."""
    with _routers(configuration.load(file)) as routers:
        routers.clear_route(tenant)
        return [_see(router, tenant) for router in routers.by_name.values()]


@contextmanager
def _routers(config: configuration.Config) -> Iterator[Routers]:
    routers = open_routers(config)
    if not routers:
        raise UsageError(
            f"{config.file} names no router", next_step="add one under traffic: routers: (docs/traffic.md)"
        )
    try:
        yield routers
    finally:
        routers.close()


def _see(router: Router, tenant: TenantId) -> Seen:
    seen = Seen(router.name, router.kind)
    try:
        seen = replace(seen, intended=router.intended(tenant), written=router.written(tenant))
        return replace(seen, actual=router.actual(tenant), served=router.served(tenant))
    except LifecycleError as error:
        return replace(seen, error=error)


def _envoy(router: RouterConfig, _state_folder: Path) -> Router:
    settings = router.settings
    return EnvoyRouter(
        router.name,
        routes=Path(settings["routes"]),
        admin=settings["admin"],
        targets=router.targets,
        route_config=settings.get("route_config", "tenant_routes"),
        virtual_host=settings.get("virtual_host"),
        cookie=settings.get("cookie", SESSION_COOKIE),
        timeout_s=float(settings.get("timeout", 5.0)),
    )


def _haproxy(router: RouterConfig, _state_folder: Path) -> Router:
    settings = router.settings
    return HAProxyRouter(
        router.name,
        map_file=Path(settings["map"]),
        socket=settings["socket"],
        targets=router.targets,
        table=settings.get("table", TABLE),
    )


def _route53(router: RouterConfig, state_folder: Path) -> Router:
    settings = router.settings
    folder = state_folder / "traffic"
    folder.mkdir(parents=True, exist_ok=True)
    return Route53Router(
        router.name,
        client=open_client(settings),
        zone=settings["zone"],
        record=settings["record"],
        intents=folder / f"{router.name.encode().hex()}.intended",
        targets=router.targets,
        ttl_s=int(settings.get("ttl", 60)),
        read_only=settings.get("read_only") == "true",
    )


#: Kind -> what opens it.
_KINDS: Mapping[str, Callable[[RouterConfig, Path], Router]] = {
    "envoy": _envoy,
    "haproxy": _haproxy,
    "route53": _route53,
}
