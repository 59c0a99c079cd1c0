"""The second region: a copy that is usable at every moment, wherever copying is cut off.

What others refer to goes before them and manifests go last, so a base that is in the copy is there whole. Objects are
the same bytes in both; only keys are wrapped for each region by itself. Each object is compared before it is copied:
damage does not spread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tenant_lifecycle.backups.care.inspection import Tick
from tenant_lifecycle.backups.care.objects import (
    COPY_ORDER,
    Listed,
    Sort,
    check_closed,
    directory_of,
    sort_of,
)  # fmt: skip
from tenant_lifecycle.backups.care.report import Problem
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.formatting import read_format
from tenant_lifecycle.backups.keys import KeyRing, KeyWrapping
from tenant_lifecycle.backups.naming import FORMAT, Directory
from tenant_lifecycle.backups.repository import OWN, Repository
from tenant_lifecycle.errors import RepositoryDamaged, RepositoryRejected

#: Whether the tenant of a directory is copied.
Wanted = Callable[[Directory], bool]
_RANK: Mapping[Sort, int] = {sort: rank for rank, sort in enumerate(COPY_ORDER)}


@dataclass(frozen=True, slots=True)
class Lag:
    """What the copy has not yet."""

    objects: int
    bytes: int
    #: How long the oldest of them has been waiting; 0 if there is none.
    seconds: float


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What one run copied."""

    objects: int
    bytes: int
    #: Keys that were wrapped anew.
    keys: int
    seconds: float
    before: Lag
    after: Lag
    #: Objects that are damaged here, and so were not copied.
    damaged: tuple[Problem, ...] = ()


def open_mirror(home: Repository, storage: Storage, wrapping: KeyWrapping) -> Repository:
    """The copy's repository, begun if it is not there: the repository's own keys, wrapped for it, and FORMAT.

    Raises:
        RepositoryRejected: another repository is there.
    """
    theirs = KeyRing(storage, OWN, home.identity, wrapping)
    if any(True for _ in storage.names(FORMAT)) and read_format(storage).repository != home.identity:
        raise RepositoryRejected(
            f"{storage.where}: holds another repository than {home.storage.where}", where=storage.where,
            next_step="name an empty place for the mirror, or the mirror of this repository",
        )  # fmt: skip
    home.place(OWN).keys.copy_to(theirs)
    storage.put(FORMAT, home.storage.get(FORMAT))
    return Repository.open(storage, wrapping)


def lag(home: Repository, mirror: Repository, wanted: Wanted, now: float) -> Lag:
    """How far the copy is behind."""
    return _lag(_missing(_listed(home), _listed(mirror), wanted), now)


def copy(
    source: Repository,
    target: Repository,
    wanted: Wanted = lambda _: True,
    *,
    without: Collection[str] = (),
    tick: Tick = lambda: None,
    now: Callable[[], float] = time.time,
) -> Mirrored:
    """Copy what the target has not. Cut off anywhere, it is repeated; what is there already is left alone.

    ``without``: names that are not copied, because the target let them go.

    Raises:
        RepositoryError: one of the two does not answer, or refuses.
    """
    began, here = time.monotonic(), _listed(source)
    there = _listed(target)
    missing = [one for one in _missing(here, there, wanted) if one.name not in without]
    keys = sum(_copy_keys(source, target, one) for one in _directories(here) if wanted(one))
    damaged: list[Problem] = []
    objects = size = 0
    for one in missing:
        tick()
        if one.sort is Sort.MANIFEST and _hurt(one, damaged):
            continue
        try:
            data = source.storage.get(one.name)
            check_closed(one.name, data, source.signer, None)
        except RepositoryDamaged as exc:
            damaged += [Problem(one.name, str(exc))] if _still_wanted(source, one.name) else []
            continue
        target.storage.put(one.name, data)
        objects, size = objects + 1, size + len(data)
    return Mirrored(
        objects, size, keys, time.monotonic() - began, _lag(missing, now()), lag(source, target, wanted, now()),
        tuple(damaged),
    )  # fmt: skip


def _copy_keys(source: Repository, target: Repository, directory: Directory) -> int:
    """Wrap the directory's keys for the other region; none whose destruction began meanwhile."""
    copied = source.place(directory).keys.copy_to(target.place(directory).keys)
    for one in (source, target):
        for name, _, _ in list(one.storage.names(directory.below("keys/"))):
            if sort_of(name) is Sort.SHREDDED:
                target.storage.delete(name.removesuffix("shredded") + "wrap")
    return copied


def _listed(repository: Repository) -> dict[str, Listed]:
    return {name: Listed(name, size, at) for name, size, at in repository.storage.names("")}


def _directories(listed: Iterable[str]) -> Iterator[Directory]:
    for path in sorted({directory_of(name).path for name in listed}):
        yield Directory(path)


def _missing(here: Mapping[str, Listed], there: Mapping[str, Listed], wanted: Wanted) -> list[Listed]:
    """In the order in which they are copied: the repository's own, then tenant by tenant never a base before its parts."""
    found = [
        one
        for one in here.values()
        if one.sort in _RANK and one.name not in there
        and directory_of(one.name).tomb(one.name) not in here
        and directory_of(one.name).tomb(one.name) not in there
    ]  # fmt: skip
    found = [one for one in found if not directory_of(one.name).path or wanted(directory_of(one.name))]
    return sorted(found, key=lambda one: (_RANK[one.sort], one.name))


def _lag(missing: Iterable[Listed], now: float) -> Lag:
    waiting = list(missing)
    oldest = min((one.modified for one in waiting), default=now)
    return Lag(len(waiting), sum(one.size for one in waiting), max(0.0, now - oldest))


def _hurt(manifest: Listed, damaged: Iterable[Problem]) -> bool:
    """Whether something of the tenant could not be copied, so that the base might miss it."""
    directory = directory_of(manifest.name)
    return any(directory_of(one.name) == directory for one in damaged)


def _still_wanted(source: Repository, name: str) -> bool:
    """Whether it is not only that somebody deletes it just now."""
    tomb = directory_of(name).tomb(name)
    return not any(found == tomb for found, _, _ in source.storage.names(tomb))
