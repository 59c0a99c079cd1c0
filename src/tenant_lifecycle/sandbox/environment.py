"""The sandbox: two environments of the sample application on this machine, blue and green.

Everything it needs to be found again is in its folder: ``state.json``, the servers' data, and a
``lifecycle.yaml`` and ``ownership.yaml`` that are ready to be used.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tenant_lifecycle.sandbox.aside import ASIDE, aside_settings, fill_aside
from tenant_lifecycle.sandbox.files import (
    backups_text,
    erasure_text,
    lifecycle_text,
    masking_text,
    ownership_text,
    router_text,
    verifying,
)
from tenant_lifecycle.sandbox.filling import Fill, fill_keyed, fill_postgres
from tenant_lifecycle.sandbox.guardian import ending_with_us
from tenant_lifecycle.sandbox.items import ItemReader
from tenant_lifecycle.sandbox.parts import KEYED, Part, chosen
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.sandbox.sample import DATABASE
from tenant_lifecycle.sandbox.servers import Server, Servers, connections
from tenant_lifecycle.sandbox.state import State, StateFile
from tenant_lifecycle.sandbox.verifier import NAME as VERIFIER

__all__ = ["EnvironmentStatus", "Fill", "Sandbox", "ServerStatus", "running"]

#: Where it is kept unless told otherwise, in the working directory.
FOLDER = Path(".sandbox")
VERSIONS: Mapping[str, int] = {"blue": 16, "green": 18}


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


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server, as it is now."""

    #: ``blue/redis``; of one that both environments share, ``objects``.
    name: str
    port: int
    #: None: not running.
    pid: int | None


