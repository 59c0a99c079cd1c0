"""What was asked of a router: a record of our own beside what the router reads, so that a change made by hand,
in the router or in its files, is seen as one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route
from tenant_lifecycle.traffic.whole_file import WholeFile


class Intents:
    """The routes that were set last, by tenant; a JSON file."""

    def __init__(self, file: WholeFile) -> None:
        self._file = file

    @classmethod
    def beside(cls, file: Path, router: str) -> Intents:
        """In a folder of its own beside the router's file: Envoy looks at its file whenever one is renamed there."""
        return cls(WholeFile(file.parent / ".tenant-lifecycle" / f"{file.name}.intended", router))

    def get(self, tenant: TenantId) -> Route | None:
        """The route that was asked for; None if there is none."""
        return _route(tenant, self._read().get(tenant))

    def tenants(self) -> list[TenantId]:
        """Who has one."""
        return [TenantId(tenant) for tenant in self._read()]

    def put(self, tenant: TenantId, route: Route | None) -> None:
        """Note that this route was asked for; None: that it was taken away."""
        with suppress(OSError):
            # Where it cannot be made, locking says why.
            self._file.path.parent.mkdir(exist_ok=True)
        with self._file.alone():
            routes = self._read()
            before = routes.pop(tenant, None)
            after = {"writer": route.writer, "share": dict(sorted(route.share.items()))} if route else None
            if before != after:
                if after is not None:
                    routes[tenant] = after
                self._file.replace(json.dumps({"version": 1, "routes": routes}, sort_keys=True))

    def _read(self) -> dict[str, Any]:
        text = self._file.read()
        if text is None:
            return {}
        try:
            routes = json.loads(text)["routes"]
            if isinstance(routes, dict):
                return routes
        except (ValueError, KeyError, TypeError):
            pass
        raise StoreRejected(
            f"router {self._file.router}: {self._file.path} is not the record of routes that was written there",
            store=self._file.router,
            next_step="move it away and set the routes again: tenantctl traffic set",
        )


def _route(tenant: TenantId, kept: Mapping[str, Any] | None) -> Route | None:
    if kept is None:
        return None
    return Route(tenant, kept["writer"], {name: int(percent) for name, percent in kept["share"].items()})
