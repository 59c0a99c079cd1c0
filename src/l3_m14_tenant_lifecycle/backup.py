"""Back a tenant up, and restore it to a moment."""

from __future__ import annotations

from datetime import UTC, datetime

from l3_m14_tenant_lifecycle.offline import Result, not_available, require_text, skipped

SYSTEMS = ("postgresql", "redis", "pinecone", "s3")
BACKUP_PLAN = (
    *(f"read the tenant's data in {system}" for system in SYSTEMS),
    "encrypt it with the tenant's key and store it",
    "sign and store the manifest",
)
RESTORE_PLAN = (
    "check the manifest and that its schema fits",
    "restore into a preview",
    "compare the preview with what is there",
    "swap them under the fence",
    "verify",
)


def create_tenant_backup(
    tenant_id: str, retention_days: int = 30, cross_region: bool = False, offline: bool = False
) -> Result:
    """Back the tenant up.

    Args:
        retention_days: how long it is kept, at least 1.
        cross_region: keep a second copy in another region.

    Raises:
        ValueError: an argument is empty or not positive.
        NotAvailable: online, in this version.
    """
    require_text(tenant_id=tenant_id)
    if retention_days < 1:
        raise ValueError(f"retention_days must be at least 1, got {retention_days!r}")
    if not offline:
        raise not_available("backing a tenant up")
    plan = (*BACKUP_PLAN, *(("copy it to a second region",) if cross_region else ()))
    return skipped(
        "skipped",
        tenant_id,
        plan,
        retention_days=retention_days,
        cross_region=cross_region,
        systems=list(SYSTEMS),
    )


def restore_tenant_backup(
    backup_id: str, tenant_id: str, point_in_time: datetime | None = None, offline: bool = False
) -> Result:
    """Restore the tenant from a backup.

    Args:
        point_in_time: the moment to restore; without a time zone it is local time. None: the backup's own.

    Raises:
        ValueError: an argument is empty, or the moment lies in the future.
        NotAvailable: online, in this version.
    """
    require_text(backup_id=backup_id, tenant_id=tenant_id)
    moment = point_in_time.astimezone(UTC) if point_in_time is not None else None
    if moment is not None and moment > datetime.now(UTC):
        raise ValueError(f"point_in_time lies in the future: {moment.isoformat()}")
    if not offline:
        raise not_available("restoring a tenant")
    return skipped(
        "skipped",
        tenant_id,
        RESTORE_PLAN,
        backup_id=backup_id,
        point_in_time=moment.isoformat() if moment is not None else None,
    )
