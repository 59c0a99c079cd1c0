"""A certificate that a tenant was erased."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from l3_m14_tenant_lifecycle.offline import NOTE, Result, not_available, now_text, require_text
from tenant_lifecycle.errors import PreconditionRefused


def generate_deletion_certificate(
    tenant_id: str, request_id: str, verification: Mapping[str, Any], offline: bool = False
) -> Result:
    """Certify what a complete verification found.

    Returns:
        Offline a simulation, marked as one; its ``signature`` is the SHA-256 over the rest of it, which
        shows a change and proves nothing about who made it.

    Raises:
        ValueError: an argument is empty, or the verification is of another tenant.
        PreconditionRefused: the verification is not complete.
        NotAvailable: online, in this version.
    """
    require_text(tenant_id=tenant_id, request_id=request_id)
    if verification.get("tenant_id", tenant_id) != tenant_id:
        raise ValueError(f"the verification is of {verification['tenant_id']!r}, not of {tenant_id!r}")
    if verification.get("complete") is not True:
        raise PreconditionRefused(
            f"no certificate for {tenant_id!r}: its verification is not complete",
            next_step="erase what remaining_data lists, then verify again",
        )
    if not offline:
        raise not_available("certifying an erasure")
    certificate: Result = {
        "certificate_id": str(uuid.uuid4()),
        "tenant_id": tenant_id,
        "request_id": request_id,
        "issued_at": now_text(),
        "systems_verified": list(verification.get("systems_checked", ())),
        "complete": True,
        "simulation": True,
        "note": NOTE,
    }
    text = json.dumps(certificate, sort_keys=True, separators=(",", ":"))
    return {**certificate, "signature": hashlib.sha256(text.encode()).hexdigest()}
