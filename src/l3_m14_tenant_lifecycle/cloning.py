"""Clone a tenant for tests, with its people's data masked."""

from __future__ import annotations

from collections.abc import Sequence

from l3_m14_tenant_lifecycle.offline import Result, not_available, require_different, require_text, skipped

#: What can be cloned.
DATA_TYPES = ("documents", "embeddings", "metadata", "configs")


def clone_tenant(
    source_tenant_id: str,
    target_tenant_id: str,
    anonymize_data: bool = True,
    selective_sync: Sequence[str] | None = None,
    offline: bool = False,
) -> Result:
    """Copy a tenant under another id.

    Args:
        anonymize_data: mask names, addresses and free text on the way.
        selective_sync: which of `DATA_TYPES`; None: all of them.

    Raises:
        ValueError: an argument is empty, both ids are the same, or a data type is unknown.
        NotAvailable: online, in this version.
    """
    require_text(source_tenant_id=source_tenant_id, target_tenant_id=target_tenant_id)
    require_different(source_tenant_id, target_tenant_id)
    chosen = DATA_TYPES if selective_sync is None else tuple(selective_sync)
    unknown = [name for name in chosen if name not in DATA_TYPES]
    if unknown or not chosen:
        what = f"{unknown[0]!r} is unknown" if unknown else "it is empty"
        raise ValueError(f"selective_sync: {what}; known are {', '.join(DATA_TYPES)}")
    if not offline:
        raise not_available("cloning a tenant")
    plan = [
        "read the source tenant as of one moment",
        *(["mask what identifies people"] if anonymize_data else []),
        *(f"write {name}" for name in chosen),
        *(["look for anything that leaked, and destroy the clone if there is"] if anonymize_data else []),
    ]
    return skipped(
        "skipped",
        target_tenant_id,
        plan,
        source_tenant_id=source_tenant_id,
        data_types=list(chosen),
        anonymized=anonymize_data,
    )
