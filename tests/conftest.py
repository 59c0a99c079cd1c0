"""Real servers for the tests: one of each version per process, a database of its own for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.sandbox.environment import Fill
from tenant_lifecycle.sandbox.postgres import PostgresServer, installed
from tenant_lifecycle.sandbox.sample import SAMPLE_MAP, create_indexes, create_schema
from tenant_lifecycle.sandbox.seed import seed, seed_residents

#: A memory disk where there is one: the tests are about logic and crashes of ours, not about a slow disk.
_FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


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


#: Rows of the sample application in tests, against the demonstration's.
TEST_SCALE = 0.005


@dataclass(frozen=True)
class SandboxPair:
    """The sample application in two databases of the test's own: all tenants on blue, ``green_fill`` on green."""

    blue: str
    green: str
    blue_server: PostgresServer
    green_server: PostgresServer
    map: OwnershipMap = SAMPLE_MAP

    @property
    def dsns(self) -> dict[str, str]:
        return {"blue": self.blue, "green": self.green}


@pytest.fixture(scope="session")
def sample_template(pg_servers: Callable[[int], PostgresServer]) -> Callable[[int, str], str]:
    """``sample_template(18, "tenants")`` is a filled database to be copied, made once per version and kind."""
    made: set[tuple[int, str]] = set()

    def template(major: int, kind: str) -> str:
        server, name = pg_servers(major), f"sample_{kind}"
        if (major, kind) not in made:
            with psycopg.connect(server.dsn(), autocommit=True) as conn:
                conn.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            if kind == "tenants":
                seed(server.dsn(name), scale=TEST_SCALE)
            elif kind == Fill.RESIDENTS:
                seed_residents(server.dsn(name), scale=TEST_SCALE / 5)
            elif kind == Fill.SCHEMA:
                with psycopg.connect(server.dsn(name)) as conn:
                    create_schema(conn)
                    create_indexes(conn)
            made.add((major, kind))
        return name

    return template


@pytest.fixture
def sandbox_pair(
    pg_servers: Callable[[int], PostgresServer],
    new_database: Callable[..., str],
    sample_template: Callable[[int, str], str],
) -> Callable[..., SandboxPair]:
    """``sandbox_pair(blue=16, green=18, fill=Fill.RESIDENTS)``: two seeded databases; dropped afterwards."""

    def make(blue: int = 16, green: int = 18, fill: Fill = Fill.RESIDENTS) -> SandboxPair:
        return SandboxPair(
            new_database(blue, template=sample_template(blue, "tenants")),
            new_database(green, template=sample_template(green, fill)),
            pg_servers(blue),
            pg_servers(green),
        )

    return make
