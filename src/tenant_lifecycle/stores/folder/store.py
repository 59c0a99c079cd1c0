"""A folder of log files as a store: it is erased and searched, and no move touches it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tenant_lifecycle.errors import ConfigError, StoreError
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.keymap import IdSource
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import (
    CANARY_NAME,
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Looked,
    Place,
    Planted,
    Settled,
)
from tenant_lifecycle.stores.folder import doomed, erase, search
from tenant_lifecycle.stores.folder.place import OURS, Folder

_QUIET_S = 300.0


class FolderStore:
    """One folder."""

    kind = "folder"
    moves = False
    #: Every byte of every file was read; blocks of the disk that files gave back were not.
    proves = Level.EXHAUSTIVE

    def __init__(self, folder: Folder, environment: str) -> None:
        self.folder, self.environment, self.name = folder, environment, folder.name

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> FolderStore:
        """What the entry point names: ``path``, and ``quiet``, seconds that nobody wrote to a file before it is touched.

        Raises:
            ConfigError: there is no path, or ``ownership.yaml`` has no rules for the store.
        """
        full = f"{environment}/{name}"
        if not settings.get("path"):
            raise ConfigError(f"store {full} has no path", next_step="give it a folder in lifecycle.yaml")
        if name not in ownership.keys:
            raise ConfigError(
                f"store {full}: ownership.yaml does not say whose its lines are",
                next_step=f"ownership.yaml: stores: {name}: shared: ...",
            )
        quiet_s = float(settings.get("quiet", _QUIET_S))
        return cls(Folder(full, Path(settings["path"]), ownership.keys[name], ids, quiet_s), environment)

    # -- Store

    def probe(self) -> list[Finding]:
        if os.access(self.folder.root, os.R_OK | os.W_OK | os.X_OK):
            return [Finding("folder.reachable", Severity.OK, "can be read and written", subject=self.name)]
        message = "the folder is not there, or cannot be written"
        return [Finding("folder.reachable", Severity.REFUSAL, message, subject=self.name)]

    def tenants(self) -> list[TenantId]:
        """None: files do not say where a tenant's id ends."""
        return []

    def holds(self, tenant: TenantId) -> bool:
        return next(self.doomed(tenant, lambda: None), None) is not None

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        found = dict.fromkeys((*self.folder.keys.shared, *self.folder.keys.families), 0)
        for batch in self.doomed(tenant, lambda: None):
            found[batch.set] += len(batch.keys)
        return [SetSize(name, items, 0, True) for name, items in found.items()]

    def close(self) -> None:
        """Nothing is held."""

    # -- Erases, Plants

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:  # noqa: ARG002
        """A refusal for files that no rule mentions, and for a folder that is not there."""
        try:
            unknown = [file for file in self.folder.files() if not self.folder.mentions(file)]
        except StoreError as exc:
            return [Finding("folder.unreachable", Severity.REFUSAL, str(exc), exc.next_step, self.name)]
        if not unknown:
            return []
        message = f"{len(unknown)} files that no rule mentions"
        return [Finding("folder.unmapped", Severity.REFUSAL, message, "complete ownership.yaml", self.name)]

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.folder, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.folder, erasing.tenant, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        """Removes what a killed rewriting left: half a copy of a file."""
        check()
        halves = [path for path in self.folder.root.rglob(f"{OURS}*") if path.is_file()]
        for path in halves:
            path.unlink()
        return Settled((f"{len(halves)} unfinished copies removed",) if halves else ())

    def horizon(self) -> Horizon | None:
        return None

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        """A file in the first family whose names are open; shared files belong to whoever writes them."""
        families = self.folder.resolve(erasing.tenant).families.values()
        pattern = next((one for family in families for one in family.patterns), None)
        if pattern is None:
            return []
        file = f"{pattern.prefix}{CANARY_NAME}{pattern.suffix}"
        path = self.folder.path(file)
        if not path.resolve().is_relative_to(self.folder.root.resolve()):
            return []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(marker)
        return [Planted(file.partition("/")[0], 1)]

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return search.verifier_findings(self.folder.root, self.name)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return search.remaining(self.folder.root, batch, check)

    def places(self) -> list[Place]:
        return search.places(self.folder.root)

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.folder.root, place, self.folder.mentions, found, check)
