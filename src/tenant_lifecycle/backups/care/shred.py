"""Destroying a tenant's keys in every region, and the proof that the same bytes opened before and do not after.

Order: what proves it is noted first (one sealed object of the tenant's, as it is), then the keys go, then those bytes
are tried again with everything that is left, then the objects themselves are deleted, and a signed receipt says so.
Killed anywhere, it is repeated and goes on; a receipt is only written for what was seen.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tenant_lifecycle.backups.care.ledger import write_notes
from tenant_lifecycle.backups.care.objects import Sort, sort_of
from tenant_lifecycle.backups.care.signed import read_signed, signed
from tenant_lifecycle.backups.keys import shred as destroy_keys
from tenant_lifecycle.backups.naming import TENANTS, Directory
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.sealing import read_header
from tenant_lifecycle.errors import (
    IntegrityError,
    InvariantViolated,
    KeyUnavailable,
    PreconditionRefused,
    RepositoryRejected,
)  # fmt: skip
from tenant_lifecycle.model.names import TenantId

FOLDER = "care/shred/"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether the tenant's planted bytes opened in one region."""

    where: str
    before: bool
    after: bool
    #: Keys of the tenant that were deleted there.
    keys: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was destroyed; signed in the repository, and nothing of the tenant's is in it."""

    directory: str
    #: Numbers of the keys that were destroyed, now or before.
    epochs: tuple[int, ...]
    probes: tuple[Probe, ...]
    #: Objects that were deleted besides, and those whose deletion was refused (object lock): nobody can open them.
    deleted: int
    deleted_bytes: int
    left: int
    #: Seconds since 1970.
    at: float
    #: The note's name; equal in every region.
    name: str = ""


def shred(
    repository: Repository,
    mirror: Repository | None,
    tenant: TenantId,
    *,
    held: Callable[[], str],
    now: Callable[[], float],
) -> Receipt:
    """Destroy every key of the tenant, and delete what it has in the repository. Bears repetition.

    ``held`` is asked right before the keys go: "" or why nothing of the tenant may be deleted.

    Raises:
        PreconditionRefused: a hold.
        InvariantViolated: bytes of the tenant's open still.
        RepositoryError: a region does not answer; keys may be gone in the other one. Do it again.
    """
    regions = [one for one in (repository, mirror) if one is not None]
    directory = repository.directory(tenant)
    begun = _begin(repository, regions, directory, now)
    if why := held():
        raise PreconditionRefused(
            f"the keys of {tenant!r} are kept: {why}", next_step="tenantctl hold list; release the hold first"
        )
    done = destroy_keys([one.storage for one in regions], directory)
    probes = [
        Probe(one.storage.where, begun[one.storage.where], False, done.get(one.storage.where, 0))
        for one in regions
    ]
    _refuse_if_anything_opens(repository, regions, directory)
    deleted, size, left = _purge(regions, directory, now())
    return _receipt(regions, directory, probes, deleted, size, left, now())


def receipts(repository: Repository, tenant: TenantId) -> list[Receipt]:
    """What was destroyed of the tenant, the oldest first; signatures checked."""
    folder = _folder(repository.directory(tenant))
    names = [name for name, _, _ in repository.storage.names(f"{folder}receipt-")]
    return [_read(name, read_signed(name, repository.storage.get(name), repository.signer)) for name in names]


def opens(repository: Repository, directory: Directory, data: bytes) -> bool:
    """Whether the planted bytes open with what the region has now; nothing is remembered."""
    try:
        repository.place(directory).sealer.open(
            read_header("probe", data)[0].kind, directory.tenant_id(), data
        )
    except (KeyUnavailable, IntegrityError):
        return False
    return True


def _begin(
    repository: Repository, regions: Sequence[Repository], directory: Directory, now: Callable[[], float]
) -> Mapping[str, bool]:
    """Keep bytes of the tenant's for the proof, with whether they open in each region; from the first attempt."""
    storage, signs = repository.storage, repository.signer
    name = f"{_folder(directory)}begun.note"
    noted = read_signed(name, storage.get(name), signs) if _is_there(repository, name) else None
    if _is_there(repository, directory.tenant_id()):
        data = storage.get(directory.tenant_id())
        planted = base64.b64encode(data).decode()
        seen = {one.storage.where: opens(one, directory, data) for one in regions}
        # Other bytes that open are of a new life of the tenant; the same bytes were tried by an earlier attempt.
        if any(seen.values()) and (noted is None or noted["bytes"] != planted):
            storage.delete(name)
            noted = {"at_us": round(now() * 1_000_000), "bytes": planted, "opens": seen}
            storage.put(name, signed(name, noted, signs))
    opened: Mapping[str, bool] = noted["opens"] if noted is not None else {}
    return {one.storage.where: bool(opened.get(one.storage.where)) for one in regions}


def _is_there(repository: Repository, name: str) -> bool:
    return any(found == name for found, _, _ in repository.storage.names(name))


def _refuse_if_anything_opens(
    repository: Repository, regions: Sequence[Repository], directory: Directory
) -> None:
    name = f"{_folder(directory)}begun.note"
    if not _is_there(repository, name):
        return
    data = base64.b64decode(read_signed(name, repository.storage.get(name), repository.signer)["bytes"])
    for one in regions:
        if opens(one, directory, data):
            raise InvariantViolated(
                f"{one.storage.where}: bytes of {directory.path} open although its keys were destroyed",
                next_step="end every process that writes keys there, and do it again",
            )


def _purge(regions: Sequence[Repository], directory: Directory, at: float) -> tuple[int, int, int]:
    """Delete everything but the marks of destroyed keys; objects, bytes, and how many were refused."""
    deleted = size = left = 0
    for one in regions:
        below = [(name, bytes_) for name, bytes_, _ in one.storage.names(directory.below(""))]
        aside = [
            (name, bytes_) for name, bytes_, _ in one.storage.names("aside/") if f"/{directory.path}/" in name
        ]
        doomed = [(name, bytes_) for name, bytes_ in (*below, *aside) if sort_of(name) is not Sort.SHREDDED]
        write_notes(one.storage, one.signer, at, gone=[name for name, _ in doomed])
        for name, bytes_ in doomed:
            try:
                one.storage.delete(name)
            except RepositoryRejected:
                left += 1
            else:
                deleted, size = deleted + 1, size + bytes_
    return deleted, size, left


def _receipt(
    regions: Sequence[Repository], directory: Directory, probes: Sequence[Probe], deleted: int, size: int,
    left: int, at: float,
) -> Receipt:  # fmt: skip
    name = f"{_folder(directory)}receipt-{round(at * 1_000_000):017d}.note"
    marks = [found for found, _, _ in regions[0].storage.names(directory.below("keys/"))]
    epochs = tuple(int(one.rpartition("/")[2].partition(".")[0]) for one in marks)
    receipt = Receipt(directory.path, epochs, tuple(probes), deleted, size, left, at, name)
    for one in regions:
        one.storage.put(name, signed(name, asdict(receipt), one.signer))
    return receipt


def _read(name: str, body: Mapping[str, Any]) -> Receipt:
    probes = tuple(Probe(**one) for one in body["probes"])
    return Receipt(**{**body, "probes": probes, "epochs": tuple(body["epochs"]), "name": name})


def _folder(directory: Directory) -> str:
    return f"{FOLDER}{directory.path.removeprefix(TENANTS)}/"
