"""One tenant among others, with a repository in a folder, and beside it the same rows alone in a table for pg_dump."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import rows
from bench.measure import stopwatch
from bench.servers import Servers, create_database, execute, psql, settle, two_servers
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup.manifest import Manifest
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Global, OwnershipMap
from tenant_lifecycle.operations.backup.taking import Order, take_full
from tenant_lifecycle.stores.registry import open_store

#: The table that has the tenant's rows and nobody else's: pg_dump takes tables and not rows.
ALONE = "alone"


@dataclass(frozen=True)
class Backed:
    """Everything that both sides work with. Source and target are one database of PostgreSQL 18."""

    servers: Servers
    dsn: str
    store: Any
    repository: Any

    @property
    def dump(self) -> Path:
        return self.servers.folder / "alone.dump"


@contextmanager
def backed(count: int) -> Iterator[Backed]:
    """``count`` rows of the tenant in two stretches, a neighbour of the same size between them; gone afterwards."""
    with two_servers() as servers:
        dsn = create_database(servers.green, "backup")
        rows.create(dsn)
        rows.fill(dsn, count // 2)
        rows.fill(dsn, count, tenant="t-2", first=10_000_001)
        rows.fill(dsn, count - count // 2, first=20_000_001)
        execute(
            dsn,
            f"CREATE TABLE {ALONE} AS SELECT * FROM documents WHERE tenant_id = '{rows.TENANT}'",  # noqa: S608
            f"ALTER TABLE {ALONE} ADD PRIMARY KEY (id)",
        )
        storage = FolderStorage.create(servers.folder / "repository")
        repository = Repository.create(storage, LocalWrapping(b"w" * 32))
        ownership = OwnershipMap({**rows.OWNERSHIP.tables, TableName("public", ALONE): Global()})
        store: Any = open_store(
            "postgres", name="postgres", environment="green", settings={"dsn": dsn}, ownership=ownership
        )
        try:
            yield Backed(servers, dsn, store, repository.tenant(TenantId(rows.TENANT)))
        finally:
            store.close()


def take(bench: Backed) -> tuple[Manifest, float]:
    """A base, read, fingerprinted, compressed, sealed and written; and the seconds."""
    settle(bench.servers.green)
    with stopwatch() as watch:
        order = Order("green", {})
        manifest = take_full(bench.repository, {"postgres": bench.store}, order, proceed, lambda _: None)
    return manifest, watch.seconds


def dump(bench: Backed, *options: str) -> float:
    """pg_dump of the table that has the same rows; the seconds."""
    settle(bench.servers.green)
    with stopwatch() as watch:
        tool("pg_dump", "-Fc", *options, "-t", ALONE, "-f", str(bench.dump), bench.dsn)
    return watch.seconds


def tool(name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL 18."""
    subprocess.run([str(Path(psql(18)).with_name(name)), *arguments], check=True)


def raw_mb(manifest: Manifest) -> float:
    """As the store gave the rows."""
    return sum(one.raw_bytes for one in manifest.stores["postgres"].sets.values()) / 1e6


def stored_mb(manifest: Manifest) -> float:
    """As they lie in the repository."""
    return sum(one.stored_bytes for one in manifest.stores["postgres"].sets.values()) / 1e6


def dump_mb(bench: Backed) -> float:
    """Of the dump's file."""
    return bench.dump.stat().st_size / 1e6


def sizes(bench: Backed, manifest: Manifest) -> Mapping[str, float]:
    """For a report."""
    return {
        "raw_mb": round(raw_mb(manifest), 1),
        "stored_mb": round(stored_mb(manifest), 1),
        "dump_mb": round(dump_mb(bench), 1),
    }


def proceed() -> None:
    """A `Check` that never stops anything."""
