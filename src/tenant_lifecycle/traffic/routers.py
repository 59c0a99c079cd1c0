"""Every router of an installation as one: a route is set in each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route, Router


class Routers:
    """Routers by name; none at all is allowed, and then nothing is routed. Safe to use from several threads."""

    def __init__(self, by_name: Mapping[str, Router]) -> None:
        self.by_name = by_name

    def __bool__(self) -> bool:
        return bool(self.by_name)

    def probe(self) -> list[Finding]:
        """What every router finds of itself."""
        return [finding for router in self.by_name.values() for finding in router.probe()]

    def set_route(self, route: Route) -> None:
        """Have the route in every router, at once; returns when all of them act on it.

        Raises:
            StoreError: the first router's that failed. The others were told all the same, and the one that
                did not answer has it written down: setting the route again is safe and mends the rest.
        """
        self._each(lambda router: router.set_route(route))

    def clear_route(self, tenant: TenantId) -> None:
        """Take the tenant's route out of every router; fails like `set_route`."""
        self._each(lambda router: router.clear_route(tenant))

    def close(self) -> None:
        """Close every router; safe to repeat."""
        for router in self.by_name.values():
            router.close()

    def _each(self, tell: Callable[[Router], None]) -> None:
        if not self.by_name:
            return
        failed: list[StoreError] = []

        def told(router: Router) -> None:
            try:
                tell(router)
            except StoreError as error:
                failed.append(error)

        with ThreadPoolExecutor(len(self.by_name), "route") as pool:
            list(pool.map(told, self.by_name.values()))
        if failed:
            # What waiting does not mend is told first.
            raise min(failed, key=lambda error: error.retryable)
