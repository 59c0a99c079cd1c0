"""A repository with two tenants and its copy in a second region."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from making import all_items, delta_base, full_base, in_order, note, some_items

from tenant_lifecycle.backups.care import mirror as mirroring
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.names import TenantId

HERE, THERE = LocalWrapping(bytes(range(32))), LocalWrapping(bytes(range(1, 33)))
ACME, HOSTILE = TenantId("acme"), TenantId("x'; DROP TABLE *?[{/\n")
Items = dict[str, list[Item]]


@dataclass
class Regions:
    """Two regions, and what the bases in them hold."""

    home: Repository
    mirror: Repository
    #: By tenant, then by id of the base.
    expected: dict[TenantId, dict[str, Items]]

    def restored(self, repository: Repository, tenant: TenantId) -> dict[str, Items]:
        """What the bases of a tenant give, read anew with the region's own keys."""
        part = repository.tenant(tenant)
        return {one.id: all_items(part, one) for one in part.manifests()}

    def assert_whole(self, repository: Repository) -> None:
        for tenant, bases in self.expected.items():
            assert self.restored(repository, tenant) == bases

    def path(self, repository: Repository, name: str) -> Path:
        return Path(repository.storage.where) / name


def base_and_delta(part: TenantBackups, seed: int) -> dict[str, Items]:
    """A full base and a delta of it; what each holds."""
    items = some_items(seed, notes=8)
    items["bucket"] = [one for one in items["bucket"] if one.key != b"large"]
    first = full_base(part, items)
    after = {**items, "public.notes": [*items["public.notes"][1:], note(99, b"new")]}
    gone = {"public.notes": [items["public.notes"][0].key]}
    second = delta_base(part, first, {"public.notes": [note(99, b"new")]}, gone, after, 5_000)
    return {
        one.id: {name: in_order(of) for name, of in held.items()}
        for one, held in ((first, items), (second, after))
    }


def make_regions(folder: Path, tenants: list[TenantId]) -> Regions:
    home = Repository.create(FolderStorage.create(folder / "here"), HERE)
    expected = {tenant: base_and_delta(home.tenant(tenant), seed) for seed, tenant in enumerate(tenants)}
    mirror = mirroring.open_mirror(home, FolderStorage.create(folder / "there"), THERE)
    mirroring.copy(home, mirror)
    return Regions(home, mirror, expected)
