"""What the repository costs: bytes by tenant and kind, how well they are packed, and how far the copy is behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_lifecycle.backups.care.objects import Listed, Sort, directory_of
from tenant_lifecycle.backups.care.plan import is_shredded
from tenant_lifecycle.backups.care.tenantview import TenantView, view
from tenant_lifecycle.backups.naming import TENANTS, Directory, content_digest
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.errors import IntegrityError, KeyUnavailable
from tenant_lifecycle.model.names import TenantId


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """One tenant's part, in bytes."""

    directory: str
    #: None: its keys are gone, or its id cannot be read.
    tenant: TenantId | None
    bases: int
    #: Everything in its directory.
    stored: int
    packs: int
    log: int
    #: What its bases hold, each counted by itself, as the stores gave it.
    logical: int
    #: Of packs that no base refers to any more.
    unreferenced: int
    #: Packs that may lie in cold storage: only bases older than the tier's limit need them.
    cold: int = 0

    @property
    def ratio(self) -> float | None:
        """Logical bytes for each byte in packs; None without either."""
        return self.logical / self.packs if self.packs and self.logical else None


def figures(repository: Repository, cold_before: Mapping[str, int] | None = None) -> list[TenantFigures]:
    """Of every tenant that has something here.

    ``cold_before``: by directory, the moment (microseconds since 1970) before which bases may be cold.
    """
    listed: dict[str, dict[str, Listed]] = {}
    for name, size, modified in repository.storage.names(TENANTS):
        listed.setdefault(directory_of(name).path, {})[name] = Listed(name, size, modified)
    return [
        _of(repository, Directory(path), objects, (cold_before or {}).get(path, 0))
        for path, objects in sorted(listed.items())
    ]


def cold_packs(bases: TenantView, before_us: int) -> frozenset[str]:
    """Packs (SHA-256, hex) that only bases finished before this moment need. Index, manifests and keys stay hot."""
    old: set[str] = set()
    young: set[str] = set()
    for name, stored in bases.stored.items():
        of = old if stored.manifest.finished_us < before_us else young
        for one in bases.lineage(name):
            of |= bases.packs[one] or frozenset()
    return frozenset(old - young)


def _of(
    repository: Repository, directory: Directory, objects: Mapping[str, Listed], cold_before_us: int
) -> TenantFigures:
    def size(*sorts: Sort) -> int:
        return sum(one.size for one in objects.values() if one.sort in sorts)

    stored, packs, log = sum(one.size for one in objects.values()), size(Sort.PACK), size(Sort.SEGMENT)
    unknown = TenantFigures(directory.path, None, 0, stored, packs, log, 0, 0)
    if is_shredded(objects):
        return unknown
    place = repository.place(directory)
    try:
        tenant = repository.tenant_of(place)
        bases = view(place, list(objects))
    except (IntegrityError, KeyUnavailable):
        return unknown
    needed = frozenset().union(*(one for one in bases.packs.values() if one is not None))
    sizes = {content_digest(one.name): one.size for one in objects.values() if one.sort is Sort.PACK}
    cold = cold_packs(bases, cold_before_us)
    return TenantFigures(
        directory.path, tenant, len(bases.stored), stored, packs, log, _logical(bases),
        sum(size for sha256, size in sizes.items() if bases.complete and sha256 not in needed),
        sum(size for sha256, size in sizes.items() if sha256 in cold),
    )  # fmt: skip


def _logical(bases: TenantView) -> int:
    return sum(
        one.raw_bytes
        for stored in bases.stored.values()
        for base in stored.manifest.stores.values()
        for one in base.sets.values()
    )
