"""Letting go: plan, mark, wait, and only then delete. Killed anywhere, nothing that somebody needs is gone.

Every run decides anew under the sweeper's lease. What may go is marked; nothing new refers to what is marked. What
was marked for the whole grace time and may go *still* is deleted: first noted, then in the mirror, then here. What
is wanted again loses its mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.care.changes import remember_policy
from tenant_lifecycle.backups.care.inspection import Tick
from tenant_lifecycle.backups.care.lease import SweeperLease
from tenant_lifecycle.backups.care.ledger import Ledger, forget_before, read_ledger, write_notes
from tenant_lifecycle.backups.care.objects import Listed, Sort, sort_of
from tenant_lifecycle.backups.care.plan import Rules, TenantPlan, is_shredded, plan_shredded, plan_tenant
from tenant_lifecycle.backups.care.tombs import Tomb, mark, unmark
from tenant_lifecycle.backups.index import open_index, read_index, rewrite_index
from tenant_lifecycle.backups.naming import Directory, content_digest
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.errors import IntegrityError, KeyUnavailable
from tenant_lifecycle.model.backup.policy import BackupPolicies
from tenant_lifecycle.model.names import TenantId

#: In this order: a base goes before what it consists of, a delta before its parent.
_ORDER: Mapping[Sort, int] = {Sort.MANIFEST: 0, Sort.SEGMENT: 1, Sort.INDEX: 2, Sort.PACK: 3}


@dataclass(frozen=True, slots=True)
class Asked:
    """What others know of a tenant."""

    #: Its tier, "" if it has none.
    tier: Callable[[TenantId], str]
    #: "" or why nothing of it may be deleted (a legal hold).
    held: Callable[[TenantId], str]


@dataclass(frozen=True, slots=True)
class Pruned:
    """One run."""

    plans: tuple[TenantPlan, ...]
    marked: int = 0
    spared: int = 0
    deleted: int = 0
    deleted_bytes: int = 0


def plan(repository: Repository, policies: BackupPolicies, asked: Asked, now: float) -> Pruned:
    """What a run would do; changes nothing.

    Raises:
        RepositoryError: the storage does not answer, or refuses.
    """
    return Pruned(tuple(_plans(repository, policies, asked, now)))


def prune(
    repository: Repository,
    mirror: Repository | None,
    policies: BackupPolicies,
    asked: Asked,
    *,
    owner: str,
    now: Callable[[], float],
    tick: Tick = lambda: None,
) -> Pruned:
    """Mark what may go, and delete what was marked long enough.

    Raises:
        WrongState: another sweeper is at work.
        LeaseLost: one took over; what was begun is finished by it or the next.
        RepositoryRejected: clocks differ too much to tell how old anything is.
        RepositoryError: one of the storages does not answer, or refuses.
    """
    lease = SweeperLease.acquire(repository.storage, repository.signer, owner, now)
    sweep = _Sweep(repository, mirror, lease, now(), policies.care.grace_s, tick)
    plans = []
    try:
        for one in _plans(repository, policies, asked, sweep.now, remember=True):
            plans.append(one)
            sweep.tenant(one)
        sweep.notes(policies.care.verify_within_s)
    finally:
        lease.release()
    return Pruned(tuple(plans), sweep.marked, sweep.spared, sweep.deleted, sweep.deleted_bytes)


def _plans(
    repository: Repository, policies: BackupPolicies, asked: Asked, now: float, remember: bool = False
) -> Iterator[TenantPlan]:
    ledger = read_ledger(repository.storage, repository.signer)
    for directory in list(repository.directories()):
        yield _planned(repository, directory, ledger, policies, asked, now, remember)


def _planned(
    repository: Repository, directory: Directory, ledger: Ledger, policies: BackupPolicies, asked: Asked,
    now: float, remember: bool,
) -> TenantPlan:  # fmt: skip
    place = repository.place(directory)
    listed = _listed(repository, directory)
    signs = repository.signer
    if is_shredded(listed):
        # Nobody can tell any more whose it was; a hold forbids the destruction of keys, so there is none.
        return plan_shredded(place, listed, "", signs)
    try:
        tenant = repository.tenant_of(place)
        policy = policies.of(asked.tier(tenant))
        planned = plan_tenant(
            place, listed, ledger, Rules(policy, policies.care, asked.held(tenant), now, signs)
        )
        if remember:
            remember_policy(repository.storage, signs, directory, policy, now)
    except (IntegrityError, KeyUnavailable) as exc:
        return TenantPlan(directory.path, refused=str(exc))
    return planned


def _listed(repository: Repository, directory: Directory) -> dict[str, Listed]:
    found = repository.storage.names(directory.below(""))
    return {name: Listed(name, size, at) for name, size, at in found}


class _Sweep:
    """One run at work."""

    def __init__(
        self, repository: Repository, mirror: Repository | None, lease: SweeperLease, now: float, grace_s: float,
        tick: Tick,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._storage = repository.storage
        self._mirror = mirror
        self._lease = lease
        self._grace_s = grace_s
        self._tick = tick
        self.now = now
        self.marked = self.spared = self.deleted = self.deleted_bytes = 0

    def tenant(self, planned: TenantPlan) -> None:
        """Everything that is to be done for one tenant now."""
        directory = Directory(planned.directory)
        there = _listed(self._repository, directory)
        for tomb in planned.spared(there):
            self._lease.check()
            unmark(self._storage, directory, tomb.name)
            self.spared += 1
        for one in planned.new():
            self._tick()
            self._lease.check()
            why, signs = one.why, self._repository.signer
            self.marked += mark(self._storage, directory, one.name, one.size, why, self.now, signs)
        self._delete(directory, sorted(planned.due(self.now, self._grace_s), key=_order))
        self._forget_marks(directory, planned)

    def notes(self, verify_within_s: float) -> None:
        """Notes of the ledger that are of no use any more."""
        for name in list(forget_before(self._storage, self.now - 2 * verify_within_s)):
            self._lease.check()
            self._storage.delete(name)

    def _delete(self, directory: Directory, due: Sequence[Tomb]) -> None:
        if not due:
            return
        manifests = [one.name for one in due if sort_of(one.name) is Sort.MANIFEST]
        digests = [hashlib.sha256(self._storage.get(name)).hexdigest() for name in manifests]
        names = [one.name for one in due]
        self._index_without(directory, [name for name in names if sort_of(name) is Sort.PACK])
        for repository in (self._mirror, self._repository):
            if repository is not None:
                write_notes(
                    repository.storage, self._repository.signer, self.now, gone=names, digests=digests
                )
        for one in due:
            self._tick()
            self._lease.check()
            for repository in (self._mirror, self._repository):
                if repository is not None:
                    repository.storage.delete(one.name)
            if sort_of(one.name) is not Sort.PACK:
                # A pack's mark stays while an index lists it: nobody may refer to what is not there.
                unmark(self._storage, directory, one.name)
            self.deleted, self.deleted_bytes = self.deleted + 1, self.deleted_bytes + one.size

    def _index_without(self, directory: Directory, packs: Sequence[str]) -> None:
        """Have an index, in both regions, that does not lead to the packs, before they go."""
        place = self._repository.place(directory)
        if not packs or is_shredded(_listed(self._repository, directory)):
            return
        known = read_index(place.storage, place.sealer, directory)
        gone = frozenset(content_digest(name) for name in packs) & known.packs.keys()
        if gone:
            self._lease.check()
            name = rewrite_index(place.storage, place.sealer, directory, known, gone)
            if self._mirror is not None:
                self._mirror.storage.put(name, place.storage.get(name))

    def _forget_marks(self, directory: Directory, planned: TenantPlan) -> None:
        """Take the marks of packs away that are gone, when no index leads to them any more."""
        gone = {one.name for one in planned.marked} - _listed(self._repository, directory).keys()
        if not gone:
            return
        there = _listed(self._repository, directory)
        place = self._repository.place(directory)
        listed_packs = frozenset() if is_shredded(there) else _packs_of_every_index(place, there)
        for name in sorted(gone):
            if content_digest(name) not in listed_packs:
                self._lease.check()
                unmark(self._storage, directory, name)


def _packs_of_every_index(place: Place, there: Mapping[str, Listed]) -> frozenset[str]:
    """Also of those that another one stands for: somebody may have read them, and write a base by them."""
    names = [name for name in there if sort_of(name) is Sort.INDEX]
    packs = [open_index(place.sealer, name, place.storage.get(name))[0] for name in names]
    return frozenset(pack.sha256 for found in packs for pack in found)


def _order(tomb: Tomb) -> tuple[int, str]:
    """Newest bases first, everything else in order of names."""
    rank = _ORDER.get(sort_of(tomb.name), len(_ORDER))
    name = "".join(chr(0x10FFFF - ord(letter)) for letter in tomb.name) if rank == 0 else tomb.name
    return rank, name
