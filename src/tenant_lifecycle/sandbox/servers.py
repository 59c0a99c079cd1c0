"""The servers of a sandbox, each made from what is remembered of it: where it keeps its files, and its port."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.sandbox.process import Process, http_answers
from tenant_lifecycle.sandbox.state import ROUTER_ADMIN, State
from tenant_lifecycle.sandbox.verifier import REDIS_USER

_STORES = (Part.POSTGRES, Part.REDIS, Part.VECTORS, Part.OBJECTS)


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

    def of(self, state: State, *parts: Part) -> dict[str, Server]:
        """The servers of those of the parts that the sandbox consists of, by name."""
        wanted = [part for part in parts if part in state.parts]
        return {name: self._get(name, state) for part in wanted for name in _names(part, state)}

    def stores(self, state: State) -> dict[str, Server]:
        """The servers of all stores."""
        return self.of(state, *_STORES)

    def known(self, state: State) -> dict[str, Server]:
        """Every server that was ever started here, in the order of starting."""
        names = [name for part in (*_STORES, Part.APP, Part.ROUTER) for name in _names(part, state)]
        return {name: self._get(name, state) for name in names if name in state.ports}

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
            from tenant_lifecycle.sandbox.redis import RedisServer

            # Kept over a stop; and its notifications can serve those who do not use the client library.
            return RedisServer(folder, appendonly=True, notify="KA", settings={"user": REDIS_USER})
        if part == Part.OBJECTS:
            from tenant_lifecycle.sandbox.objects import ObjectServer

            return ObjectServer(folder, buckets=tuple(map(bucket, state.majors)))
        if part == Part.VECTORS:
            return _vectors(name, folder)
        return _router(folder, state)


def _names(part: Part, state: State) -> list[str]:
    """Of a part's servers: one of each environment, or one that all share."""
    if part in (Part.VECTORS, Part.OBJECTS, Part.ROUTER):
        return [part.value]
    return [f"{environment}/{part}" for environment in state.majors]


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


def bucket(environment: str) -> str:
    """Name of an environment's bucket."""
    return f"rag-{environment}"


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
                "kind": "s3", "bucket": bucket(environment), "endpoint": endpoint, "region": "us-east-1",
                "access_key": "sandbox", "secret_key": "sandbox",
            }  # fmt: skip
        found[environment] = stores
    return found
