"""The repository of one installation: where its objects are, and what wraps its keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tenant_lifecycle.backups.contract import BaseWriter, Covered, Moment, Storage, TenantRepository
from tenant_lifecycle.backups.keys import KeyWrapping, LocalWrapping
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.backups_file import BackupsConfig, RepositoryConfig
from tenant_lifecycle.errors import ConfigError, LifecycleError, NotRestorable
from tenant_lifecycle.evidence_file import KeyConfig
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.backup.manifest import BaseKind, RestoreWindow
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId


def open_repository(config: BackupsConfig) -> Repository:
    """The repository of the configuration, made if its place is empty.

    Raises:
        ConfigError: there is none, or its key cannot be read.
        RepositoryError: it does not answer, refuses, or was made with another key.
    """
    return open_place(_configured(config))


def tenant_part(config: BackupsConfig, tenant: TenantId) -> TenantRepository:
    """One tenant's part. Raises as `open_repository`."""
    return BasesAlone(open_repository(config).tenant(tenant))


class BasesAlone:
    """One tenant's bases where no change log is kept: no moment but theirs can be restored."""

    def __init__(self, bases: TenantBackups) -> None:
        self.tenant = bases.tenant
        self._bases = bases
        self.manifests = bases.manifests
        self.items = bases.items
        self.fingerprint_key = bases.fingerprint_key

    def begin_base(
        self,
        environment: str,
        kind: BaseKind,
        parent: str | None,
        labels: Mapping[str, str],
        timeline: int = 1,
        tier: str = "",
    ) -> BaseWriter:
        return self._bases.begin_base(environment, kind, parent, labels, timeline=timeline, tier=tier)

    def append(self, store: str, timeline: int, frames: Sequence[Frame], covered: Covered) -> None:  # noqa: ARG002
        raise self._no_log()

    def frames(self, store: str, timeline: int, from_position: int, through_us: int) -> Iterator[Frame]:  # noqa: ARG002
        raise self._no_log()

    def coverage(self) -> list[Covered]:
        return []

    def window(self) -> RestoreWindow:
        return RestoreWindow((), ())

    def moment(self, at_us: int, timeline: int | None = None) -> Moment:  # noqa: ARG002
        raise self._no_log()

    def _no_log(self) -> NotRestorable:
        bases = ", ".join(one.id for one in self.manifests()[-3:]) or "none yet"
        return NotRestorable(
            f"no change log of tenant {self.tenant!r} is kept, so only bases can be restored",
            next_step=f"name one (the newest: {bases})",
        )


def open_mirror(config: BackupsConfig) -> Repository | None:
    """The second region's copy; None: there is none. Raises as `open_repository`."""
    return None if config.mirror is None else open_place(config.mirror)


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
    places = {"repository": config.repository, "mirror": config.mirror}
    return [_finding(name, place) for name, place in places.items() if place is not None]


def _finding(name: str, place: RepositoryConfig) -> Finding:
    code = f"backups.{name}"
    try:
        open_place(place)
    except LifecycleError as error:
        return Finding(code, Severity.REFUSAL, str(error), error.next_step, place.place)
    return Finding(code, Severity.OK, f"the {name} opens with its key", subject=place.place)


def _configured(config: BackupsConfig) -> RepositoryConfig:
    if config.repository is None:
        raise ConfigError(
            "lifecycle.yaml has no section backups, so nobody has backups",
            next_step="give it a repository: docs/reference/config.md, backups",
        )
    return config.repository
