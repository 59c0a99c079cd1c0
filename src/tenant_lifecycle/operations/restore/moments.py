"""From what a person named to the moment that is restored, and the same moment again for the next driver."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.contract import Moment, TenantRepository
from tenant_lifecycle.errors import NotRestorable, UnknownBackup
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import Manifest, StoreBase
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.backup.when import MARK_LABEL, Point, PointKind, time_text
from tenant_lifecycle.model.names import TenantId


@dataclass(frozen=True, slots=True)
class Chosen:
    """A moment as the journal keeps it."""

    at_us: int
    #: The base alone, without the log since; None: base and log.
    base: str | None = None


class BaseMoment:
    """A tenant as one base has it, without the change log: of stores without a snapshot, each item as it was read."""

    def __init__(self, repository: TenantRepository, manifest: Manifest) -> None:
        self._repository = repository
        self.manifest = manifest
        self.at_us = base_time(manifest)

    def stores(self) -> Sequence[str]:
        return tuple(self.manifest.stores)

    def base(self, store: str) -> StoreBase:
        return self.manifest.stores[store]

    def shapes(self, store: str) -> Mapping[str, Shape]:
        return {name: one.shape for name, one in self.manifest.stores[store].sets.items()}

    def items(self, store: str, set_name: str) -> Iterator[Item]:
        return self._repository.items(self.manifest, store, set_name)

    def fingerprints(self, store: str) -> Mapping[str, Fingerprint]:
        return {name: one.fingerprint for name, one in self.manifest.stores[store].sets.items()}


def base_time(manifest: Manifest) -> int:
    """From when on everything of a base is there: the latest of its stores."""
    return max(part.at_us for part in manifest.stores.values())


def choose(repository: TenantRepository, point: Point, now_us: int) -> Chosen:
    """The moment that was named, if it can be restored.

    Raises:
        NotRestorable: it is in the future, before the first base, after the log, or in a gap; with the nearest.
        UnknownBackup: no base of that id or mark, or several that begin so.
    """
    if point.kind is PointKind.TIME:
        if point.at_us > now_us:
            raise NotRestorable(
                f"{time_text(point.at_us)} is in the future; it is {time_text(now_us)} now",
                next_step=f"tenantctl backup window {shlex.quote(repository.tenant)}",
            )
        return _at_time(repository, point.at_us)
    if point.kind is PointKind.LATEST:
        intervals = repository.window().intervals
        if intervals:
            return Chosen(intervals[-1].to_us)
    return _at_base(repository, _named(repository, point))


def _at_time(repository: TenantRepository, at_us: int) -> Chosen:
    try:
        repository.moment(at_us)
    except NotRestorable as error:
        bases = repository.manifests()
        if repository.window().intervals or not bases:
            raise
        raise NotRestorable(str(error), next_step=_nearest_bases(bases, at_us)) from error
    return Chosen(at_us)


def _nearest_bases(bases: Sequence[Manifest], at_us: int) -> str:
    """What can be named instead where there is no change log: the last base before, and the first after."""
    in_order = sorted(bases, key=base_time)
    nearest = [one for one in in_order if base_time(one) <= at_us][-1:]
    nearest += [one for one in in_order if base_time(one) > at_us][:1]
    named = " or ".join(f"--to {one.id} (of {time_text(base_time(one))})" for one in nearest)
    return f"bases alone can be restored: {named}; tenantctl archiver run keeps the log between them"


def _at_base(repository: TenantRepository, manifest: Manifest) -> Chosen:
    """The moment of a base; by the log where there is one, for then all stores are as of the same instant."""
    at_us = base_time(manifest)
    try:
        repository.moment(at_us)
    except NotRestorable:
        return Chosen(at_us, manifest.id)
    return Chosen(at_us)


def _named(repository: TenantRepository, point: Point) -> Manifest:
    manifests = repository.manifests()
    found = [one for one in manifests if _is_named(one, point)]
    if point.kind is not PointKind.BASE:
        found = found[-1:]
    if len(found) != 1:
        raise _not_one_base(repository.tenant, point, several=bool(found), none_at_all=not manifests)
    return found[0]


def _not_one_base(tenant: TenantId, point: Point, *, several: bool, none_at_all: bool) -> UnknownBackup:
    listing = f"tenantctl backup list {shlex.quote(tenant)}"
    if none_at_all:
        making = f"tenantctl backup create {shlex.quote(tenant)}"
        return UnknownBackup(f"tenant {tenant!r} has no base", next_step=making)
    if several:
        return UnknownBackup(f"several bases of tenant {tenant!r} begin with {point.name}", next_step=listing)
    wanted = f"base {point.name}" if point.kind is PointKind.BASE else f"base with the mark {point.name!r}"
    return UnknownBackup(f"tenant {tenant!r} has no {wanted}", next_step=listing)


def _is_named(manifest: Manifest, point: Point) -> bool:
    if point.kind is PointKind.BASE:
        return manifest.id.upper().startswith(point.name)
    return point.kind is PointKind.LATEST or manifest.labels.get(MARK_LABEL) == point.name


def moment_of(repository: TenantRepository, chosen: Chosen) -> Moment:
    """The chosen moment again.

    Raises:
        NotRestorable, UnknownBackup: not any more.
    """
    if chosen.base is None:
        return repository.moment(chosen.at_us)
    return BaseMoment(repository, _named(repository, Point(PointKind.BASE, chosen.base.upper())))
