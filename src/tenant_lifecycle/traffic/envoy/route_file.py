"""The file that Envoy watches: one route configuration, rewritten as a whole, with a version that only grows."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.traffic.envoy.routes import Entry
from tenant_lifecycle.traffic.whole_file import WholeFile

_VERSION = re.compile(r"tl-(\d+)-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class RouteFile:
    """The file, and which virtual host of which configuration in it is ours to write."""

    file: WholeFile
    #: Name of the route configuration, as in Envoy's ``route_config_name``.
    config: str
    #: Name of the virtual host; None: the first one.
    virtual_host: str | None = None

    def routes(self) -> tuple[str, list[Entry]]:
        """Version, and the virtual host's routes, as they stand in the file.

        Raises:
            StoreRejected: the file is missing, or not what an Envoy would read.
        """
        document = self._document()
        return str(document.get("version_info", "")), self._host(document).get("routes", [])

    def rewrite(self, change: Callable[[list[Entry]], list[Entry]], running: str | None) -> str:
        """Write the routes as ``change`` makes them and return the version to wait for.

        Nothing is written where nothing would change and ``running``, Envoy's version, is the file's.
        """
        with self.file.alone():
            document = self._document()
            host, before = self._host(document), str(document.get("version_info", ""))
            routes = change(host.get("routes", []))
            if routes == host.get("routes", []) and before and running == before:
                return before
            host["routes"] = routes
            document["version_info"] = f"tl-{max(number(before), number(running)) + 1}-{secrets.token_hex(4)}"
            # Without indentation: with it, writing 200 tenants' routes takes half a second.
            self.file.replace(json.dumps(document))
            return str(document["version_info"])

    def in_effect(self, dump: Any) -> list[Entry]:
        """The virtual host's routes in the answer of ``/config_dump``; none if Envoy does not have it."""
        for dynamic in dump.get("configs", []):
            config = dynamic.get("route_config", {})
            if config.get("name") == self.config:
                return self._host_of(config).get("routes", [])  # type: ignore[no-any-return]
        return []

    def _document(self) -> dict[str, Any]:
        text = self.file.read()
        if text is None:
            raise self._error("is not there")
        try:
            document = json.loads(text)
        except ValueError as exc:
            raise self._error(f"is no JSON: {exc}") from exc
        if not isinstance(document, dict) or not isinstance(document.get("resources"), list):
            raise self._error("has no list of resources")
        return document

    def _host(self, document: dict[str, Any]) -> dict[str, Any]:
        for resource in document["resources"]:
            if isinstance(resource, dict) and resource.get("name") == self.config:
                return self._host_of(resource)
        raise self._error(f"has no route configuration {self.config!r}")

    def _host_of(self, config: dict[str, Any]) -> dict[str, Any]:
        for host in config.get("virtual_hosts", []):
            if self.virtual_host in (None, host.get("name")):
                return host  # type: ignore[no-any-return]
        raise self._error(f"has no virtual host {self.virtual_host or 'at all'!r} in {self.config!r}")

    def _error(self, what: str) -> StoreRejected:
        return StoreRejected(
            f"router {self.file.router}: {self.file.path} {what}",
            store=self.file.router,
            next_step="write the route configuration that Envoy watches; docs/traffic.md shows one",
        )


def number(version: str | None) -> int:
    """The growing part of a version of ours; 0 of any other."""
    match = _VERSION.fullmatch(version or "")
    return int(match[1]) if match else 0
