"""What a sandbox remembers between commands: its parts, its ports, and what was filled. One file, ``state.json``."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.sandbox.parts import POSTGRES_ONLY, Part

_VERSION = 2
#: Under which of the ports the router is told its routes.
ROUTER_ADMIN = "router/admin"


@dataclass
class State:
    """Of one folder."""

    #: Major version of PostgreSQL by environment.
    majors: dict[str, int]
    parts: frozenset[Part] = POSTGRES_ONLY
    #: By server, once it was started.
    ports: dict[str, int] = field(default_factory=dict)
    #: By store, what it was filled with; of a store that forgets when it ends, also by which process.
    filled: dict[str, str] = field(default_factory=dict)


class StateFile:
    """``state.json`` in the sandbox's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "state.json"

    @property
    def exists(self) -> bool:
        return self._path.exists()

    def read(self) -> State:
        """What is remembered.

        Raises:
            ConfigError: it was written by a later version.
        """
        kept = json.loads(self._path.read_text())
        if kept["version"] == 1:
            return _first_version(kept["environments"])
        if kept["version"] != _VERSION:
            raise ConfigError(
                f"{self._path}: version {kept['version']} is not known; known are 1 and {_VERSION}",
                next_step="use the version that made this sandbox, or another --folder",
            )
        parts = frozenset(Part(name) for name in kept["parts"])
        return State(kept["majors"], parts, kept["ports"], kept["filled"])

    def read_for(self, majors: Mapping[str, int]) -> State:
        """What is remembered, or the beginning of something with these versions of PostgreSQL.

        Raises:
            ConfigError: the folder holds other versions.
        """
        if not self.exists:
            return State(dict(majors))
        state = self.read()
        for name, major in majors.items():
            if state.majors[name] != major:
                raise ConfigError(
                    f"{self._path}: {name} is PostgreSQL {state.majors[name]} here, not {major}",
                    next_step="tenantctl sandbox down --remove, or another --folder",
                )
        return state

    def write(self, state: State) -> None:
        """Remember it."""
        kept = {"version": _VERSION, "majors": state.majors, "parts": sorted(state.parts),
                "ports": state.ports, "filled": state.filled}  # fmt: skip
        half = self._path.with_suffix(".new")
        half.write_text(json.dumps(kept, indent=2))
        half.replace(self._path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Two commands at once would start the same servers twice."""
        lock = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _first_version(environments: Mapping[str, Any]) -> State:
    """Sandboxes of PostgreSQL alone."""
    kept = {f"{name}/{Part.POSTGRES}": values for name, values in environments.items()}
    return State(
        {name: values["major"] for name, values in environments.items()},
        ports={name: values["port"] for name, values in kept.items() if values["port"]},
        filled={name: values["filled"] for name, values in kept.items() if values["filled"]},
    )
