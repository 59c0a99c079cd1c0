"""A real HAProxy on this machine, where the distribution has one: routes from a map, environments as backends."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle.sandbox.postgres import free_port
from tenant_lifecycle.sandbox.proxy_process import ProxyProcess, connects
from tenant_lifecycle.traffic.haproxy.frontend import frontend_lines, table_lines
from tenant_lifecycle.traffic.haproxy.router import HAProxyRouter


def haproxy_program() -> Path | None:
    """The program; None if this machine has none."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


@dataclass
class HAProxyServer:
    """One HAProxy in a folder of its own; requests without a route of their tenant's go to ``default``."""

    folder: Path
    #: Host and port of each environment's application.
    upstreams: Mapping[str, tuple[str, int]]
    default: str
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    #: Longest a request may take.
    timeout_s: float = 60.0
    _process: ProxyProcess = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = ProxyProcess("haproxy", self.folder)

    @property
    def address(self) -> str:
        """Where requests go."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def map_file(self) -> Path:
        return self.folder.absolute() / "routes.map"

    @property
    def socket(self) -> str:
        """The admin socket: a port, since paths of sockets have a short limit."""
        return f"127.0.0.1:{self.admin_port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def router(self, name: str = "balancer") -> HAProxyRouter:
        """The product's view of it."""
        targets = {environment: environment for environment in self.upstreams}
        return HAProxyRouter(name, map_file=self.map_file, socket=self.socket, targets=targets)

    def start(self) -> None:
        """Start it and wait until it takes requests; routes that were written stay.

        Raises:
            ProxyFailed: it did not start; the message has the end of its log.
        """
        program = haproxy_program()
        if program is None:
            raise FileNotFoundError("no HAProxy on this machine; distributions have it under this name")
        self.map_file.touch()
        config = self.folder.absolute() / "haproxy.cfg"
        config.write_text("\n".join(self._config()) + "\n")
        self._process.start(
            [str(program), "-db", "-f", str(config)],
            lambda: connects(self.port) and connects(self.admin_port),
        )

    def stop(self) -> None:
        """End it, if it runs."""
        self._process.stop()

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        self._process.kill()

    def __enter__(self) -> HAProxyServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _config(self) -> list[str]:
        return [
            "global",
            f"  stats socket {self.socket} level admin",
            "  nbthread 2",
            "defaults",
            "  mode http",
            "  timeout connect 250ms",
            f"  timeout client {self.timeout_s:.0f}s",
            f"  timeout server {self.timeout_s:.0f}s",
            # No idle connections to applications: one that is just being closed would cost a client its own.
            "  option http-server-close",
            "  retries 5",
            "  retry-on conn-failure empty-response",
            *table_lines(),
            "frontend in",
            f"  bind 127.0.0.1:{self.port}",
            *frontend_lines(str(self.map_file), len(self.upstreams)),
            f"  default_backend {self.default}",
            *(
                line
                for name, (host, port) in self.upstreams.items()
                for line in (f"backend {name}", f"  server one {host}:{port}")
            ),
        ]
