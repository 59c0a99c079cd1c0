"""Deletion: own files go, shared files are written anew without the tenant's lines."""

from __future__ import annotations

import os
import time
from collections import Counter

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erased, Refused
from tenant_lifecycle.stores.folder.logfiles import digest, rewrite
from tenant_lifecycle.stores.folder.place import Folder, rule_of

#: The word for a file that somebody may be writing to.
IN_USE = "InUse"


def erase(folder: Folder, tenant: TenantId, batch: Batch, check: Check) -> Erased:
    """Exactly these lines and files, as far as they still are the tenant's.

    Raises:
        StoreBusy: a file changed while it was read.
        StoreRejected: a file cannot be read or replaced.
    """
    if batch.method is Method.DELETE:
        return _files(folder, tenant, batch, check)
    by_file: dict[str, set[bytes]] = {}
    for key in batch.keys:
        by_file.setdefault(os.fsdecode(key.partition(b"\0")[0]), set()).add(key)
    deleted, refused = 0, list[Refused]()
    for file, keys in by_file.items():
        until = _in_use_until(folder, file)
        if until is not None:
            refused += [Refused(key, IN_USE, until) for key in sorted(keys)]
            continue
        deleted += _lines(folder, tenant, file, keys, check)
    return Erased(deleted, len(batch.keys) - deleted - len(refused), tuple(refused))


def _files(folder: Folder, tenant: TenantId, batch: Batch, check: Check) -> Erased:
    resolved = folder.resolve(tenant)
    there = set(folder.files())
    deleted = 0
    for key in batch.keys:
        file = os.fsdecode(key)
        # Only what a listing of the folder gives is touched, so no key leads out of it.
        if file in there and resolved.family_of(file) == batch.set:
            check()
            try:
                folder.path(file).unlink()
            except OSError as exc:
                raise StoreRejected(f"{folder.name}: {exc.strerror}", store=folder.name) from exc
            deleted += 1
    return Erased(deleted, len(batch.keys) - deleted)


def _lines(folder: Folder, tenant: TenantId, file: str, keys: set[bytes], check: Check) -> int:
    rule = rule_of(folder.shared(tenant), file)
    if rule is None or file not in set(folder.files()):
        return 0
    # Equal lines cannot be told apart: as many of them go as the batch names.
    wanted = Counter(key.rsplit(b"\0", 2)[1] for key in keys)
    left = Counter(wanted)

    def stays(line: bytes) -> bool:
        name = digest(line).hex().encode() if rule.owns(line) else b""
        if not left[name]:
            return True
        left[name] -= 1
        return False

    check()
    rewrite(folder.path(file), stays, folder.name, check)
    return (wanted - left).total()


def _in_use_until(folder: Folder, file: str) -> float | None:
    """When a file will have been quiet for long enough; None: it is, or it is gone."""
    path = folder.path(file)
    if not path.exists():
        return None
    until = path.stat().st_mtime + folder.quiet_s
    return until if until > time.time() else None
