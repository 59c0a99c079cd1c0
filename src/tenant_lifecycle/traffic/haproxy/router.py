"""The router HAProxy: the map's file first, so that a reload reverts nothing, then the running process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tenant_lifecycle.errors import LifecycleError, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route, Served
from tenant_lifecycle.traffic.haproxy.entry import (
    check_backends,
    parse_lines,
    render_lines,
    route_of,
    tenants,
    value_of,
)
from tenant_lifecycle.traffic.haproxy.frontend import TABLE
from tenant_lifecycle.traffic.haproxy.runtime import Runtime
from tenant_lifecycle.traffic.intents import Intents
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import encode_tenant, tenant_digest
from tenant_lifecycle.traffic.whole_file import WholeFile


class HAProxyRouter:
    """One HAProxy whose frontend has the lines of `frontend_lines`."""

    kind = "haproxy"
    counts = True

    def __init__(
        self, name: str, *, map_file: Path, socket: str, targets: Mapping[str, str], table: str = TABLE
    ) -> None:
        """``targets`` are backend names by environment; ``map_file`` is spelled as in ``haproxy.cfg``."""
        self.name = name
        self.targets = Targets(targets)
        check_backends(self.targets)
        self.runtime = Runtime(socket, name)
        self._map = str(map_file)
        self._table = table
        self._file = WholeFile(map_file, name)
        self._intents = Intents.beside(map_file, name)

    def probe(self) -> list[Finding]:
        """Whether the file can be read, HAProxy answers, and follows the map and counts."""
        try:
            self._written()
            self.runtime.map_entries(self._map)
            self.runtime.counted(self._table, ["none"])
        except LifecycleError as error:
            code = "traffic.unreachable" if error.retryable else "traffic.not-followed"
            return [Finding(code, Severity.REFUSAL, str(error), error.next_step, self.name)]
        return [
            Finding("traffic.reachable", Severity.OK, "HAProxy answers and follows the map", "", self.name)
        ]

    def set_route(self, route: Route) -> None:
        """Have the route; every request that comes after the return follows it."""
        self.targets.check(route)
        self._write(route.tenant, route)

    def clear_route(self, tenant: TenantId) -> None:
        """Send the tenant to the frontend's default backend."""
        self._write(tenant, None)

    def routed(self) -> list[TenantId]:
        found = {*self._intents.tenants(), *tenants(self._written())}
        with suppress(StoreUnavailable):
            found |= set(tenants(self.runtime.map_entries(self._map)))
        return sorted(found)

    def intended(self, tenant: TenantId) -> Route | None:
        return self._intents.get(tenant)

    def written(self, tenant: TenantId) -> Route | None:
        return route_of(tenant, self._written().get(encode_tenant(tenant)), self.targets)

    def actual(self, tenant: TenantId) -> Route | None:
        value = self.runtime.map_entry(self._map, encode_tenant(tenant))
        return route_of(tenant, value, self.targets)

    def served(self, tenant: TenantId) -> Mapping[str, Served]:
        digest = tenant_digest(tenant)
        keys = {
            environment: {kind: f"{digest}.{kind}.{backend}" for kind in "rw"}
            for environment, backend in self.targets.by_environment.items()
        }
        counted = self.runtime.counted(
            self._table, [key for kinds in keys.values() for key in kinds.values()]
        )
        if not counted:
            return {}
        found = {}
        for environment, kinds in keys.items():
            (reads, failed), (writes, lost) = (counted.get(kinds[kind], (0, 0)) for kind in "rw")
            found[environment] = Served(reads + writes, failed + lost, writes)
        return found

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, tenant: TenantId, route: Route | None) -> None:
        key = encode_tenant(tenant)
        value = value_of(route, self.targets) if route is not None else None
        self._intents.put(tenant, route)
        # The lock stays until the process has it too, or two of us could leave the file with one
        # route and the process with the other.
        with self._file.alone():
            before = self._written()
            entries = {known: kept for known, kept in before.items() if known != key}
            if value is not None:
                entries[key] = value
            if entries != before:
                self._file.replace(render_lines(entries))
            if self.runtime.map_entry(self._map, key) != value:
                self.runtime.set_entry(self._map, key, value)
                self._check(key, value)

    def _check(self, key: str, value: str | None) -> None:
        found = self.runtime.map_entry(self._map, key)
        if found != value:
            raise StoreRejected(
                f"router {self.name}: HAProxy has {found!r} in its map, not {value!r}",
                store=self.name,
                next_step="somebody else may be writing the map; try again",
            )

    def _written(self) -> dict[str, str]:
        text = self._file.read()
        if text is None:
            raise StoreRejected(
                f"router {self.name}: {self._map} is not there",
                store=self.name,
                next_step="HAProxy does not start without its map; an empty file will do (docs/traffic.md)",
            )
        return parse_lines(text.splitlines())
