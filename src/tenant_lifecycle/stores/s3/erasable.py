"""What to know before a tenant's objects are erased, and whether the verifier's credentials see everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.doomed import doomed
from tenant_lifecycle.stores.s3.items import Item, Kind, decode
from tenant_lifecycle.stores.s3.locks import Lock, lock, locks
from tenant_lifecycle.stores.s3.owned import Area
from tenant_lifecycle.stores.s3.probe import fine, refuse, warn
from tenant_lifecycle.stores.s3.settle import undeclared_replicas
from tenant_lifecycle.stores.s3.threads import each
from tenant_lifecycle.stores.s3.unmapped import find_unmapped


def erasure_findings(area: Area, tenant: TenantId) -> list[Finding]:
    """Refusals and what an approver has to know; changes nothing."""
    service = area.bucket
    try:
        for bucket in (service.name, *service.settings.replicas):
            service.call("head_bucket", Bucket=bucket)
        return [*_unmapped(area, tenant), *_replicas(service), *_locked(area, tenant)]
    except Absent:
        return [
            refuse(service, "s3.bucket", "a bucket of this store is not there", "correct bucket and replicas")
        ]
    except StoreError as exc:
        said = str(exc).removeprefix(f"{service.store}: ")
        return [refuse(service, "s3.reachable", said, exc.next_step)]


def _unmapped(area: Area, tenant: TenantId) -> Iterator[Finding]:
    found = find_unmapped(area.bucket, area.keys, area.resolve(tenant))
    if found.found or not found.complete:
        yield refuse(
            area.bucket, "s3.unmapped", f"no rule in ownership.yaml for {found.say()}",
            "add families to ownership.yaml, or put the templates under global",
        )  # fmt: skip
    else:
        yield fine(area.bucket, "s3.unmapped", "every object has a rule")


def _replicas(service: Bucket) -> Iterator[Finding]:
    if strange := undeclared_replicas(service):
        yield refuse(
            service, "s3.replicas", f"the bucket is replicated to {', '.join(strange)}: deletes by version do not follow",
            "name them in this store's setting replicas, or declare a store for each",
        )  # fmt: skip


def _locked(area: Area, tenant: TenantId) -> Iterator[Finding]:
    """Locks are asked for version by version, and only where a bucket has them."""
    service = area.bucket
    with_locks = {bucket for bucket in (service.name, *service.settings.replicas) if locks(service, bucket)}
    if not with_locks:
        return
    kept = undated = 0
    latest = 0.0

    def ask(item: Item) -> Lock:
        return lock(service, item.bucket, item.key, item.id)

    for batch in doomed(area, tenant, lambda: None):
        items = [one for one in decode(batch.keys) if one.kind is Kind.VERSION and one.bucket in with_locks]
        for one in each(ask, items) if items else []:
            kept += one.held or one.until is not None
            undated += one.held
            latest = max(latest, one.until or 0.0)
    if kept:
        day = (
            f"until {datetime.fromtimestamp(latest, UTC):%Y-%m-%d %H:%M} UTC" if latest else "without a date"
        )
        also = f", {undated} of them by a legal hold of the service, which has no date" if undated else ""
        yield warn(
            service, "s3.locked", f"object lock keeps {kept} versions {day}{also}",
            "they are bound to expire then; what they are encrypted with can be destroyed meanwhile",
        )  # fmt: skip


def verifier_findings(service: Bucket) -> list[Finding]:
    """Whether the credentials list every bucket, and read versions, uploads and tags; no writing is tried."""
    tries: tuple[tuple[str, Callable[[], object]], ...] = (
        ("s3:ListAllMyBuckets", lambda: service.ask("list_buckets")),
        ("s3:ListBucketVersions", lambda: service.call("list_object_versions", MaxKeys=1)),
        ("s3:ListBucketMultipartUploads", lambda: service.call("list_multipart_uploads", MaxUploads=1)),
    )
    found = []
    for right, attempt in tries:
        try:
            attempt()
        except Absent:
            found.append(refuse(service, "s3.bucket", "there is no such bucket", "correct its name"))
        except StoreError as exc:
            said = str(exc).removeprefix(f"{service.store}: ")
            found.append(
                refuse(service, "s3.verifier-rights", f"{right}: {said}", f"allow {right} to the verifier")
            )
    return found or [fine(service, "s3.verifier-rights", "buckets, versions and uploads can be listed")]
