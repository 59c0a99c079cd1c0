"""Who was erased: keyed hashes of ids, kept in every region, so that no restore brings anybody back.

``care/excluded/<HMAC-SHA256 of the id>.note`` is created once, signed, and never changed. Whoever restores asks first;
without the repository's key nobody can tell from the list who is on it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.care.signed import read_signed, signed
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.model.names import TenantId

FOLDER = "care/excluded/"


@dataclass(frozen=True, slots=True)
class Excluded:
    """One entry."""

    #: The operation that erased the tenant.
    erasure: str
    #: Seconds since 1970: moments up to here are not restored; a new life of the same id begins later.
    until: float
    #: SHA-256 of the entry's bytes, hex: for the certificate.
    digest: str


def exclude(regions: Sequence[Repository], tenant: TenantId, erasure: str, until: float) -> Excluded:
    """Put a tenant on the list of every region; of several entries the first stays."""
    name = _name(regions[0], tenant)
    body = {"erasure": erasure, "until_us": round(until * 1_000_000)}
    for one in regions:
        one.storage.put(name, signed(name, body, one.signer))
    found = excluded(regions[0], tenant)
    assert found is not None, "it was put there just now"
    return found


def excluded(repository: Repository, tenant: TenantId) -> Excluded | None:
    """The tenant's entry; None: it was not erased.

    Raises:
        RepositoryDamaged: the entry was changed; nothing may be restored then.
    """
    name = _name(repository, tenant)
    if not any(found == name for found, _, _ in repository.storage.names(name)):
        return None
    data = repository.storage.get(name)
    body = read_signed(name, data, repository.signer)
    digest = hashlib.sha256(data).hexdigest()
    return Excluded(str(body["erasure"]), int(body["until_us"]) / 1_000_000, digest)


def _name(repository: Repository, tenant: TenantId) -> str:
    """Like a directory's name, and yet not the same: the list does not lead to a directory."""
    directory = repository.directory(tenant)
    digest = hmac.new(repository.exclusion_key, directory.tenant_hash, hashlib.sha256)
    return f"{FOLDER}{digest.hexdigest()}.note"
