"""Object lock: until when a version cannot be deleted by anybody."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent


def locks(service: Bucket, bucket: str) -> bool:
    """Whether the bucket locks objects at all; True if that may not be asked."""
    try:
        found = service.call("get_object_lock_configuration", Bucket=bucket)
    except Absent:
        return False
    except StoreRejected as exc:
        return "NotFound" not in str(exc)
    return bool(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


@dataclass(frozen=True, slots=True)
class Lock:
    """What keeps one version."""

    #: A legal hold of the service, which has no date.
    held: bool
    #: Seconds since 1970 when its retention ends; None: it has none, or it is over.
    until: float | None

    @property
    def date(self) -> float | None:
        """When it can be deleted; None: nobody knows."""
        return None if self.held else self.until


def lock(service: Bucket, bucket: str, key: str, version: str) -> Lock:
    """The lock of a version; none of what is not there or is a delete marker."""
    try:
        found = service.call("head_object", Bucket=bucket, Key=key, VersionId=version)
    except (Absent, StoreRejected):
        return Lock(False, None)
    until = found.get("ObjectLockRetainUntilDate")
    ends = float(until.timestamp()) if until is not None else 0.0
    held = found.get("ObjectLockLegalHoldStatus") == "ON"
    return Lock(held, ends if ends > time.time() else None)
