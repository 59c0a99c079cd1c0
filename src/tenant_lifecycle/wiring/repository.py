"""The repository of one installation: where its objects are, and what wraps its keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tenant_lifecycle.backups.care import mirror as mirroring
from tenant_lifecycle.backups.contract import Storage, TenantRepository
from tenant_lifecycle.backups.keys import KeyWrapping, LocalWrapping
from tenant_lifecycle.backups.log.stretch import Line
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.backups_file import BackupsConfig, RepositoryConfig
from tenant_lifecycle.errors import ConfigError, LifecycleError
from tenant_lifecycle.evidence_file import KeyConfig
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId


def open_repository(config: BackupsConfig) -> Repository:
    """The repository of the configuration, made if its place is empty.

    Raises:
        ConfigError: there is none, or its key cannot be read.
        RepositoryError: it does not answer, refuses, or was made with another key.
    """
    return open_place(configured(config))


def tenant_part(config: BackupsConfig, tenant: TenantId) -> TenantRepository:
    """One tenant's part. Raises as `open_repository`."""
    return open_repository(config).tenant(tenant)


def is_archived(config: BackupsConfig, environment: str, store: str) -> bool:
    """Whether a log of the store has begun, so that a base taken from now on has one that goes on from it."""
    return open_repository(config).slot(Line(store, environment=environment)).head() is not None


def open_mirror(config: BackupsConfig, home: Repository) -> Repository | None:
    """The second region's copy of this repository, begun if its place is empty; None: there is none.

    Raises:
        ConfigError: its key cannot be read.
        RepositoryError: it does not answer, refuses, or holds another repository.
    """
    place = config.mirror
    if place is None:
        return None
    return mirroring.open_mirror(home, open_storage(place), open_wrapping(place.key))


def open_place(place: RepositoryConfig) -> Repository:
    """The repository at one place, made if that is empty. Raises as `open_repository`."""
    return Repository.create(open_storage(place), open_wrapping(place.key))


def open_storage(place: RepositoryConfig) -> Storage:
    """Where the objects are.

    Raises:
        RepositoryError: it does not answer, or refuses.
    """
    if place.folder is not None:
        return FolderStorage.create(place.folder)
    # Imported late: boto3 takes half a second, which nobody with a folder has to wait.
    from tenant_lifecycle.backups.storage_s3 import S3Storage

    return S3Storage.from_settings(place.bucket, place.prefix, place.settings)


def open_wrapping(key: KeyConfig, environ: Mapping[str, str] = os.environ) -> KeyWrapping:
    """The key that wraps the tenants' keys.

    Raises:
        ConfigError: it cannot be read, or is no key.
    """
    if key.place == "file":
        return LocalWrapping.from_file(Path(key.name))
    if key.place == "environment":
        return LocalWrapping.from_environment(key.name, environ)
    import boto3

    from tenant_lifecycle.backups.keys_kms import KmsWrapping

    given = {"region_name": key.region, "endpoint_url": key.endpoint}
    client = boto3.client("kms", **{name: value for name, value in given.items() if value})
    return KmsWrapping(key.name, client)


def repository_findings(config: BackupsConfig) -> list[Finding]:
    """For `doctor`: whether the repository and its mirror can be opened with the keys that are configured."""
    if config.repository is None:
        return []
    found = [_finding("repository", config.repository, lambda: open_repository(config))]
    if config.mirror is not None:
        found.append(_finding("mirror", config.mirror, lambda: open_mirror(config, open_repository(config))))
    return found


def _finding(name: str, place: RepositoryConfig, opened: Callable[[], object]) -> Finding:
    code = f"backups.{name}"
    try:
        opened()
    except LifecycleError as error:
        return Finding(code, Severity.REFUSAL, str(error), error.next_step, place.place)
    return Finding(code, Severity.OK, f"the {name} opens with its key", subject=place.place)


def configured(config: BackupsConfig) -> RepositoryConfig:
    """Where the repository is. Raises ConfigError if nobody said so."""
    if config.repository is None:
        raise ConfigError(
            "lifecycle.yaml has no section backups, so nobody has backups",
            next_step="give it a repository: docs/reference/config.md, backups",
        )
    return config.repository
