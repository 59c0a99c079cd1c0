"""Whether a bucket is still the one it was: compatible services may lose what they had accepted."""

from __future__ import annotations

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.s3.bucket import Bucket


def incarnation(bucket: Bucket) -> str:
    """Constant for Amazon S3, which keeps what it accepted; elsewhere the moment the bucket was made.

    Raises:
        StoreRejected: there is no such bucket, or the credentials may not list buckets.
    """
    if bucket.settings.endpoint is None:
        return "durable"
    for entry in bucket.ask("list_buckets").get("Buckets", ()):
        if entry["Name"] == bucket.name:
            return str(entry["CreationDate"].isoformat())
    raise StoreRejected(
        f"{bucket.store}: the bucket is not there", store=bucket.store,
        next_step="create the bucket, or correct its name in lifecycle.yaml",
    )  # fmt: skip
