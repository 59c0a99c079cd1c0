"""Whether keys of one tenant could be another's as well, by the rules alone: ``a`` and ``a:b`` under ``cache:{tenant}:*``.

Which of two such tenants a key belongs to cannot be told from the key, so a move would carry over, and later
delete, what is somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.keymap import KeyMap, TenantIds, overlapping
from tenant_lifecycle.model.names import TenantId


def overlaps(
    subject: str, kind: str, keys: KeyMap, tenant: TenantId, others: Iterable[TenantId]
) -> list[Finding]:
    """One finding, ``KIND.overlap``, about templates that are made of the tenant's own id.

    Templates with ids out of rows are left out: those of two tenants are different ids of one column.
    """
    mine = keys.resolve(tenant, TenantIds())
    shared = [
        both
        for other in others
        if other != tenant and (both := overlapping(mine, keys.resolve(other, TenantIds()))) is not None
    ]
    if not shared:
        return [
            Finding(f"{kind}.overlap", Severity.OK, "no key can belong to two of the tenants", "", subject)
        ]
    family, other_family = shared[0]
    return [
        Finding(
            f"{kind}.overlap", Severity.REFUSAL,
            f"keys of tenant {tenant!r} (family {family}) could be keys of {len(shared)} other tenant(s) as well "
            f"(family {other_family})",
            "put a character around {tenant} in the template that no tenant's id has", subject,
        )
    ]  # fmt: skip
