"""Everything of a tenant in a bucket and in its declared replicas: unfinished uploads, versions, delete markers.

A listing without versions shows nothing of a key that was deleted, although its versions and uploads are all there.
Deletes by version id are never replicated, so every replica has a manifest of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.keymap import ResolvedFamily, ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.items import Item, Kind
from tenant_lifecycle.stores.s3.owned import Area, family_of, named, prefixes

#: Items of one batch: what one request deletes.
BATCH = 1_000


def doomed(area: Area, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """Bucket by bucket, family by family: uploads first, then versions and markers in the order of keys."""
    resolved = area.resolve(tenant)
    for bucket in (area.bucket.name, *area.bucket.settings.replicas):
        for family in resolved.families.values():
            # Whole keys are listed like prefixes: a key comes first among those that begin with it.
            for place in (*prefixes(family), *named(family)):
                yield from _uploads(area.bucket, resolved, family, bucket, place, check)
                yield from _versions(area.bucket, resolved, family, bucket, place, check)


def _uploads(
    service: Bucket, resolved: ResolvedKeys, family: ResolvedFamily, bucket: str, place: str, check: Check
) -> Iterator[Batch]:
    for page in service.pages("list_multipart_uploads", Bucket=bucket, Prefix=place):
        check()
        found = tuple(
            Item(Kind.UPLOAD, bucket, str(one["Key"]), str(one["UploadId"])).encode()
            for one in page.get("Uploads", ())
            if family_of(resolved, str(one["Key"])) == family.name
        )
        if found:
            yield Batch(family.name, Method.DELETE, found)


def _versions(
    service: Bucket, resolved: ResolvedKeys, family: ResolvedFamily, bucket: str, place: str, check: Check
) -> Iterator[Batch]:
    for page in service.pages("list_object_versions", Bucket=bucket, Prefix=place, MaxKeys=BATCH):
        check()
        found = sorted(
            (str(one["Key"]), str(one["VersionId"]), int(one.get("Size", 0)))
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            if family_of(resolved, str(one["Key"])) == family.name
        )
        if found:
            keys = tuple(Item(Kind.VERSION, bucket, key, id_).encode() for key, id_, _ in found)
            yield Batch(family.name, Method.DELETE, keys, sum(size for _, _, size in found))
