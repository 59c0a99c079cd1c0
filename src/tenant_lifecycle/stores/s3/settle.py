"""After the objects: our own notes about the tenant, and what the bucket's settings send elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Settled
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.owned import Area, own_place
from tenant_lifecycle.stores.s3.token import Guard


def settle(area: Area, guard: Guard, check: Check) -> Settled:
    """Delete our notes, but for the driver token; tell what only somebody else can clean.

    Raises:
        Fenced: a newer driver was here.
    """
    service, place = area.bucket, own_place(guard.feed.tenant)
    count = 0
    for key, id_ in _notes(service, place, guard.key):
        check()
        guard.check()
        service.delete_version(key, id_)
        count += 1
    return Settled((f"{count} notes of ours deleted",), tuple(_left(service)))


def _notes(service: Bucket, place: str, kept: str) -> list[tuple[str, str]]:
    """Versions of our notes, older ones of the token included."""
    found = []
    for page in service.pages("list_object_versions", Prefix=place):
        for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            if str(one["Key"]) != kept or not one["IsLatest"]:
                found.append((str(one["Key"]), str(one["VersionId"])))
    return found


def _left(service: Bucket) -> Iterator[str]:
    """A search covers buckets it can see; these are beyond it."""
    for bucket in undeclared_replicas(service):
        yield f"the bucket is replicated to {bucket}, which is not among this store's replicas"


def undeclared_replicas(service: Bucket) -> list[str]:
    """Buckets that the bucket's replication writes to and the store's settings do not name."""
    try:
        found = service.call("get_bucket_replication").get("ReplicationConfiguration", {})
    except (Absent, StoreRejected):
        return []
    targets = {str(rule["Destination"]["Bucket"]).rpartition(":")[2] for rule in found.get("Rules", ())}
    return sorted(targets - set(service.settings.replicas))