@dataclass
class Sandbox:
    """Both environments; `up` and `down` may be called by different processes."""

    folder: Path = FOLDER
    #: Major version by environment; another than the folder's is refused.
    versions: Mapping[str, int] = field(default_factory=lambda: dict(VERSIONS))
    #: Extra settings of PostgreSQL, for both.
    settings: dict[str, str] = field(default_factory=dict)
    #: What it consists of; None: what it consisted of when it was last up, and PostgreSQL alone at first.
    parts: Iterable[Part] | None = None
    _servers: Servers = field(init=False, repr=False)
    _file: StateFile = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._servers = Servers(self.folder, self.settings)
        self._file = StateFile(self.folder)

    @classmethod
    def of(cls, folder: Path) -> Sandbox:
        """The sandbox that is in a folder, whatever its versions; a new one if there is none."""
        file = StateFile(folder)
        return cls(folder, file.read().majors) if file.exists else cls(folder)

    def up(self, *, scale: float = 1.0, green: Fill = Fill.RESIDENTS) -> list[EnvironmentStatus]:
        """Start what is not running, fill what is empty, write the two files. Safe to repeat.

        ``scale`` and ``green`` count when the databases are filled the first time only.

        Raises:
            ConfigError: the folder holds other versions.
            UsageError: a part needs another one.
            ServerFailed: a server did not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._file.alone():
            state = self._file.read_for(self.versions)
            if self.parts is not None:
                state.parts = chosen(self.parts)
            # Written before anything runs: whatever ends this, `down` finds all of it.
            self._file.write(state)
            self._start(state, self._servers.stores(state))
            self._fill(state, scale, green)
            self._write_files(state)
            self._start(state, self._servers.of(state, Part.APP))
            self._start(state, self._servers.of(state, Part.ROUTER))
            # Once more: only now is it known where the router is asked.
            self._write_files(state)
        return self.status()

    def down(self, *, remove: bool = False) -> None:
        """Stop all servers; ``remove`` deletes the folder with all data. Safe to repeat."""
        if not self.folder.exists():
            return
        with self._file.alone():
            state = self._file.read_for(self.versions)
            for server in reversed(self._servers.known(state).values()):
                if remove:
                    server.remove()
                else:
                    server.stop()
        if remove:
            self._servers.forget()
            shutil.rmtree(self.folder)

    def status(self) -> list[EnvironmentStatus]:
        """Both environments' databases, as they are now; empty if there is no sandbox in the folder."""
        if not self._file.exists:
            return []
        state = self._file.read_for(self.versions)
        result = []
        for name, major in state.majors.items():
            server = self._servers.postgres(name, state)
            filled = state.filled.get(f"{name}/{Part.POSTGRES}")
            result.append(
                EnvironmentStatus(name, major, server.port, server.pid, server.dsn(DATABASE), filled)
            )
        return result

    def servers(self) -> list[ServerStatus]:
        """Every server, as it is now; empty if there is no sandbox in the folder."""
        if not self._file.exists:
            return []
        known = self._servers.known(self._file.read_for(self.versions))
        return [ServerStatus(name, server.port, server.pid) for name, server in known.items()]

    def server(self, name: str) -> PostgresServer:
        """The PostgreSQL server of an environment, to be killed, paused or restarted."""
        return self._servers.postgres(name, self._state())

    def any_server(self, name: str) -> Server:
        """A server by its name in `servers`, to be killed and started again.

        Raises:
            KeyError: there is none of that name.
        """
        return self._servers.known(self._state())[name]

    def dsn(self, name: str, user: str = "postgres") -> str:
        """Of the sample application's database in one environment; ``rag_app`` is the application's own role."""
        return self.server(name).dsn(DATABASE, user)

    @property
    def dsns(self) -> dict[str, str]:
        """DSN by environment."""
        return {name: self.dsn(name) for name in self._state().majors}

    @property
    def urls(self) -> dict[str, str]:
        """Address of the application by environment, and of the router as ``router``; only those that are parts."""
        state = self._state()
        found = self._servers.of(state, Part.APP, Part.ROUTER)
        return {name.partition("/")[0]: f"http://127.0.0.1:{server.port}" for name, server in found.items()}

    @property
    def connections(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Settings of the stores beside PostgreSQL, by environment and store name."""
        return self._connections(self._state())

    @contextmanager
    def items(self, name: str) -> Iterator[dict[str, ItemReader]]:
        """Readers of one environment's items, for holding a ledger against them."""
        from tenant_lifecycle.sandbox.open_items import open_items

        with open_items(self.connections[name]) as readers:
            yield readers

    def _start(self, state: State, servers: Mapping[str, Server]) -> None:
        if not servers:
            return
        # Before, so that whatever ends this, the next command knows where they are; after, for one that was
        # taken by somebody else.
        state.ports |= {name: server.port for name, server in servers.items()}
        self._file.write(state)
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.start(), servers.values()))
        state.ports |= {name: server.port for name, server in servers.items()}
        self._file.write(state)

    def _fill(self, state: State, scale: float, green: Fill) -> None:
        def fill(name: str) -> None:
            place, server = f"{name}/{Part.POSTGRES}", self._servers.postgres(name, state)
            if place not in state.filled:
                state.filled[place] = fill_postgres(server, None if name == "blue" else green, scale)
            if state.parts & KEYED:
                stores = self._connections(state)[name]
                fill_keyed(server.dsn(DATABASE), name, stores, scale, state.filled, forgetful)

        running_stores = self._servers.stores(state)
        forgetful: dict[str, int | None] = {
            n: running_stores[n].pid for n in ("objects",) if n in running_stores
        }
        with ThreadPoolExecutor(len(state.majors)) as pool:
            list(pool.map(fill, state.majors))
        for settings in self._aside(state).values():
            fill_aside(state, settings, forgetful.get(Part.OBJECTS))
        self._file.write(state)

    def _connections(self, state: State) -> dict[str, dict[str, dict[str, Any]]]:
        return connections(state, self._servers.stores(state))

    def _write_files(self, state: State) -> None:
        (self.folder / "ownership.yaml").write_text(ownership_text(state))
        # The application has a role of its own, without the rights of whoever moves its tenants.
        application, keeper = (self._stores_as(state, user) for user in ("rag_app", "postgres"))
        (self.folder / "masking.yaml").write_text(masking_text())
        dsns = {name: self.dsn(name, VERIFIER) for name in state.majors}
        more = router_text(state) + backups_text(self.folder) + erasure_text()
        (self.folder / "application.yaml").write_text(lifecycle_text(application, router_text(state)))
        (self.folder / "lifecycle.yaml").write_text(
            lifecycle_text(verifying({**keeper, **self._aside(state)}, dsns), more)
        )

    def _aside(self, state: State) -> dict[str, dict[str, dict[str, Any]]]:
        """The stores that stay, as an environment of their own; none if they are no parts."""
        servers = self._servers.of(state, Part.OBJECTS)
        endpoint = f"http://127.0.0.1:{servers[Part.OBJECTS].port}" if servers else None
        stores = aside_settings(state, self.folder, endpoint)
        return {ASIDE: stores} if stores else {}

    def _stores_as(self, state: State, user: str) -> dict[str, dict[str, dict[str, Any]]]:
        return {
            name: {Part.POSTGRES: {"kind": "postgres", "dsn": self.dsn(name, user)}, **keyed}
            for name, keyed in self._connections(state).items()
        }

    def _state(self) -> State:
        return self._file.read_for(self.versions)


@contextmanager
def running(sandbox: Sandbox, *, scale: float = 1.0, green: Fill = Fill.RESIDENTS) -> Iterator[Sandbox]:
    """A sandbox for the length of a block: up at the beginning, stopped and deleted at the end, also when
    the start fails half-way, or Ctrl-C or SIGTERM ends the block. Killed with SIGKILL, only its files stay."""
    with _ended_by_sigterm(), ending_with_us():
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
