"""Where one installation keeps things and how it behaves; read from ``lifecycle.yaml``, or made by a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle import config as configuration
from tenant_lifecycle import ownership_file
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.stores.base import Resolves, Store
from tenant_lifecycle.stores.registry import no_ids, open_store
from tenant_lifecycle.traffic.steering import Steering

Stores = Mapping[str, Mapping[str, Store]]


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything wiring needs to know."""

    #: Path of an SQLite file or a PostgreSQL DSN.
    control: str | Path
    #: Spools, the runner's log and lock.
    state_folder: Path
    #: Opens every store, by environment and name; each call opens connections of its own.
    open_stores: Callable[[], Stores]
    policy: MigrationPolicy = field(default_factory=MigrationPolicy)
    #: Policies of tiers that differ, by tier.
    tiers: Mapping[str, MigrationPolicy] = field(default_factory=dict)
    #: The file it was read from; a runner process of its own reads it again. None: no such process.
    file: Path | None = None
    #: Opens routers and health sources anew at each call; None if there is no router.
    open_steering: Callable[[], Steering | None] = lambda: None

    def policy_for(self, tier: str) -> MigrationPolicy:
        return self.tiers.get(tier, self.policy)


def installation(config: configuration.Config) -> Installation:
    """The installation that a configuration describes; ``ownership.yaml`` is read when stores are opened."""

    def open_stores() -> Stores:
        ownership = ownership_file.load(config.ownership_file)
        return {
            environment: _open_environment(environment, stores, ownership)
            for environment, stores in config.environments.items()
        }

    return Installation(
        control=config.control_database,
        state_folder=config.state_folder,
        open_stores=open_stores,
        policy=config.policy,
        tiers={name: tier.policy for name, tier in config.tiers.items()},
        file=config.file,
    )


def _open_environment(
    environment: str, stores: Mapping[str, configuration.StoreConfig], ownership: OwnershipMap
) -> dict[str, Store]:
    """Every store of one environment, in the file's order; keyed ones get the ids of the relational one."""
    opened: dict[str, Store] = {}

    def ids(tenant: TenantId) -> TenantIds:
        for store in opened.values():
            if isinstance(store, Resolves):
                return store.ids(tenant)
        return no_ids(tenant)

    for name, store in stores.items():
        opened[name] = open_store(
            store.kind,
            name=name,
            environment=environment,
            settings=store.settings,
            ownership=ownership,
            ids=ids,
        )
    return opened


def find_installation(path: Path | None = None) -> Installation:
    """Read the configuration file: the one given, else the variable's, else the one in this folder.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    return installation(configuration.load(configuration.find(path, os.environ)))
