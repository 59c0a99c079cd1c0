"""Which policy a tenant had before: a change lets nothing go before it has rested.

``care/policy/<tenant hash>/<microseconds>.note`` is written when a policy is seen for the first time; the newest is
the one in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tenant_lifecycle.backups.care.signed import Signs, read_signed, signed
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.naming import TENANTS, Directory
from tenant_lifecycle.model.backup.policy import BackupPolicy
from tenant_lifecycle.model.backup.retention import Former

#: Policies that are remembered for each tenant.
_REMEMBERED = 20


def former_policy(
    storage: Storage, signs: Signs, directory: Directory, policy: BackupPolicy, now: float, rest_s: float
) -> Former | None:
    """The policy before this one, with the time until which it counts; None: there was none, or it rested.

    Raises:
        RepositoryDamaged: a note about it was changed.
    """
    notes = _notes(storage, signs, directory)
    if notes and notes[-1][1] != policy:
        # Not noted yet: the change is as new as it can be.
        return Former(notes[-1][1], round((now + rest_s) * 1_000_000))
    if len(notes) < 2:
        return None
    until_us = notes[-1][0] + round(rest_s * 1_000_000)
    return Former(notes[-2][1], until_us) if now * 1_000_000 < until_us else None


def remember_policy(
    storage: Storage, signs: Signs, directory: Directory, policy: BackupPolicy, now: float
) -> bool:
    """Note the policy if it is not the one that was noted last; whether it is new."""
    notes = _notes(storage, signs, directory)
    if notes and notes[-1][1] == policy:
        return False
    at_us = round(now * 1_000_000)
    name = f"{_folder(directory)}{at_us:017d}.note"
    storage.put(name, signed(name, {"at_us": at_us, "policy": asdict(policy)}, signs))
    for old in [name for name, _, _ in storage.names(_folder(directory))][:-_REMEMBERED]:
        storage.delete(old)
    return True


def _notes(storage: Storage, signs: Signs, directory: Directory) -> list[tuple[int, BackupPolicy]]:
    bodies = [read_signed(name, storage.get(name), signs) for name, _, _ in storage.names(_folder(directory))]
    return [(int(body["at_us"]), _policy(body["policy"])) for body in bodies]


def _policy(said: Mapping[str, Any]) -> BackupPolicy:
    return BackupPolicy(**said)


def _folder(directory: Directory) -> str:
    return f"care/policy/{directory.path.removeprefix(TENANTS)}/"
