"""How to get at a real Envoy and a real HAProxy, and past them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tenant_lifecycle.sandbox.envoy import EnvoyServer
from tenant_lifecycle.sandbox.haproxy import HAProxyServer
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.traffic.base import Route
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter
from tenant_lifecycle.traffic.haproxy.entry import value_of
from tenant_lifecycle.traffic.haproxy.router import HAProxyRouter
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import encode_tenant

TARGETS = Targets({"blue": "blue", "green": "green"})


class EnvoyBench:
    """One Envoy; tampering replaces its file."""

    def __init__(self, folder: Path, applications: NamedApplications) -> None:
        self.applications = applications
        self.server = EnvoyServer(folder, applications.places, "blue", flush_s=0.1)
        self.router: EnvoyRouter = self.server.router()
        self.address = self.server.address
        self.start, self.stop, self.kill = self.server.start, self.server.stop, self.server.kill

    def another(self) -> EnvoyRouter:
        return self.server.router("another")

    def files(self) -> bytes:
        return self.server.routes.read_bytes()

    def tamper(self, route: Route) -> None:
        """As a person would: weights and clusters of the tenant's entries, by rename, under a version of their own."""
        document = json.loads(self.files())
        routes = document["resources"][0]["virtual_hosts"][0]["routes"]
        mine = [entry for entry in routes if f"/{encode_tenant(route.tenant)}/" in entry.get("name", "")]
        for entry in mine[:2]:
            entry["route"]["cluster"] = route.writer
        read = mine[2]["route"]
        for key in ("cluster", "weighted_clusters", "hash_policy"):
            read.pop(key, None)
        read |= self.router._shape._reads(route)
        document["version_info"] = f"by hand {time.monotonic_ns()}"
        half = self.server.routes.with_suffix(".hand")
        half.write_text(json.dumps(document))
        half.replace(self.server.routes)
        wait_for(lambda: self.router._running() == document["version_info"])


class HAProxyBench:
    """One HAProxy; tampering speaks to its socket."""

    def __init__(self, folder: Path, applications: NamedApplications) -> None:
        self.applications = applications
        self.server = HAProxyServer(folder, applications.places, "blue")
        self.router: HAProxyRouter = self.server.router()
        self.address = self.server.address
        self.start, self.stop, self.kill = self.server.start, self.server.stop, self.server.kill

    def another(self) -> HAProxyRouter:
        return self.server.router("another")

    def files(self) -> bytes:
        return self.server.map_file.read_bytes()

    def tamper(self, route: Route) -> None:
        """As a person would: ``set map`` by hand."""
        key, value = encode_tenant(route.tenant), value_of(route, TARGETS)
        with socket.create_connection(("127.0.0.1", self.server.admin_port)) as connection:
            connection.sendall(f"set map {self.server.map_file} {key} {value}\n".encode())
            while connection.recv(4096):
                pass


Bench = TypeVar("Bench", EnvoyBench, HAProxyBench)


@contextmanager
def running(bench: Bench) -> Iterator[Bench]:
    bench.start()
    try:
        yield bench
    finally:
        bench.stop()


def wait_for(true: Callable[[], bool], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
