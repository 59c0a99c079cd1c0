"""The section ``traffic`` of ``lifecycle.yaml``: the routers in front of the environments, and how they are checked.

::

    traffic:
      routers:
        edge: {kind: envoy, routes: envoy/routes.json, admin: "http://127.0.0.1:9901"}
        balancer: {kind: haproxy, map: haproxy/routes.map, socket: haproxy/admin.sock}
        names:
          kind: route53
          zone: Z0123456789
          record: "{tenant}.example.com"
          targets: {blue: blue.example.com, green: green.example.com}
      check: {window: 10s, minimum_reads: 200, requests_per_session: 10}

``targets`` says what a router calls each environment; for Envoy's clusters and HAProxy's backends the default is
the environment's own name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle.model.durations import parse_duration
from tenant_lifecycle.traffic.drift import CheckRules
from tenant_lifecycle.yaml_file import Node

#: By kind: settings that may stand there, settings that must, and which of them are paths of files.
_SETTINGS: Mapping[str, tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]] = {
    "envoy": (
        frozenset({"routes", "admin", "route_config", "virtual_host", "cookie", "timeout"}),
        ("routes", "admin"),
        ("routes",),
    ),
    "haproxy": (frozenset({"map", "socket", "table"}), ("map", "socket"), ("map",)),
    "route53": (
        frozenset({"zone", "record", "ttl", "read_only", "endpoint", "region", "access_key", "secret_key", "profile"}),
        ("zone", "record", "targets"),
        (),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """One router."""

    name: str
    kind: str
    settings: Mapping[str, str] = field(repr=False)
    #: What the router calls each environment.
    targets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TrafficConfig:
    """Everything the section says; by default there is no router."""

    routers: Mapping[str, RouterConfig] = field(default_factory=dict)
    check: CheckRules = field(default_factory=CheckRules)


def read_traffic(node: Node | None, environments: Collection[str], folder: Path) -> TrafficConfig:
    """The section, or what holds without one; ``folder`` is what paths are relative to.

    Raises:
        ConfigError: with file and line.
    """
    if node is None:
        return TrafficConfig()
    fields = node.mapping({"routers", "check"})
    routers = fields["routers"].mapping() if "routers" in fields else {}
    return TrafficConfig(
        {name: _router(name, router, environments, folder) for name, router in routers.items()},
        _check(fields["check"]) if "check" in fields else CheckRules(),
    )


def _router(name: str, node: Node, environments: Collection[str], folder: Path) -> RouterConfig:
    kind = node.mapping(required=("kind",))["kind"].choice(list(_SETTINGS))
    allowed, required, paths = _SETTINGS[kind]
    fields = node.mapping(allowed | {"kind", "targets"}, required=required)
    settings = {
        key: value.text()
        for key, value in fields.items()
        if key not in ("kind", "targets", "ttl", "read_only")
    }
    settings |= {key: str(folder / settings[key]) for key in paths}
    if kind == "haproxy" and ":" not in settings["socket"]:
        settings["socket"] = str(folder / settings["socket"])
    if "ttl" in fields:
        settings["ttl"] = str(fields["ttl"].integer(minimum=1, maximum=86_400))
    if "read_only" in fields:
        settings["read_only"] = str(fields["read_only"].boolean()).lower()
    if "timeout" in fields:
        settings["timeout"] = str(_seconds(fields["timeout"]))
    return RouterConfig(name, kind, settings, _targets(fields.get("targets"), environments))


def _targets(node: Node | None, environments: Collection[str]) -> dict[str, str]:
    if node is None:
        return {name: name for name in environments}
    targets = {name: target.text() for name, target in node.mapping(environments).items()}
    for target in targets.values():
        if list(targets.values()).count(target) > 1:
            raise node.error(f"two environments have the same target {target!r}")
    return targets


def _check(node: Node) -> CheckRules:
    fields = node.mapping({"window", "minimum_reads", "requests_per_session", "stragglers"})
    rules = CheckRules()
    return CheckRules(
        window_s=_seconds(fields["window"]) if "window" in fields else rules.window_s,
        minimum_reads=fields["minimum_reads"].integer(minimum=1) if "minimum_reads" in fields else rules.minimum_reads,
        requests_per_session=fields["requests_per_session"].number(minimum=1)
        if "requests_per_session" in fields
        else rules.requests_per_session,
        stragglers=fields["stragglers"].integer(minimum=0) if "stragglers" in fields else rules.stragglers,
    )  # fmt: skip


def _seconds(node: Node) -> float:
    try:
        return parse_duration(node.text())
    except ValueError as exc:
        raise node.error(str(exc)) from exc
