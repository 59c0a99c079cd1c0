"""Real servers for the tests: one of each version per process, a database of its own for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sample_fixtures import sample_template, sandbox_pair
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.sandbox.guardian import ending_with_us
from tenant_lifecycle.sandbox.postgres import PostgresServer, installed

__all__ = ["sample_template", "sandbox_pair"]

#: A memory disk where there is one: the tests are about logic and crashes of ours, not about a slow disk.
_FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="session", autouse=True)
def _no_server_outlives_the_tests() -> Iterator[None]:
    with ending_with_us():
        yield


@pytest.fixture(scope="session")
def pg_servers() -> Iterator[Callable[[int], PostgresServer]]:
    """Start a server of a major version on first use: ``pg_servers(16)``; all are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-test-", dir=_FAST))
    folder.chmod(0o755)
    running: dict[int, PostgresServer] = {}

    def get(major: int) -> PostgresServer:
        if major not in running:
            if installed(major) is None:
                pytest.skip(f"no PostgreSQL {major} on this machine")
            server = PostgresServer(
                major, folder / f"pg{major}", settings={"fsync": "off", "shared_buffers": "32MB"}
            )
            server.start()
            running[major] = server
        return running[major]

    yield get
    for server in running.values():
        server.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_database(pg_servers: Callable[[int], PostgresServer]) -> Iterator[Callable[..., str]]:
    """``new_database(18)`` makes an empty database on that version and returns its DSN; dropped afterwards."""
    made: list[tuple[PostgresServer, str]] = []

    def make(major: int = 18, name: str | None = None, template: str = "template0") -> str:
        server = pg_servers(major)
        name = name or f"t_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        made.append((server, name))
        return server.dsn(name)

    yield make
    for server, name in made:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE database = %s AND active",
                (name,),
            )
            for (slot,) in conn.execute(
                "SELECT slot_name FROM pg_replication_slots WHERE database = %s", (name,)
            ).fetchall():
                conn.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def new_control(new_database: Callable[..., str]) -> Iterator[Callable[[str], ControlDatabase]]:
    """``new_control("sqlite")`` or ``("postgres")`` makes a control database, migrated and empty."""
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-control-", dir=_FAST))
    made: list[ControlDatabase] = []

    def make(kind: str) -> ControlDatabase:
        where = new_database(18) if kind == "postgres" else folder / f"{len(made)}.db"
        made.append(ControlDatabase(where))
        upgrade(made[-1])
        return made[-1]

    yield make
    for db in made:
        db.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def control(request: pytest.FixtureRequest, new_control: Callable[[str], ControlDatabase]) -> ControlDatabase:
    """A control database of each kind."""
    return new_control(request.param)
