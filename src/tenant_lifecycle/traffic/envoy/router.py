"""The router Envoy: says what it does with routes by its file, and what is true by its own word."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tenant_lifecycle.errors import LifecycleError, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route, Served
from tenant_lifecycle.traffic.envoy.admin import Admin
from tenant_lifecycle.traffic.envoy.counters import FILTER, read_served
from tenant_lifecycle.traffic.envoy.route_file import RouteFile, number
from tenant_lifecycle.traffic.envoy.routes import Entry, Shape, is_of, lenders, tenants, with_route
from tenant_lifecycle.traffic.intents import Intents
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import SESSION_COOKIE, encode_tenant
from tenant_lifecycle.traffic.whole_file import WholeFile

_POLL_S = 0.002


class EnvoyRouter:
    """One Envoy whose route configuration comes from a watched file."""

    kind = "envoy"
    counts = True

    def __init__(
        self,
        name: str,
        *,
        routes: Path,
        admin: str,
        targets: Mapping[str, str],
        route_config: str = "tenant_routes",
        virtual_host: str | None = None,
        cookie: str = SESSION_COOKIE,
        timeout_s: float = 5.0,
    ) -> None:
        """``targets`` are cluster names by environment; ``timeout_s`` is how long Envoy may take to load."""
        self.name = name
        self.targets = Targets(targets)
        self.admin = Admin(admin, name)
        self._file = RouteFile(WholeFile(routes, name), route_config, virtual_host)
        self._intents = Intents.beside(routes, name)
        self._shape = Shape(self.targets, cookie)
        self._timeout_s = timeout_s

    def probe(self) -> list[Finding]:
        """Whether the file can be used, Envoy answers and has loaded it, and requests are counted."""
        try:
            version, _ = self._file.routes()
            running = self._running()
        except LifecycleError as error:
            code = "traffic.unreachable" if error.retryable else "traffic.file"
            return [Finding(code, Severity.REFUSAL, str(error), error.next_step, self.name)]
        if running != version:
            return [
                Finding(
                    "traffic.not-loaded",
                    Severity.REFUSAL,
                    f"Envoy runs version {running or 'none'!r} of its routes, the file has {version!r}",
                    "Envoy must watch the file's folder (watched_directory) under the same route_config_name",
                    self.name,
                )
            ]
        found = [
            Finding(
                "traffic.reachable", Severity.OK, "Envoy answers and has loaded its routes", "", self.name
            )
        ]
        if FILTER not in str(self.admin.json("/config_dump")):
            message = f"the filter {FILTER} is not in the listener, so requests are not counted per tenant"
            found.append(
                Finding("traffic.not-counted", Severity.WARNING, message, "docs/traffic.md", self.name)
            )
        return found

    def set_route(self, route: Route) -> None:
        """Have the route; returns when Envoy has loaded it (its threads follow within their next turn)."""
        self.targets.check(route)
        self._write(route.tenant, route)

    def clear_route(self, tenant: TenantId) -> None:
        """Send the tenant where the operator's routes send everybody."""
        self._write(tenant, None)

    def routed(self) -> list[TenantId]:
        found = {*self._intents.tenants(), *tenants(self._file.routes()[1])}
        with suppress(StoreUnavailable):
            found |= set(tenants(self._loaded()))
        return sorted(found)

    def intended(self, tenant: TenantId) -> Route | None:
        return self._intents.get(tenant)

    def written(self, tenant: TenantId) -> Route | None:
        return self._shape.route(tenant, self._file.routes()[1])

    def actual(self, tenant: TenantId) -> Route | None:
        return self._shape.route(tenant, self._loaded())

    def served(self, tenant: TenantId) -> Mapping[str, Served]:
        return read_served(self.admin, self.targets, tenant)

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, tenant: TenantId, route: Route | None) -> None:
        encode_tenant(tenant)
        down: StoreUnavailable | None = None
        running, refused = None, 0
        try:
            running, refused = self._running(), self._refused()
            self._check_clusters(route)
        except StoreUnavailable as error:
            down = error
        before = self._intents.get(tenant), [e for e in self._file.routes()[1] if is_of(e, tenant)]
        self._intents.put(tenant, route)

        def change(routes: list[Entry]) -> list[Entry]:
            entries = self._shape.entries(route, lenders(routes)) if route is not None else []
            return with_route(routes, tenant, entries)

        version = self._file.rewrite(change, running)
        if down is not None:
            raise down
        try:
            self._await(version, refused)
        except StoreRejected:
            # Left in the file, it would keep every other tenant's next route from being loaded.
            self._intents.put(tenant, before[0])
            self._file.rewrite(lambda routes: with_route(routes, tenant, before[1]), version)
            raise

    def _await(self, version: str, refused: int) -> None:
        """Return when Envoy runs this version or one that was written after it."""
        end = time.monotonic() + self._timeout_s
        while number(running := self._running()) < number(version) and running != version:
            if self._refused() > refused:
                raise StoreRejected(
                    f"router {self.name}: Envoy refused version {version} of its routes; the file is as it was",
                    store=self.name,
                    next_step="Envoy's log says why",
                )
            if time.monotonic() > end:
                raise StoreUnavailable(
                    f"router {self.name}: Envoy has not loaded version {version} of its routes within "
                    f"{self._timeout_s:g} s; it runs {running or 'none'!r}",
                    store=self.name,
                    next_step="tenantctl doctor; what is written down is in effect when it loads the file",
                )
            time.sleep(_POLL_S)

    def _check_clusters(self, route: Route | None) -> None:
        """Refuse a route to a cluster that Envoy does not have: it would take it, and answer 503.

        Raises:
            StoreRejected: a cluster is missing.
        """
        names = {self.targets.target(name) for name in (route.writer, *route.share)} if route else set()
        stats = {f"cluster.{name.replace(':', '_')}.membership_total": name for name in names}
        known = {str(e.get("name")) for e in self.admin.stats(rf"^({'|'.join(map(re.escape, stats))})$")}
        missing = sorted(name for stat, name in stats.items() if stat not in known)
        if missing:
            raise StoreRejected(
                f"router {self.name}: Envoy has no cluster {missing[0]!r}",
                store=self.name,
                next_step="targets: under the router in lifecycle.yaml says what Envoy calls each environment",
            )

    def _running(self) -> str | None:
        """The version Envoy runs, of the listener that is furthest behind; None if none watches the file."""
        versions = [str(entry["value"]) for entry in self._rds("version_text")]
        return min(versions, key=number) if versions else None

    def _refused(self) -> int:
        return sum(int(entry["value"]) for entry in self._rds("update_(rejected|failure)"))

    def _rds(self, counter: str) -> list[dict[str, str]]:
        name = re.escape(self._file.config.replace(":", "_"))
        return [e for e in self.admin.stats(rf"^http\..*\.rds\.{name}\.{counter}$") if "value" in e]

    def _loaded(self) -> list[Entry]:
        name = f"^{re.escape(self._file.config)}$"
        dump = self.admin.json("/config_dump", resource="dynamic_route_configs", name_regex=name)
        return self._file.in_effect(dump)
