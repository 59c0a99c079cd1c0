"""Making the target ready: its bucket, keeping versions as the source's does."""

from __future__ import annotations

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent, is_refusal
from tenant_lifecycle.stores.s3.owned import keeps_versions


def create_missing(source: Bucket, target: Bucket) -> list[str]:
    """Create the bucket if it is not there; one that is there is left as it is. Idempotent."""
    if exists(target):
        return []
    region = target.settings.region
    place = (
        {"CreateBucketConfiguration": {"LocationConstraint": region}}
        if region not in ("", "us-east-1")
        else {}
    )
    try:
        target.call("create_bucket", **place)
    except StoreRejected as exc:
        if not is_refusal(exc, "BucketAlreadyOwnedByYou"):
            raise
    made = [f"bucket {target.name}"]
    if keeps_versions(source):
        target.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
        made.append(f"versioning of bucket {target.name}")
    return made


def exists(bucket: Bucket) -> bool:
    """Whether the bucket is there."""
    try:
        bucket.call("head_bucket")
    except Absent:
        return False
    return True
