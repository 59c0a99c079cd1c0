"""Where one installation keeps things and how it behaves; read from ``lifecycle.yaml``, or made by a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle import config as configuration
from tenant_lifecycle import ownership_file
from tenant_lifecycle.backups.contract import TenantRepository
from tenant_lifecycle.backups_file import BackupsConfig
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.evidence_file import EvidenceConfig
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.masking_file import load_registry
from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.keymap import IdSource, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.stores.base import Resolves, Store
from tenant_lifecycle.stores.registry import open_store
from tenant_lifecycle.traffic.routers import Routers
from tenant_lifecycle.traffic.steering import Steering
from tenant_lifecycle.wiring.repository import tenant_part
from tenant_lifecycle.wiring.steering import open_steering
from tenant_lifecycle.wiring.traffic import open_routers

Stores = Mapping[str, Mapping[str, Store]]


def no_repository(tenant: TenantId) -> TenantRepository:
    """Of an installation without backups.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"lifecycle.yaml has no section backups, so tenant {tenant!r} has no backups",
        next_step="give it a repository: docs/reference/config.md, backups",
    )


def no_registry() -> Registry:
    """Of an installation without rules for masking.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        "nobody has said what may be copied of a tenant's data",
        next_step="write a masking.yaml: docs/masking.md",
    )


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything wiring needs to know."""

    #: Path of an SQLite file or a PostgreSQL DSN.
    control: str | Path
    #: Spools, the runner's log and lock.
    state_folder: Path
    #: Opens every store, by environment and name; each call opens connections of its own. A keyed store's ids
    #: come from its own environment, or, if environments are named, from all of those.
    open_stores: Callable[[Sequence[str]], Stores]
    policy: MigrationPolicy = field(default_factory=MigrationPolicy)
    #: Policies of tiers that differ, by tier.
    tiers: Mapping[str, MigrationPolicy] = field(default_factory=dict)
    #: How the changes of stores are learned during a move, where it was declared, by the store's name.
    changes: Mapping[str, Changes] = field(default_factory=dict)
    #: The file it was read from; a runner process of its own reads it again. None: no such process.
    file: Path | None = None
    erasure: ErasurePolicy = field(default_factory=ErasurePolicy)
    #: Opens the same systems with the verifier's credentials, by environment and name; anew at each call.
    open_verifiers: Callable[[], Stores] = dict
    #: Names (``blue/postgres``) of the stores whose verifier has credentials of its own.
    own_credentials: frozenset[str] = frozenset()
    #: Opens the routers in front of the environments; each call opens them anew.
    open_routers: Callable[[], Routers] = lambda: Routers({})
    #: Opens routers and health sources anew at each call; None if there is no router.
    open_steering: Callable[[], Steering | None] = lambda: None
    #: The audit log and who signs.
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    #: The repository of backups, and what each tier is promised.
    backups: BackupsConfig = field(default_factory=BackupsConfig)
    #: One tenant's part of the repository, opened anew at each call. Raises ConfigError without one.
    open_repository: Callable[[TenantId], TenantRepository] = no_repository
    #: Of masking.yaml, read anew at each call. Raises ConfigError without one.
    open_registry: Callable[[], Registry] = no_registry

    def policy_for(self, tier: str) -> MigrationPolicy:
        return self.tiers.get(tier, self.policy)


def installation(config: configuration.Config) -> Installation:
    """The installation that a configuration describes; ``ownership.yaml`` is read when stores are opened."""

    def open_stores(together: Sequence[str] = ()) -> Stores:
        return _open(config, together, lambda store: store.settings)

    def open_verifiers() -> Stores:
        return _open(config, (), lambda store: {**store.settings, **(store.verify or {})})

    return Installation(
        control=config.control_database,
        state_folder=config.state_folder,
        open_stores=open_stores,
        policy=config.policy,
        tiers={name: tier.policy for name, tier in config.tiers.items()},
        changes=config.changes,
        file=config.file,
        erasure=config.erasure,
        open_verifiers=open_verifiers,
        own_credentials=frozenset(
            f"{environment}/{name}"
            for environment, stores in config.environments.items()
            for name, store in stores.items()
            if store.verify is not None
        ),
        open_routers=lambda: open_routers(config),
        open_steering=lambda: open_steering(config),
        evidence=config.evidence,
        backups=config.backups,
        open_repository=lambda tenant: tenant_part(config.backups, tenant),
        open_registry=lambda: load_registry(config.masking_file),
    )


def _open(
    config: configuration.Config,
    together: Sequence[str],
    settings_of: Callable[[configuration.StoreConfig], Mapping[str, str]],
) -> Stores:
    ownership = ownership_file.load(config.ownership_file)
    opened: dict[str, dict[str, Store]] = {}
    for environment, stores in config.environments.items():
        ids = _ids_of(opened, together if environment in together else (environment,))
        opened[environment] = {
            name: open_store(
                store.kind,
                name=name,
                environment=environment,
                settings=settings_of(store),
                ownership=ownership,
                ids=ids,
            )
            for name, store in stores.items()
        }
    return opened


def _ids_of(opened: Mapping[str, Mapping[str, Store]], environments: Sequence[str]) -> IdSource:
    """The ids that any of the environments knows of a tenant.

    During a move the two sides know different ones for moments: what was made a moment ago, and what is not
    deleted there yet. A key under either is the tenant's.
    """

    def ids(tenant: TenantId) -> TenantIds:
        known = TenantIds()
        for environment in environments:
            for store in opened[environment].values():
                if isinstance(store, Resolves):
                    known = known.union(store.ids(tenant))
        return known

    return ids


def close_stores(stores: Stores) -> None:
    """Close every store; safe to repeat."""
    for environment in stores.values():
        for store in environment.values():
            store.close()


def find_installation(path: Path | None = None) -> Installation:
    """Read the configuration file: the one given, else the variable's, else the one in this folder.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    return installation(configuration.load(configuration.find(path, os.environ)))
