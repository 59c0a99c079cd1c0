"""From a route being set to requests obeying it: Envoy and HAProxy, against telling the running router and no more."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import percentile, until
from bench.report import Budget, Figure, Report
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.sandbox.envoy import EnvoyServer
from tenant_lifecycle.sandbox.guardian import ending_with_us
from tenant_lifecycle.sandbox.haproxy import HAProxyServer, haproxy_program
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.traffic.base import Route, Router
from tenant_lifecycle.traffic.haproxy.entry import value_of
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import encode_tenant

TENANT, OTHERS = TenantId("acme"), 50
SIDES = ("blue", "green")
#: Of a rollback: decision to traffic back.
_BUDGET = (Budget("value", "at most", 1000.0),)


@dataclass
class Watcher:
    """A client that asks on and on: when each of its requests began, and who answered it."""

    port: int
    seen: list[tuple[float, str]] = field(default_factory=list)
    failed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"x-tenant-id": encode_tenant(TENANT), "x-session-id": "s1"}
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                connection.request("POST", "/", headers=headers)
                answer = connection.getresponse().read().decode()
            except (OSError, http.client.HTTPException):
                connection.close()
                answer = ""
            if answer in SIDES:
                self.seen.append((began, answer))
            else:
                self.failed += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def obeyed(self, since: float, side: str) -> bool:
        """Whether a request that began after that moment was answered by that side."""
        return any(began >= since and answer == side for began, answer in self.seen[-50:])

    def effect_ms(self, since: float, side: str) -> float:
        """From that moment to the beginning of the first request after which all went to that side."""
        later = [(began, answer) for began, answer in self.seen if began >= since]
        wrong = max((number for number, (_, answer) in enumerate(later) if answer != side), default=-1)
        return (later[wrong + 1][0] - since) * 1e3


@dataclass(frozen=True)
class Measured:
    """Milliseconds, one of each turn."""

    #: From the call to its return, when the route is in effect and survives a restart.
    call: list[float]
    #: From the call to the first request after which all obeyed.
    effect: list[float]
    #: The same after the running router was told by hand.
    bare: list[float]
    failed: int


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Each router alone; the tenant's writer goes there by ours and back by hand."""
    turns = 5 if quick else 40
    found: dict[str, Measured] = {}
    with (
        tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-") as name,
        ending_with_us(),
        NamedApplications(SIDES) as applications,
    ):
        with EnvoyServer(Path(name) / "envoy", applications.places, "blue") as envoy:
            found["Envoy"] = _measure(envoy.router(), envoy.port, lambda to: _by_file(envoy, to), turns)
        show("  Envoy: done")
        if haproxy_program() is not None:
            with HAProxyServer(Path(name) / "haproxy", applications.places, "blue") as haproxy:
                found["HAProxy"] = _measure(
                    haproxy.router(), haproxy.port, lambda to: _by_socket(haproxy, to), turns
                )
    extras: dict[str, Any] = {"turns": turns, "other_tenants": OTHERS, "measured": sorted(found)}
    return Report("route", tuple(_figures(found)), extras)


def _measure(router: Router, port: int, by_hand: Callable[[str], None], turns: int) -> Measured:
    for number in range(OTHERS):
        router.set_route(_route(TenantId(f"other-{number}"), "blue"))
    router.set_route(_route(TENANT, "blue"))
    measured = Measured([], [], [], 0)
    watcher = Watcher(port)
    with watcher.watching():
        until(lambda: watcher.obeyed(0.0, "blue"), 30.0, "the first answer")
        for _ in range(turns):
            began, told = _turn(watcher, "green", lambda to: router.set_route(_route(TENANT, to)))
            measured.call.append((told - began) * 1e3)
            measured.effect.append(watcher.effect_ms(began, "green"))
            began, _told = _turn(watcher, "blue", by_hand)
            measured.bare.append(watcher.effect_ms(began, "blue"))
    router.close()
    return Measured(measured.call, measured.effect, measured.bare, watcher.failed)


def _turn(watcher: Watcher, side: str, tell: Callable[[str], None]) -> tuple[float, float]:
    """Tell it, and wait until nobody is answered by the other side any more; when it began, and was told."""
    began = time.perf_counter()
    tell(side)
    told = time.perf_counter()
    until(lambda: watcher.obeyed(told, side), 30.0, f"requests at {side}", every_s=0.001)
    time.sleep(0.05)
    return began, told


def _route(tenant: TenantId, writer: str) -> Route:
    return Route(tenant, writer, {writer: 100})


def _by_file(envoy: EnvoyServer, side: str) -> None:
    """Exchange the cluster in the tenant's entries, and the file by rename."""
    document = json.loads(envoy.routes.read_text())
    host = document["resources"][0]["virtual_hosts"][0]
    for entry in host["routes"]:
        if f"/{encode_tenant(TENANT)}/" in entry.get("name", ""):
            _point(entry["route"], side)
    document["version_info"] = f"by hand {time.monotonic_ns()}"
    half = envoy.routes.with_suffix(".hand")
    half.write_text(json.dumps(document))
    half.replace(envoy.routes)


def _point(action: dict[str, Any], side: str) -> None:
    if "weighted_clusters" in action:
        for cluster in action["weighted_clusters"]["clusters"]:
            cluster["weight"] = 100 if cluster["name"] == side else 0
    else:
        action["cluster"] = side


def _by_socket(haproxy: HAProxyServer, side: str) -> None:
    """``set map`` over the admin socket."""
    key = encode_tenant(TENANT)
    value = value_of(_route(TENANT, side), Targets({name: name for name in SIDES}))
    with socket.create_connection(("127.0.0.1", haproxy.admin_port)) as connection:
        connection.sendall(f"set map {haproxy.map_file} {key} {value}\n".encode())
        while connection.recv(4096):
            pass


def _figures(found: dict[str, Measured]) -> Iterator[Figure]:
    peers = {"Envoy": "the file exchanged by hand", "HAProxy": "set map by hand, no file"}
    for router, measured in found.items():
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            ours, bare = percentile(measured.effect, share), percentile(measured.bare, share)
            yield Figure(
                f"{router}: push to effect {name}", "ms", ours, bare, peers[router], "lower", _BUDGET
            )
            call = percentile(measured.call, share)
            yield Figure(
                f"{router}: push to confirmed {name}",
                "ms",
                call,
                None,
                "nobody confirms by hand",
                "lower",
                _BUDGET,
            )
        yield Figure(
            f"{router}: failed requests", "requests", float(measured.failed), None, "must be none", "lower",
            (Budget("value", "at most", 0.0),),
        )  # fmt: skip
