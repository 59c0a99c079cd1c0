"""Why a base cannot be loaded into a bucket, found before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, Severity, unanswered
from tenant_lifecycle.stores.s3.owned import Area, keeps_versions
from tenant_lifecycle.stores.s3.probe import fine, object_lock, refuse, rights, warn
from tenant_lifecycle.stores.s3.provision import exists


def check_restore(area: Area, shapes: Mapping[str, Shape], facts: Mapping[str, Any]) -> list[Finding]:
    """The bucket, rights, families without a rule; a bucket that keeps no versions is warned of."""
    bucket = area.bucket
    try:
        if not exists(bucket):
            return [refuse(bucket, "s3.bucket", f"there is no bucket {bucket.name!r}", "create it")]
        found = [one for one in (*object_lock(bucket), *rights(bucket)) if one.severity is not Severity.OK]
        keeps = keeps_versions(bucket) == "Enabled"
    except StoreError as exc:
        return [unanswered("s3.reachable", exc)]
    if strange := sorted(set(shapes) - set(area.keys.families)):
        found.append(
            refuse(
                bucket, "s3.unmapped", f"no family in ownership.yaml for {', '.join(strange)}, which the base has",
                "add the families, or restore the others only",
            )
        )  # fmt: skip
    if not keeps:
        was = "as it was" if not facts.get("versioning") else "unlike the one that was backed up"
        found.append(
            warn(
                bucket, "s3.history", f"the bucket keeps no versions, {was}: what a promotion replaces is gone",
                "make a backup before, or switch versioning on",
            )
        )  # fmt: skip
    return found or [fine(bucket, "s3.rights", "everything that a restore needs is allowed")]
