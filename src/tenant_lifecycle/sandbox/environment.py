"""The sandbox: two environments of the sample application on this machine, blue and green.

Everything it needs to be found again is in its folder: ``state.json``, the servers' data, and a
``lifecycle.yaml`` and ``ownership.yaml`` that are ready to be used.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.sandbox.sample import DATABASE, create_indexes, create_schema, ownership_yaml
from tenant_lifecycle.sandbox.seed import seed, seed_residents

#: Where it is kept unless told otherwise, in the working directory.
FOLDER = Path(".sandbox")
VERSIONS: Mapping[str, int] = {"blue": 16, "green": 18}
#: Residents of green have so much of what they would have at the same scale.
_RESIDENT_SHARE = 0.05


class Fill(StrEnum):
    """What green has before anybody moves there."""

    #: An empty database: provisioning creates what is missing.
    EMPTY = "empty"
    #: The tables, and nobody in them.
    SCHEMA = "schema"
    #: The tables, and two tenants that live there and never move.
    RESIDENTS = "residents"


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """One environment, as it is now."""

    name: str
    major: int
    port: int
    #: None: not running.
    pid: int | None
    dsn: str
    #: None: the database was never filled.
    filled: str | None


@dataclass
class _Environment:
    """What is remembered about one environment."""

    major: int
    port: int | None = None
    filled: str | None = None


@dataclass
class Sandbox:
    """Both environments; `up` and `down` may be called by different processes."""

    folder: Path = FOLDER
    #: Major version by environment; another than the folder's is refused.
    versions: Mapping[str, int] = field(default_factory=lambda: dict(VERSIONS))
    #: Extra server settings, for both.
    settings: dict[str, str] = field(default_factory=dict)
    _servers: dict[str, PostgresServer] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, folder: Path) -> Sandbox:
        """The sandbox that is in a folder, whatever its versions; a new one if there is none."""
        path = folder / "state.json"
        if not path.exists():
            return cls(folder)
        kept = json.loads(path.read_text())["environments"]
        return cls(folder, {name: values["major"] for name, values in kept.items()})

    def up(self, *, scale: float = 1.0, green: Fill = Fill.RESIDENTS) -> list[EnvironmentStatus]:
        """Start what is not running, fill what is empty, write the two files. Safe to repeat.

        ``scale`` and ``green`` count when the databases are filled the first time only.

        Raises:
            ConfigError: the folder holds other versions.
            ServerFailed: a server did not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            state = self._read()
            with ThreadPoolExecutor(len(state)) as pool:
                list(pool.map(lambda name: self._start(name, state[name]), state))
                self._write(state)
                list(pool.map(lambda name: self._fill(name, state[name], scale, green), state))
            self._write(state)
            (self.folder / "ownership.yaml").write_text(ownership_yaml())
            (self.folder / "lifecycle.yaml").write_text(self._lifecycle_yaml())
        return self.status()

    def down(self, *, remove: bool = False) -> None:
        """Stop both servers; ``remove`` deletes the folder with all data. Safe to repeat."""
        if not self.folder.exists():
            return
        with self._alone():
            for name, environment in self._read().items():
                server = self._server(name, environment)
                if remove:
                    server.remove()
                else:
                    server.stop()
        if remove:
            self._servers.clear()
            shutil.rmtree(self.folder)

    def status(self) -> list[EnvironmentStatus]:
        """Both environments, as they are now; empty if there is no sandbox in the folder."""
        if not (self.folder / "state.json").exists():
            return []
        result = []
        for name, environment in self._read().items():
            server = self._server(name, environment)
            result.append(
                EnvironmentStatus(
                    name, server.major, server.port, server.pid, server.dsn(DATABASE), environment.filled
                )
            )
        return result

    def server(self, name: str) -> PostgresServer:
        """The server of an environment, to be killed, paused or restarted."""
        return self._server(name, self._read()[name])

    def dsn(self, name: str, user: str = "postgres") -> str:
        """Of the sample application's database in one environment; ``rag_app`` is the application's own role."""
        return self.server(name).dsn(DATABASE, user)

    @property
    def dsns(self) -> dict[str, str]:
        """DSN by environment."""
        return {name: self.dsn(name) for name in self._read()}

    def _start(self, name: str, environment: _Environment) -> None:
        server = self._server(name, environment)
        server.start()
        environment.port = server.port

    def _fill(self, name: str, environment: _Environment, scale: float, green: Fill) -> None:
        if environment.filled is not None:
            return
        server = self._server(name, environment)
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            # What was left by an attempt that did not come to its end.
            conn.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
            conn.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0".encode())
        if name == "blue":
            seed(server.dsn(DATABASE), scale=scale)
        elif green is Fill.RESIDENTS:
            seed_residents(server.dsn(DATABASE), scale=scale * _RESIDENT_SHARE)
        elif green is Fill.SCHEMA:
            with psycopg.connect(server.dsn(DATABASE)) as conn:
                create_schema(conn)
                create_indexes(conn)
        environment.filled = "tenants" if name == "blue" else green.value

    def _server(self, name: str, environment: _Environment) -> PostgresServer:
        if name not in self._servers:
            server = PostgresServer(environment.major, self.folder.absolute() / name, settings=self.settings)
            server.port = environment.port or server.port
            self._servers[name] = server
        return self._servers[name]

    def _read(self) -> dict[str, _Environment]:
        path = self.folder / "state.json"
        if not path.exists():
            return {name: _Environment(major) for name, major in self.versions.items()}
        kept = json.loads(path.read_text())["environments"]
        state = {name: _Environment(**values) for name, values in kept.items()}
        for name, major in self.versions.items():
            if state[name].major != major:
                raise ConfigError(
                    f"{path}: {name} is PostgreSQL {state[name].major} here, not {major}",
                    next_step="tenantctl sandbox down --remove, or another --folder",
                )
        return state

    def _write(self, state: Mapping[str, _Environment]) -> None:
        path = self.folder / "state.json"
        half = path.with_suffix(".new")
        half.write_text(
            json.dumps({"version": 1, "environments": {n: vars(e) for n, e in state.items()}}, indent=2)
        )
        half.replace(path)

    def _lifecycle_yaml(self) -> str:
        stores = "\n".join(
            f"  {name}:\n    stores:\n      postgres: {{kind: postgres, dsn: {json.dumps(dsn)}}}"
            for name, dsn in self.dsns.items()
        )
        return _LIFECYCLE.format(environments=stores)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once would start the same servers twice."""
        lock = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


@contextmanager
def running(sandbox: Sandbox, *, scale: float = 1.0, green: Fill = Fill.RESIDENTS) -> Iterator[Sandbox]:
    """A sandbox for the length of a block: up at the beginning, stopped and deleted at the end, also when
    the start fails half-way, or Ctrl-C or SIGTERM ends the block."""
    with _ended_by_sigterm():
        try:
            sandbox.up(scale=scale, green=green)
            yield sandbox
        finally:
            sandbox.down(remove=True)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM unwinds the stack like any exit instead of ending the process where it stands."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before: Any = None
    # Only the main thread can; elsewhere the block ends as it did.
    with suppress(ValueError):
        before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


_LIFECYCLE = """\
# Written by `tenantctl sandbox up`, and again each time.
version: 1
ownership: ownership.yaml
environments:
{environments}
tiers:
  platinum: {{}}
  gold: {{}}
  bronze: {{}}
"""
