"""The archiver of one installation, put together: every store that has backups, and the repository's log for each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.backups.log.stretch import Line as LogLine
from tenant_lifecycle.backups.log.stretch import Stretch
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.errors import ConflictError, LifecycleError, UnknownTenant
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.backup.manifest import RestoreWindow
from tenant_lifecycle.model.backup.policy import BackupPolicies
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive.capturing import KeyedArchiver, KeyedSource
from tenant_lifecycle.operations.archive.following import LogArchiver, Source
from tenant_lifecycle.operations.archive.line import Broken
from tenant_lifecycle.operations.archive.service import Archiver, run, status
from tenant_lifecycle.operations.archive.writers import Writers
from tenant_lifecycle.stores.backing import Archives, Captures, Clocked, TellsTime
from tenant_lifecycle.stores.base import Fences, Journals, Keyed, Store
from tenant_lifecycle.wiring.clocks import JudgesClock
from tenant_lifecycle.wiring.installation import Installation, close_stores
from tenant_lifecycle.wiring.repository import open_repository, tenant_part
from tenant_lifecycle.wiring.runner_process import only_one

logger = logging.getLogger(__name__)

#: Names slot and publication in every database.
ARCHIVE = "backups"
#: How often flushes are put together, and how old those are that are deleted.
TIDY_S, SWEEP_S = 600.0, 3600.0
#: How long the list of tenants is used.
_TENANTS_S = 5.0


def run_archiver(installation: Installation, stop: threading.Event) -> None:
    """Archive every environment's stores until ``stop``.

    Raises:
        ConfigError: no repository is configured.
        ConflictError: an archiver of this installation runs on this host.
    """
    folder = archiver_folder(installation)
    with only_one(folder / "archiver.lock", "an archiver", wait_s=1.0):
        repository = open_repository(installation.backups)
        stores = installation.open_stores(())
        control = ControlDatabase(installation.control)
        try:
            upgrade(control)
            rpo_s = _promise(Tenants(control), installation.backups.policies)
            run(list(_archivers(stores, repository, rpo_s, folder)), stop, folder)
        finally:
            control.close()
            close_stores(stores)


def archiver_status(installation: Installation) -> dict[str, Any]:
    """What the archiver of this host wrote last, and whether it runs."""
    folder = archiver_folder(installation)
    said = status(folder) or {"pid": None, "at": None, "logs": []}
    try:
        with only_one(folder / "archiver.lock", "an archiver"):
            return {"running": False, **said, "pid": None}
    except ConflictError:
        return {"running": True, **said}


def archiver_folder(installation: Installation) -> Path:
    """Where the archiver keeps its indexes, and says how it is."""
    return installation.state_folder / "archiver"


def _archivers(
    stores: Mapping[str, Mapping[str, Store]],
    repository: Repository,
    rpo_s: Callable[[Sequence[TenantId]], float],
    folder: Path,
) -> Iterator[Archiver]:
    for environment, own in stores.items():
        judge = next((one for one in own.values() if isinstance(one, Fences)), None)
        if judge is None:
            continue
        known = _Known(judge)
        for name, store in own.items():
            place = folder / f"{environment}-{name}"
            line = SlotLine(repository, environment, name)
            promise = _over(rpo_s, known)
            if isinstance(store, Archives):
                source = Source(name, environment, ARCHIVE, place, promise, known)
                yield LogArchiver(source, store, line, Writers(judge))
            elif (
                isinstance(store, Captures)
                and isinstance(store, Keyed)
                and isinstance(judge, Journals)
                and isinstance(judge, TellsTime)
            ):
                clock = JudgesClock(judge)
                if isinstance(store, Clocked):
                    store.clock = clock
                keyed = KeyedSource(name, environment, promise, known, clock, place / "life")
                yield KeyedArchiver(keyed, store, store, judge, line, Writers(judge))


def window(installation: Installation, tenant: TenantId) -> RestoreWindow:
    """Which moments of the tenant can be restored, and why others cannot.

    Raises:
        ConfigError: no repository is configured.
    """
    return tenant_part(installation.backups, tenant).window()


class _Known:
    """The tenants of an environment, as of the last seconds."""

    def __init__(self, judge: Store) -> None:
        self._judge = judge
        self._asked_at = float("-inf")
        self._tenants: list[TenantId] = []

    def __call__(self) -> list[TenantId]:
        if time.monotonic() - self._asked_at > _TENANTS_S:
            self._tenants = self._judge.tenants()
            self._asked_at = time.monotonic()
        return self._tenants


def _over(rpo_s: Callable[[Sequence[TenantId]], float], known: _Known) -> Callable[[], float]:
    return lambda: rpo_s(known())


def _promise(tenants: Tenants, policies: BackupPolicies) -> Callable[[Sequence[TenantId]], float]:
    """The shortest promise among those tenants."""

    def of(tenant: TenantId) -> float:
        tier = ""
        with suppress(UnknownTenant):
            tier = tenants.get(tenant).tier
        return policies.of(tier).rpo_s

    return lambda some: min((of(one) for one in some), default=policies.of("").rpo_s)


class SlotLine:
    """`operations.archive.line.Line` over the repository's log of all tenants."""

    def __init__(self, repository: Repository, environment: str, store: str) -> None:
        self._repository = repository
        self._slot = repository.slot(LogLine(store, environment=environment))
        self._tidied_at = time.monotonic()

    def through(self) -> Covered | None:
        head = self._slot.head()
        return None if head is None else head.stretch.covered(head.line, 0)

    def flush(self, frames: Mapping[TenantId, Sequence[Frame]], covered: Covered, broken: Broken) -> None:
        self._slot.flush(frames, Stretch.of(covered), broken)
        if time.monotonic() - self._tidied_at >= TIDY_S:
            self._tidied_at = time.monotonic()
            self.tidy()

    def tidy(self) -> None:
        """Move what many flushes have of a tenant into its own log, and delete flushes that nobody needs any more.

        The flush is durable already: what fails here is tried again at the next time.
        """
        try:
            self._slot.compact(self._repository.log_in)
            self._slot.sweep(time.time() - SWEEP_S)
        except LifecycleError as exc:
            logger.warning("archive %s: flushes are not put together: %s", self._slot.line.place(), exc)
