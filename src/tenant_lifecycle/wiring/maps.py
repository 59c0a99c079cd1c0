"""The ownership map and the live databases it is about: propose, prove, and see what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenant_lifecycle import config as configuration
from tenant_lifecycle import ownership_file
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.mapreport import MapReport
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.proposal import Proposal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.discover import propose
from tenant_lifecycle.stores.postgres.mapcheck import check_map

KIND = "postgres"


@contextmanager
def open_databases(
    config: configuration.Config, map_: OwnershipMap, environment: str | None = None
) -> Iterator[list[Database]]:
    """Every PostgreSQL store, or one environment's, with that map; closed after the block.

    Raises:
        UsageError: no such environment, or no PostgreSQL store in it.
    """
    if environment is not None and environment not in config.environments:
        raise UsageError(
            f"there is no environment {environment!r}", next_step=f"known: {', '.join(config.environments)}"
        )
    databases = [
        Database(f"{name}/{store.name}", name, store.settings.get("dsn", ""), map_)
        for name, stores in config.environments.items()
        if environment in (None, name)
        for store in stores.values()
        if store.kind == KIND
    ]
    if not databases:
        raise UsageError(f"no store of kind {KIND} in {environment or 'any environment'}")
    try:
        yield databases
    finally:
        for database in databases:
            database.close()


def discover_map(file: Path, environment: str | None = None) -> tuple[str, Proposal]:
    """A proposal from one database, the first if no environment is named, and which it was."""
    with open_databases(configuration.load(file), OwnershipMap(), environment) as databases:
        return databases[0].name, propose(databases[0])


def check_maps(file: Path, environment: str | None = None) -> dict[str, MapReport]:
    """What the proof of ``ownership.yaml`` gave, by store."""
    config = configuration.load(file)
    map_ = ownership_file.load(config.ownership_file)
    with open_databases(config, map_, environment) as databases:
        return {database.name: check_map(database) for database in databases}


def read_map(file: Path, environment: str | None = None) -> tuple[OwnershipMap, frozenset[TableName]]:
    """``ownership.yaml``, and, where an environment is named, the tables there that it does not mention."""
    config = configuration.load(file)
    map_ = ownership_file.load(config.ownership_file)
    if environment is None:
        return map_, frozenset()
    with open_databases(config, map_, environment) as databases:
        return map_, frozenset().union(*(one.resolve(TenantId("")).unmapped for one in databases))
