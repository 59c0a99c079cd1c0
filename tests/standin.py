"""A router and a health source that are files: what a test controls, also from another process.

A stand-in for a router; the real ones have their own contract suite.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import StoreUnavailable
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Health, Route, Served
from tenant_lifecycle.traffic.steering import Steering
from tenant_lifecycle.wiring import Lifecycle, find_installation

GOOD = {"requests": 1000, "errors": 1, "p99_ms": 80.0, "business": 0.5}


class FileRouter:
    """Its route is a line of a file, and the file is the history of routes."""

    name = "edge"
    kind = "file"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "routes.jsonl"
        self._down = folder / "router-down"

    def probe(self) -> list[Finding]:
        return [Finding("traffic.reachable", Severity.OK, "it answers", subject=self.name)]

    def set_route(self, route: Route) -> None:
        if self._down.exists():
            raise StoreUnavailable("edge: no answer", store=self.name)
        line = {"at": time.time(), "tenant": route.tenant, "writer": route.writer, "share": dict(route.share)}
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def clear_route(self, tenant: TenantId) -> None:
        raise AssertionError("nobody clears routes here")

    def routes(self) -> list[dict[str, Any]]:
        """Every route it was given, oldest first."""
        text = self._file.read_text() if self._file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line]

    def actual(self, tenant: TenantId) -> Route | None:
        routes = self.routes()
        return Route(tenant, routes[-1]["writer"], routes[-1]["share"]) if routes else None

    intended = actual

    def served(self, tenant: TenantId) -> Mapping[str, Served]:
        return {}

    def close(self) -> None:
        pass


class FileHealth:
    """Its numbers are a file: by environment, or for one share of the target only."""

    name = "numbers"

    def __init__(self, folder: Path, router: FileRouter) -> None:
        self._file = folder / "health.json"
        self._router = router

    def say(self, *, when: int = 0, **green: Any) -> None:
        """Green's numbers, from the moment it has ``when`` percent; blue's stay good."""
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps({"when": when, "green": {**GOOD, **green}}))
        beside.replace(self._file)

    def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
        said = json.loads(self._file.read_text()) if self._file.exists() else {"when": 0, "green": GOOD}
        routes = self._router.routes()
        share = routes[-1]["share"].get("green", 0) if routes else 0
        if environment != "green" or share < said["when"]:
            return Health(**GOOD)
        if said["green"].get("down"):
            raise StoreUnavailable("numbers: no answer", store=self.name)
        return Health(**said["green"])

    def close(self) -> None:
        pass


def open_standin(folder: Path) -> Steering:
    router = FileRouter(folder)
    return Steering([router], [FileHealth(folder, router)])


def open_with_standin(file: Path) -> Lifecycle:
    installation = find_installation(file)
    return Lifecycle(replace(installation, open_steering=lambda: open_standin(file.parent)))


if __name__ == "__main__":
    # A worker process of its own, to be killed: python standin.py lifecycle.yaml
    with open_with_standin(Path(sys.argv[1])) as lifecycle:
        lifecycle.work(threading.Event())
