"""The repository of one installation: where its objects are, and what wraps its keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tenant_lifecycle.backups.contract import BaseWriter, Covered, Moment, Storage, TenantRepository
from tenant_lifecycle.backups.keys import KeyWrapping, LocalWrapping
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.slot import SlotLog
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.log.timelines import Timelines
from tenant_lifecycle.backups.moments.history import History
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.backups_file import BackupsConfig, RepositoryConfig
from tenant_lifecycle.errors import ConfigError, LifecycleError
from tenant_lifecycle.evidence_file import KeyConfig
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.backup.manifest import BaseKind, RestoreWindow
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.keyed import machine_us


def open_repository(config: BackupsConfig) -> Repository:
    """The repository of the configuration, made if its place is empty.

    Raises:
        ConfigError: there is none, or its key cannot be read.
        RepositoryError: it does not answer, refuses, or was made with another key.
    """
    return open_place(_configured(config))


def tenant_part(config: BackupsConfig, tenant: TenantId) -> TenantRepository:
    """One tenant's part. Raises as `open_repository`."""
    return TenantPart(open_repository(config), tenant)


class TenantPart:
    """One tenant's bases, and the log that goes on from them."""

    def __init__(self, repository: Repository, tenant: TenantId) -> None:
        self.tenant = tenant
        self._repository = repository
        self._bases = repository.tenant(tenant)
        place = self._bases.place
        self._log = TenantLog(place.storage, place.sealer, place.directory)
        self.manifests = self._bases.manifests
        self.items = self._bases.items
        self.fingerprint_key = self._bases.fingerprint_key

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

    def append(self, store: str, timeline: int, frames: Sequence[Frame], covered: Covered) -> None:
        self._bases.prepare()
        self._log.append(Line(store, timeline=timeline), frames, Stretch.of(covered))

    def frames(self, store: str, timeline: int, from_position: int, through_us: int) -> Iterator[Frame]:
        return self._log.frames(Line(store, timeline=timeline), from_position, through_us)

    def coverage(self) -> list[Covered]:
        return self._log.covered()

    def window(self) -> RestoreWindow:
        return self._history().window()

    def moment(self, at_us: int, timeline: int | None = None) -> Moment:
        return self._history().at(at_us, timeline)

    # -- HasTimelines

    def timeline(self) -> int:
        return Timelines(self._log).current()

    def begin_timeline(self, number: int, begun_us: int, restored_us: int) -> None:
        if number > self.timeline():
            Timelines(self._log).begin(number, begun_us, restored_us)

    def _history(self) -> History:
        return History(self._bases, self._log, lambda line: slot_log(self._repository, line), machine_us)


def slot_log(repository: Repository, line: Line) -> SlotLog:
    """The log of all tenants of one store in one environment; a tenant that it does not know yet is given keys."""
    logs: dict[TenantId, TenantLog] = {}

    def log_of(tenant: TenantId) -> TenantLog:
        if tenant not in logs:
            part = repository.tenant(tenant)
            part.prepare()
            logs[tenant] = TenantLog(part.place.storage, part.place.sealer, part.place.directory)
        return logs[tenant]

    return SlotLog(repository.storage, repository.sealer, line, log_of)


def is_archived(config: BackupsConfig, environment: str, store: str) -> bool:
    """Whether a log of the store has begun, so that a base taken from now on has one that goes on from it."""
    return slot_log(open_repository(config), Line(store, environment=environment)).head() is not None


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
