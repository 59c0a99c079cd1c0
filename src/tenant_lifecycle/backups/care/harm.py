"""What a damage hurts: which bases cannot be restored, and from which moment on the log is of no use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenant_lifecycle.backups.care.inspection import Inspection
from tenant_lifecycle.backups.care.objects import Sort, directory_of, sort_of
from tenant_lifecycle.backups.care.report import Damage, Problem
from tenant_lifecycle.backups.care.tenantview import TenantView
from tenant_lifecycle.backups.log.segment import heading_of
from tenant_lifecycle.backups.naming import content_digest
from tenant_lifecycle.errors import IntegrityError


def damages(seen: Inspection, problems: Sequence[Problem]) -> Iterator[Damage]:
    """Each problem with what it hurts."""
    for problem in problems:
        name = problem.name.partition("#")[0]
        directory = directory_of(name)
        bases: tuple[str, ...] = ()
        if directory.path and not seen.shredded(directory):
            bases = tuple(_bases(seen.view(directory), problem.name))
        since = _since(seen, name) if sort_of(name) is Sort.SEGMENT else None
        yield Damage(problem, sort_of(name).value, directory.path, bases, since)


def _bases(bases: TenantView, name: str) -> Iterator[str]:
    """Ids of the bases that need what has this problem."""
    hurt = {found for found in bases.stored if _needs(bases, found, name)}
    for found, stored in bases.stored.items():
        if hurt & set(bases.lineage(found)):
            yield stored.manifest.id
    if sort_of(name) is Sort.MANIFEST and name not in bases.stored:
        yield content_digest(name)


def _needs(bases: TenantView, manifest: str, name: str) -> bool:
    if name.partition("#")[0] == manifest:
        return not name.endswith("#previous")
    packs = bases.packs[manifest]
    if sort_of(name) is Sort.PACK:
        return packs is None or content_digest(name) in packs
    if sort_of(name) is Sort.MANIFEST:
        return bases.stored[manifest].manifest.parent == content_digest(name)
    return sort_of(name) is Sort.INDEX or "/keys/" in name


def _since(seen: Inspection, name: str) -> int | None:
    """When the segment begins, if its heading can be read; else when one before it ends."""
    line = name.rpartition("/")[0]
    before = [one for one in seen.listed if one.rpartition("/")[0] == line and one <= name]
    for one in reversed(before):
        try:
            stretch = heading_of(one, seen.repository.storage.get(one)).stretch
        except IntegrityError:
            continue
        return stretch.from_us if one == name else stretch.through_us
    return None
