"""Checking a repository: level by level, the least recently verified first, and what each damage hurts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tenant_lifecycle.backups.care import harm
from tenant_lifecycle.backups.care.bases import check_bases
from tenant_lifecycle.backups.care.inspection import Inspection, Tick
from tenant_lifecycle.backups.care.ledger import Verified, counted, read_ledger, share, write_notes
from tenant_lifecycle.backups.care.objects import (
    COPY_ORDER,
    Listed,
    Sort,
    check_closed,
    check_opened,
    directory_of,
    sort_of,
)  # fmt: skip
from tenant_lifecycle.backups.care.report import Level, Problem, Report, by_name
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.sealing import read_header
from tenant_lifecycle.errors import IntegrityError, KeyUnavailable


@dataclass(frozen=True, slots=True)
class Part:
    """A check that looks at its share only, because another one comes soon. Durations in seconds."""

    within_s: float
    every_s: float


def check(
    repository: Repository,
    level: Level,
    *,
    mirror: Repository | None = None,
    part: Part | None = None,
    now: Callable[[], float] = time.time,
    tick: Tick = lambda: None,
) -> Report:
    """Look at everything, or at this run's part; what was found whole is noted in the ledger.

    ``tick`` is called between objects and may raise to stop.

    Raises:
        RepositoryError: the storage does not answer, or refuses.
    """
    began, at = time.monotonic(), now()
    seen = Inspection(repository, _list(repository), read_ledger(repository.storage, repository.signer))
    seen.problems += _missing(seen, mirror)
    chosen = _chosen(seen, part, at) if level >= Level.BYTES else []
    for one in chosen:
        tick()
        _look(seen, one, level)
    if level >= Level.CONTENTS:
        check_bases(seen, level, tick)
    problems = list(by_name(seen.problems).values())
    damaged = {one.name for one in problems}
    write_notes(
        repository.storage, repository.signer, at,
        objects=[one for one in seen.verified if one.name not in damaged], bases=seen.bases,
    )  # fmt: skip
    return Report(
        repository.storage.where, level, at, time.monotonic() - began, len(seen.listed), len(chosen),
        seen.bytes_read, len(seen.bases), tuple(harm.damages(seen, problems)),
        tuple(name for name in seen.listed if sort_of(name) is Sort.UNKNOWN),
    )  # fmt: skip


def _list(repository: Repository) -> dict[str, Listed]:
    return {name: Listed(name, size, at) for name, size, at in repository.storage.names("")}


def _chosen(seen: Inspection, part: Part | None, at: float) -> list[Listed]:
    """What is read: small notes always, the rest in the order in which it was verified last."""
    skipped = {Sort.ASIDE, Sort.UNKNOWN}
    there = [one for one in seen.listed.values() if one.sort not in skipped]
    if part is None:
        return there
    notes = [one for one in there if one not in counted([one])]
    return [*notes, *share(counted(there), seen.ledger.opened_at, at, part.within_s, part.every_s)]


def _look(seen: Inspection, one: Listed, level: Level) -> None:
    """Read an object and compare it."""
    known = seen.ledger.objects.get(one.name)
    directory = directory_of(one.name)
    try:
        data = seen.repository.storage.get(one.name)
        opened = level >= Level.CONTENTS and not seen.shredded(directory)
        # A key that opens is whole, also if it was wrapped anew since.
        digest = None if known is None or (opened and one.sort is Sort.KEY) else known.digest
        check_closed(one.name, data, seen.repository.signer, digest)
        if opened:
            check_opened(seen.place(directory), one.name, data)
    except IntegrityError as exc:
        seen.problems.append(Problem(one.name, str(exc)))
    except KeyUnavailable as exc:
        seen.problems.append(_without_key(seen, one.name, data, exc))
    else:
        seen.bytes_read += len(data)
        digest = hashlib.sha256(data).hexdigest()
        if counted([one]):
            seen.verified.append(Verified(one.name, len(data), digest, 2 if opened else 1))


def _without_key(seen: Inspection, name: str, data: bytes, error: KeyUnavailable) -> Problem:
    """If its key was there once, that key is what is damaged, and not the thousand objects that it opens."""
    if sort_of(name) not in (Sort.KEY, Sort.MANIFEST):
        header, _ = read_header(name, data)
        key = directory_of(name).key(header.epoch)
        if key in seen.ledger.objects or any(one.name == key for one in seen.problems):
            return Problem(key, str(error), missing=key not in seen.listed)
    return Problem(name, f"{name}: {error}")


def _missing(seen: Inspection, mirror: Repository | None) -> Iterator[Problem]:
    """What was there, or is in the mirror, and is not there now although nobody let it go; and changed sizes."""
    for name, why in seen.ledger.damaged.items():
        yield Problem(name, why)
    for name, known in seen.ledger.objects.items():
        if name not in seen.listed:
            if not _let_go(seen, name):
                yield Problem(name, f"{name}: is not there any more", missing=True)
        elif seen.listed[name].size != known.size:
            yield Problem(name, f"{name}: has {seen.listed[name].size} bytes, and had {known.size}")
    if mirror is not None:
        yield from _only_in(mirror, seen)


def _only_in(mirror: Repository, seen: Inspection) -> Iterator[Problem]:
    for name, _, _ in mirror.storage.names(""):
        wanted = sort_of(name) in COPY_ORDER or sort_of(name) is Sort.KEY
        if wanted and name not in seen.listed and not _let_go(seen, name):
            yield Problem(name, f"{name}: is in {mirror.storage.where}, and not here", missing=True)


def _let_go(seen: Inspection, name: str) -> bool:
    """Whether it was let go, is marked for it, is short-lived, or is a key that was destroyed."""
    directory = directory_of(name)
    if name in seen.ledger.gone or sort_of(name) is Sort.STAGED:
        return True
    if sort_of(name) is Sort.KEY:
        return name.removesuffix("wrap") + "shredded" in seen.listed
    return directory.tomb(name) in seen.listed
