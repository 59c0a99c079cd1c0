"""The care of one installation's repository, put together: what every face calls."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tenant_lifecycle.backups.care import mirror as mirroring
from tenant_lifecycle.backups.care import prune as pruning
from tenant_lifecycle.backups.care.check import Part, check
from tenant_lifecycle.backups.care.figures import TenantFigures, figures
from tenant_lifecycle.backups.care.ledger import read_ledger
from tenant_lifecycle.backups.care.mirror import Lag, Mirrored
from tenant_lifecycle.backups.care.prune import Asked, Pruned
from tenant_lifecycle.backups.care.repair import check_and_mend, open_or_mend
from tenant_lifecycle.backups.care.report import Damage, Level, Problem, Report
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.holds import Holds
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.errors import ConfigError, IntegrityError, KeyUnavailable, UnknownTenant
from tenant_lifecycle.model.backup.manifest import Manifest
from tenant_lifecycle.model.backup.policy import BackupPolicy
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.wiring.installation import Installation
from tenant_lifecycle.wiring.repository import (
    configured,
    open_mirror,
    open_repository,
    open_storage,
    open_wrapping,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storage:
    """What the repository holds, and how far its copy is behind."""

    where: str
    tenants: tuple[TenantFigures, ...]
    #: None: there is no mirror.
    mirror: str | None
    lag: Lag | None


@dataclass(frozen=True, slots=True)
class ListedBase:
    """A base, and whether it passed level L3."""

    manifest: Manifest
    verified_at: float | None


class Caring:
    """Checks, copies, prunes and figures. Each call opens the repository anew."""

    def __init__(self, installation: Installation, database: ControlDatabase) -> None:
        self._installation = installation
        self._tenants = Tenants(database)
        self._holds = Holds(database)

    def check(self, level: Level, *, repair: bool = False, every_s: float | None = None) -> Report:
        """Check the repository; with ``repair`` mend it from the mirror.

        ``every_s``: a check comes so often, so this one reads its share only.

        Raises:
            ConfigError: there is no repository.
            RepositoryError: it does not answer, or refuses.
            RepositoryDamaged: it cannot even be opened, and is not to be mended or there is nothing to mend it from.
        """
        within_s = self._installation.backups.policies.care.verify_within_s
        part = None if every_s is None else Part(within_s, every_s)
        if not repair:
            home = open_repository(self._installation.backups)
            return check(home, level, mirror=self._mirror(home), part=part)
        mirror = self._mirror_alone()
        place = configured(self._installation.backups)
        opened = open_or_mend(open_storage(place), open_wrapping(place.key), mirror)
        home = opened.repository
        report = check_and_mend(lambda: check(home, level, mirror=mirror, part=part), home, mirror)
        return _with(report, opened.mended, mirror)

    def mirror(self) -> Mirrored:
        """Copy what the mirror has not, of every tenant whose tier promises it.

        Raises:
            ConfigError: there is no mirror.
        """
        home = open_repository(self._installation.backups)
        mirror = self._mirror(home)
        if mirror is None:
            raise ConfigError(
                "lifecycle.yaml names no mirror",
                next_step="give it one: docs/reference/config.md, backups.mirror",
            )
        gone = read_ledger(home.storage, home.signer).gone
        return mirroring.copy(home, mirror, self._wants_mirror(home), without=gone)

    def plan_prune(self) -> Pruned:
        """What may go; changes nothing."""
        home = open_repository(self._installation.backups)
        return pruning.plan(home, self._installation.backups.policies, self._asked, time.time())

    def prune(self) -> Pruned:
        """Mark what may go, and delete what was marked long enough, here and in the mirror."""
        home = open_repository(self._installation.backups)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        policies = self._installation.backups.policies
        return pruning.prune(
            home, self._mirror(home), policies, self._asked, owner=owner, now=time.time
        )  # fmt: skip

    def bases(self, tenant: TenantId | None = None) -> list[ListedBase]:
        """Of one tenant, or of all; the oldest first."""
        home = open_repository(self._installation.backups)
        ledger = read_ledger(home.storage, home.signer)
        parts = [home.tenant(tenant)] if tenant is not None else list(home.tenants())
        return [
            ListedBase(one, ledger.bases_at.get((part.place.directory.path, one.id)))
            for part in parts for one in part.manifests()
        ]  # fmt: skip

    def storage(self) -> Storage:
        """Bytes by tenant, and the copy's lag."""
        home = open_repository(self._installation.backups)
        mirror = self._mirror(home)
        lag = None if mirror is None else mirroring.lag(home, mirror, self._wants_mirror(home), time.time())
        where = None if mirror is None else mirror.storage.where
        return Storage(home.storage.where, tuple(figures(home, self._cold_before(home))), where, lag)

    def unmirrored(self) -> list[TenantId]:
        """Tenants whose tier promises a second region where there is none."""
        if self._installation.backups.mirror is not None:
            return []
        home = open_repository(self._installation.backups)
        return [one for _, one in _tenants(home) if one is not None and self._policy(one).cross_region]

    @property
    def _asked(self) -> Asked:
        return Asked(self._tier, self._held)

    def _tier(self, tenant: TenantId) -> str:
        try:
            return self._tenants.get(tenant).tier
        except UnknownTenant:
            return ""

    def _policy(self, tenant: TenantId) -> BackupPolicy:
        return self._installation.backups.policies.of(self._tier(tenant))

    def _held(self, tenant: TenantId) -> str:
        holds = self._holds.blocking([tenant])
        return f"a legal hold: {', '.join(hold.id for hold in holds)}" if holds else ""

    def _mirror(self, home: Repository) -> Repository | None:
        return open_mirror(self._installation.backups, home)

    def _mirror_alone(self) -> Repository | None:
        """The mirror where the repository may not open."""
        place = self._installation.backups.mirror
        return None if place is None else Repository.open(open_storage(place), open_wrapping(place.key))

    def _wants_mirror(self, home: Repository) -> Callable[[Directory], bool]:
        # Whose directory it is may be what is damaged: then rather one copy too many.
        wanted = {
            directory
            for directory, tenant in _tenants(home)
            if tenant is None or self._policy(tenant).cross_region
        }
        return lambda directory: directory in wanted

    def _cold_before(self, home: Repository) -> dict[str, int]:
        found = {}
        for directory, tenant in _tenants(home):
            cold = None if tenant is None else self._policy(tenant).cold_after_s
            if cold is not None:
                found[directory.path] = round((time.time() - cold) * 1_000_000)
        return found


def _tenants(home: Repository) -> Iterator[tuple[Directory, TenantId | None]]:
    """Every directory with its tenant; None: it was shredded, or cannot be told."""
    for directory in home.directories():
        try:
            yield directory, home.tenant_of(home.place(directory))
        except (IntegrityError, KeyUnavailable):
            yield directory, None


def _with(report: Report, mended: tuple[str, ...], mirror: Repository | None) -> Report:
    """The report with what had to be mended before anything could be checked."""
    where = "" if mirror is None else f"from {mirror.storage.where}"
    before = [
        Damage(Problem(name, f"{name}: the repository did not open"), "", "", mended=where) for name in mended
    ]
    return replace(report, damages=(*before, *report.damages))
