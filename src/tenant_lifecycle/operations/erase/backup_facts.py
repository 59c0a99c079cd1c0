"""What a certificate says of the repository of backups: keys that were destroyed, and what may still lie somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tenant_lifecycle.model.erasure import certificate as said
from tenant_lifecycle.model.erasure.certificate import rfc3339
from tenant_lifecycle.operations.erase.proceedings import Proceedings

_KIND = "backups"


def keys_of(found: Proceedings) -> tuple[said.Key, ...]:
    """Every key epoch of the tenant, with what became of the bytes that it had sealed."""
    return tuple(
        said.Key(
            key_ref=f"{told['directory']}#{epoch}",
            scheme="AES-256-GCM, wrapped by each region's key",
            always_encrypted_since=None,
            copies_checked=("repository", "mirror")[: told["regions"]],
            scheduled_at=None,
            destroyed_at=rfc3339(told["at"]),
            decrypt_probe=said.DecryptProbe(before=told["before"], after=told["after"]),
        )
        for told in _destroyed(found)
        for epoch in told["epochs"]
    )


def backups_of(found: Proceedings) -> said.Backups:
    """Objects whose deletion was refused are the only ones left, and nobody can open them."""
    told = next(_destroyed(found), None)
    if told is None:
        return said.Backups(classes=(), exclusion_entry_digest=None, restore_drill=None)
    purged = said.BackupClass(
        name="repository",
        oldest=None,
        max_age_days=0,
        purge_due=None if told["left"] else rfc3339(told["at"]),
        lock_mode="refused" if told["left"] else "none",
    )
    return said.Backups(classes=(purged,), exclusion_entry_digest=told["excluded"], restore_drill=None)


def _destroyed(found: Proceedings) -> Iterator[Mapping[str, Any]]:
    """What the newest round noted of each repository that had something of the tenant."""
    for system in found.plan.systems:
        if system.kind == _KIND:
            noted = [
                one["destroyed"] for one in found.outputs_of("settle", system.system) if "destroyed" in one
            ]
            yield from noted[-1:]
