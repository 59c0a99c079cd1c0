"""Is a tenant the same in two environments?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from l3_m14_tenant_lifecycle.offline import NOTE, Result, require_different, require_text
from l3_m14_tenant_lifecycle.online import lifecycle
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.verification import Difference, DifferenceKind

#: Systems that are compared between two environments.
COMPARED = ("postgresql", "redis", "pinecone", "s3")


def verify_data_consistency(
    tenant_id: str, source_env: str, target_env: str, offline: bool = False
) -> Result:
    """Compare every item of the tenant; reads only.

    Returns:
        ``consistent``, ``systems_checked``, ``differences``: one entry per system that differs, with
        ``system``, ``items`` (how many differ), ``source_checksum`` and ``target_checksum``. A checksum is the
        SHA-256 over the differing items as they are on that side: which are there, and which are another
        version. ``tenantctl verify`` names each of them.

    Raises:
        ValueError: an argument is empty, or both environments are the same.
        LifecycleError: a store could not be compared.
    """
    require_text(tenant_id=tenant_id, source_env=source_env, target_env=target_env)
    require_different(source_env, target_env)
    place = {"tenant_id": tenant_id, "source_env": source_env, "target_env": target_env}
    if offline:
        return {
            **place,
            "consistent": True,
            "systems_checked": list(COMPARED),
            "differences": [],
            "items_compared": 0,
            "note": NOTE,
        }
    with lifecycle() as opened:
        report = opened.verify(TenantId(tenant_id), source_env, target_env)
    by_system: dict[str, list[Difference]] = {}
    for verdict in report.sets:
        by_system.setdefault(verdict.store, []).extend(verdict.differences)
    return {
        **place,
        "consistent": report.consistent,
        "systems_checked": list(by_system),
        "differences": [
            {
                "system": system,
                "items": len(found),
                "source_checksum": _checksum(found, DifferenceKind.EXTRA, "source"),
                "target_checksum": _checksum(found, DifferenceKind.MISSING, "target"),
            }
            for system, found in by_system.items()
            if found
        ],
        "items_compared": report.items,
        "duration_seconds": round(report.seconds, 3),
    }


def _checksum(differences: Iterable[Difference], absent: DifferenceKind, side: str) -> str:
    digest = hashlib.sha256()
    for difference in sorted(differences, key=lambda d: (d.set, d.key)):
        version = "absent" if difference.kind is absent else "there"
        if difference.kind is DifferenceKind.DIFFERENT:
            version = f"version of the {side}"
        for part in (difference.set.encode(), difference.key, version.encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
