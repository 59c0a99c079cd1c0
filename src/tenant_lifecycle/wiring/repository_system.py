"""The repository among the systems of an erasure."""

from __future__ import annotations

from collections.abc import Sequence

from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups_file import BackupsConfig
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.operations.erase.repository import ENVIRONMENT, NAME, RepositoryStore
from tenant_lifecycle.wiring.installation import Installation, Stores
from tenant_lifecycle.wiring.repository import open_mirror, open_repository


def with_repository(installation: Installation, stores: Stores) -> Stores:
    """The stores and, where there are backups, the repository, as an environment of its own.

    Raises:
        ConfigError: an environment of the same name has a store of the same name.
    """
    if installation.backups.repository is None:
        return stores
    others = stores.get(ENVIRONMENT, {})
    if NAME in others:
        raise ConfigError(
            f"lifecycle.yaml: the store {ENVIRONMENT}/{NAME} has the name of the repository of backups",
            next_step="give the store another name",
        )
    repository = RepositoryStore(
        lambda: regions_of(installation.backups), installation.erasure.control_tenant
    )
    return {**stores, ENVIRONMENT: {**others, NAME: repository}}


def regions_of(config: BackupsConfig) -> Sequence[Repository]:
    """The repository and, if there is one, its mirror, opened anew."""
    home = open_repository(config)
    mirror = open_mirror(config, home)
    return [home] if mirror is None else [home, mirror]
