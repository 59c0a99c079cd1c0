"""Deleting versions, markers and uploads by their ids; a reply of 200 is read item by item.

The service answers 200 to a batch of which it refused a part, and calls a version deleted that was never there. So
the errors inside are read, and what is there is listed before, in one request for the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erased, Refused
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.items import Item, Kind, decode
from tenant_lifecycle.stores.s3.locks import lock
from tenant_lifecycle.stores.s3.owned import Area, family_of
from tenant_lifecycle.stores.s3.token import Guard

NOT_THE_TENANTS = "NotTheTenants"
MOST_AT_ONCE = 1_000
#: Answers for an item that mean: it is gone.
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})


@dataclass(slots=True)
class _Done:
    deleted: int = 0
    gone: int = 0
    refused: list[Refused] = field(default_factory=list)


def erase(area: Area, guard: Guard, batch: Batch, check: Check) -> Erased:
    """Delete the batch's items that are there and still the tenant's.

    Retention in governance mode is set aside only with ``bypass_governance: yes`` in the store's settings.

    Raises:
        Fenced: a newer driver was here.
        StoreError: the service refused a whole request, or did not answer.
    """
    done = _Done()
    mine = list(_mine(area, guard.feed.tenant, decode(batch.keys), done))
    for item in (one for one in mine if one.kind is Kind.UPLOAD):
        check()
        guard.check()
        _abort(area.bucket, item, done)
    for bucket in dict.fromkeys(one.bucket for one in mine):
        versions = [one for one in mine if one.kind is Kind.VERSION and one.bucket == bucket]
        for first in range(0, len(versions), MOST_AT_ONCE):
            _delete(area.bucket, guard, bucket, versions[first : first + MOST_AT_ONCE], done, check)
    return Erased(done.deleted, done.gone, tuple(done.refused))


def _mine(area: Area, tenant: TenantId, items: Sequence[Item], done: _Done) -> Iterator[Item]:
    resolved = area.resolve(tenant)
    for item in items:
        if family_of(resolved, item.key) is not None:
            yield item
        else:
            done.refused.append(Refused(item.encode(), NOT_THE_TENANTS))


def _abort(service: Bucket, item: Item, done: _Done) -> None:
    try:
        service.call("abort_multipart_upload", Bucket=item.bucket, Key=item.key, UploadId=item.id)
    except Absent:
        done.gone += 1
    else:
        done.deleted += 1


def _delete(
    service: Bucket, guard: Guard, bucket: str, items: Sequence[Item], done: _Done, check: Check
) -> None:
    there = _there(service, bucket, items)
    wanted = [item for item in items if (item.key, item.id) in there]
    done.gone += len(items) - len(wanted)
    if not wanted:
        return
    check()
    guard.check()
    bypass = {"BypassGovernanceRetention": True} if service.settings.bypass_governance else {}
    objects = [{"Key": item.key, "VersionId": item.id} for item in wanted]
    try:
        answer = service.call(
            "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": False}, **bypass
        )
    except Absent as exc:
        raise StoreRejected(f"{service.store}: there is no such bucket", store=service.store) from exc
    said = {(str(one["Key"]), str(one.get("VersionId"))) for one in answer.get("Deleted", ())}
    errors = _errors(answer)
    for item in wanted:
        code = "" if (item.key, item.id) in said else _code(errors, item)
        if code in _GONE:
            done.gone += 1
        elif code:
            until = lock(service, item.bucket, item.key, item.id).date
            done.refused.append(Refused(item.encode(), code, until))
        else:
            done.deleted += 1


def _errors(answer: Mapping[str, Any]) -> Mapping[tuple[str, str], str]:
    """Codes by key and version; some services leave the version out."""
    return {
        (str(one.get("Key")), str(one.get("VersionId") or "")): str(one.get("Code"))
        for one in answer.get("Errors", ())
    }


def _code(errors: Mapping[tuple[str, str], str], item: Item) -> str:
    """Why an item that is not among the deleted ones is not."""
    return errors.get((item.key, item.id)) or errors.get((item.key, "")) or "NoAnswer"


def _there(service: Bucket, bucket: str, items: Sequence[Item]) -> set[tuple[str, str]]:
    """Those versions and markers that are there. The batch is a stretch of a listing, so few others lie between.

    What lies under the first key is asked for, and then what comes after it, until the last key.
    """
    first, last = min(item.key for item in items), max(item.key for item in items)
    found: set[tuple[str, str]] = set()
    for start, end in (({"Prefix": first}, first), ({"KeyMarker": first}, last)):
        for page in service.pages("list_object_versions", Bucket=bucket, **start):
            entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            found |= {(str(one["Key"]), str(one["VersionId"])) for one in entries}
            if any(str(one["Key"]) > end for one in entries):
                break
    return found
