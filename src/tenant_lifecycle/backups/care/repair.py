"""Mending a repository from its copy in the second region.

The damaged bytes are set aside below ``aside/`` before the good ones take their place, and only bytes that opened in
the copy are taken. Afterwards everything is checked again: mended is what that check does not find any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from tenant_lifecycle.backups.care import mirror as mirroring
from tenant_lifecycle.backups.care.ledger import read_ledger
from tenant_lifecycle.backups.care.objects import Sort, check_opened, directory_of, sort_of
from tenant_lifecycle.backups.care.report import Damage, Report
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import KeyRing, KeyWrapping, read_wrap, shredded_mark
from tenant_lifecycle.backups.naming import FORMAT
from tenant_lifecycle.backups.repository import OWN, Repository
from tenant_lifecycle.errors import IntegrityError, KeyUnavailable, LifecycleError, RepositoryRejected

NO_COPY = "there is no second region to mend it from"


def check_and_mend(check: Callable[[], Report], home: Repository, mirror: Repository | None) -> Report:
    """Check, mend what is damaged, and check again; the first report with what became of each damage.

    ``check`` looks at ``home``, the same each time.
    """
    first = check()
    if first.whole:
        return first
    if mirror is None:
        return replace(first, damages=tuple(replace(one, unmended=NO_COPY) for one in first.damages))
    reasons = {one.problem.name: why for one in first.damages if (why := _mend(home, mirror, one))}
    mirroring.copy(mirror, home, without=read_ledger(home.storage, home.signer).gone)
    second = {one.problem.name: one for one in check().damages}
    damages = [_judged(one, second, reasons, mirror) for one in first.damages]
    new = [one for name, one in second.items() if name not in {old.problem.name for old in first.damages}]
    return replace(first, damages=(*damages, *new))


@dataclass(frozen=True, slots=True)
class Opened:
    """A repository, and what had to be mended before it could be opened."""

    repository: Repository
    #: Names of objects.
    mended: tuple[str, ...] = ()


def open_or_mend(storage: Storage, wrapping: KeyWrapping, mirror: Repository | None) -> Opened:
    """Open a repository; if FORMAT or its own key is damaged, mend them first.

    Raises:
        LifecycleError: it does not open, and there is no copy, or the copy is another repository's.
    """
    try:
        return Opened(Repository.open(storage, wrapping))
    except (IntegrityError, KeyUnavailable, RepositoryRejected):
        if mirror is None or not _is_copy_of(mirror, storage, wrapping):
            raise
        mended = _mend_root(storage, wrapping, mirror)
        return Opened(Repository.open(storage, wrapping), mended)


def _judged(one: Damage, left: dict[str, Damage], reasons: dict[str, str], mirror: Repository) -> Damage:
    name = one.problem.name
    if name not in left:
        return replace(one, mended=f"from {mirror.storage.where}")
    return replace(one, unmended=reasons.get(name) or left[name].problem.what)


def _mend(home: Repository, mirror: Repository, damage: Damage) -> str:
    """Mend one object that is there; "" or why it cannot be. What is missing is filled in all at once later."""
    name = damage.problem.name
    if damage.problem.missing or "#" in name:
        return ""
    sort = sort_of(name)
    if sort in (Sort.NOTE, Sort.TOMB):
        _set_aside(home.storage, name)
        return ""
    try:
        if sort is Sort.KEY:
            return _mend_key(home, mirror, name)
        good = _good(mirror, name)
    except LifecycleError as exc:
        return f"the copy does not help: {exc}"
    _set_aside(home.storage, name)
    home.storage.put(name, good)
    return ""


def _good(mirror: Repository, name: str) -> bytes:
    """The bytes from the copy, after they opened there."""
    if sort_of(name) is Sort.SHREDDED:
        return shredded_mark(_epoch(name))
    data = mirror.storage.get(name)
    check_opened(mirror.place(directory_of(name)), name, data)
    return data


def _mend_key(home: Repository, mirror: Repository, name: str) -> str:
    directory = directory_of(name)
    theirs = mirror.place(directory).keys
    theirs.data(_epoch(name))
    _set_aside(home.storage, name)
    theirs.copy_to(home.place(directory).keys)
    return ""


def _set_aside(storage: Storage, name: str) -> None:
    """Keep the damaged bytes under a name that nobody reads, and free theirs.

    Of a wrapped key nothing is kept: with one bit wrong it would outlive its own destruction.
    """
    if sort_of(name) is not Sort.KEY:
        data = storage.get(name)
        storage.put(f"aside/{hashlib.sha256(data).hexdigest()[:16]}/{name}", data)
    storage.delete(name)


def _mend_root(storage: Storage, wrapping: KeyWrapping, mirror: Repository) -> tuple[str, ...]:
    good = mirror.storage.get(FORMAT)
    there = {found for found, _, _ in storage.names("") if found == FORMAT or sort_of(found) is Sort.KEY}
    ours = KeyRing(storage, OWN, mirror.identity, wrapping)
    own_keys = [one for one in there if directory_of(one) == OWN and one != FORMAT]
    damaged = [one for one in own_keys if not _opens(ours, one)]
    if FORMAT in there and storage.get(FORMAT) != good:
        damaged.append(FORMAT)
    for one in damaged:
        _set_aside(storage, one)
    missing = ({FORMAT} | {OWN.key(epoch) for epoch in mirror.place(OWN).keys.epochs()}) - there
    storage.put(FORMAT, good)
    mirror.place(OWN).keys.copy_to(ours)
    return tuple(sorted({*damaged, *missing}))


def _opens(keys: KeyRing, name: str) -> bool:
    try:
        keys.data(_epoch(name))
    except (IntegrityError, KeyUnavailable):
        return False
    return True


def _is_copy_of(mirror: Repository, storage: Storage, wrapping: KeyWrapping) -> bool:
    """Whether the two belong together, and the wrapping key is the one that is used here.

    One wrap that it opens is proof enough; if wraps are there and it opens none, it is another key.
    """
    wraps = [name for name, _, _ in storage.names("") if sort_of(name) is Sort.KEY]
    rings = {name: KeyRing(storage, directory_of(name), mirror.identity, wrapping) for name in wraps}
    return not wraps or any(
        _opens(rings[name], name) or _ours_by_name(storage, name, wrapping) for name in wraps
    )


def _ours_by_name(storage: Storage, name: str, wrapping: KeyWrapping) -> bool:
    try:
        return read_wrap(name, storage.get(name))["by"] == wrapping.id
    except IntegrityError:
        return False


def _epoch(name: str) -> int:
    return int(name.rpartition("/")[2].partition(".")[0])
