"""One tenant's part of a repository: where it is, and what seals and signs there."""

from __future__ import annotations

from dataclasses import dataclass

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import KeyRing
from tenant_lifecycle.backups.manifests import ManifestSigner, Stored, open_manifest
from tenant_lifecycle.backups.naming import Directory, is_id
from tenant_lifecycle.backups.sealing import Sealer
from tenant_lifecycle.errors import UnknownBackup


@dataclass(frozen=True, slots=True)
class Place:
    """What reading and writing a tenant's objects needs."""

    storage: Storage
    directory: Directory
    keys: KeyRing
    sealer: Sealer
    signer: ManifestSigner

    def manifest_names(self) -> list[str]:
        """Names of the objects of every committed base, oldest first."""
        found = self.storage.names(self.directory.below("base/"))
        return [name for name, _, _ in found if name.endswith(".mf")]

    def stored(self, backup_id: str) -> Stored:
        """A base by its id.

        Raises:
            UnknownBackup: there is none.
            RepositoryDamaged: its manifest is not as it was written.
        """
        name = self.directory.manifest(backup_id)
        if not is_id(backup_id) or name not in self.manifest_names():
            raise UnknownBackup(
                f"there is no backup {backup_id[:80]!r}",
                next_step="tenantctl backup list shows those that are there",
            )
        return self.open_manifest(name)

    def open_manifest(self, name: str) -> Stored:
        """A manifest by the name of its object."""
        return open_manifest(self.sealer, self.signer, name, self.storage.get(name))
