"""Taking a tenant's objects away for good: every version, every delete marker, every unfinished upload.

Written to be killed anywhere and called again. The ids that templates are filled with come from the tenant's
rows, so objects go before the rows do. Our own notes about the tenant go too, but for the driver token, which
only grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import ResolvedFamily, ResolvedKeys
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.listing import uploads
from tenant_lifecycle.stores.s3.owned import Area, family_of, named, own_place, prefixes
from tenant_lifecycle.stores.s3.token import Guard

#: Versions that one request deletes.
BATCH = 1_000
#: Answers of a deletion that mean: it is gone.
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})

Entry = tuple[str, str]


def remove(area: Area, guard: Guard, check: Check) -> Mapping[str, int]:
    """Delete everything of the tenant here; return keys by family that had something.

    Raises:
        Fenced: a newer driver was here.
        StoreRejected: some versions are locked, or may not be deleted; the others are gone.
    """
    resolved = area.resolve(guard.feed.tenant)
    counts: dict[str, int] = {}
    for family in resolved.families.values():
        counts[family.name] = _remove_family(area.bucket, guard, resolved, family, check)
    guard.check()
    own = own_place(guard.feed.tenant)
    for batch in batches(area.bucket, own, lambda key: key != guard.key):
        delete(area.bucket, batch)
    return counts


def _remove_family(
    bucket: Bucket, guard: Guard, resolved: ResolvedKeys, family: ResolvedFamily, check: Check
) -> int:
    removed: int = 0
    for place in (*prefixes(family), *named(family)):
        for key, id in uploads(bucket, place):
            if family_of(resolved, key) == family.name:
                _abort(bucket, guard, key, id)
        # Until a look finds nothing: something may have been written behind the place where we were.
        last = None
        while True:
            found = 0
            for batch in batches(bucket, place, lambda key: family_of(resolved, key) == family.name):
                check()
                guard.check()
                delete(bucket, batch)
                found += len(batch)
                for key, _ in groupby(batch, key=lambda entry: entry[0]):
                    removed += key != last
                    last = key
            if not found:
                break
    return removed


def _abort(bucket: Bucket, guard: Guard, key: str, id: str) -> None:
    guard.check()
    try:
        bucket.call("abort_multipart_upload", Key=key, UploadId=id)
    except Absent:
        return


def batches(bucket: Bucket, prefix: str, wanted: Callable[[str], bool]) -> Iterator[list[Entry]]:
    """Versions and markers below a prefix, a page at a time and a page late: the service goes on listing from
    the last entry of a page, which must not be gone by then."""
    before: list[Entry] = []
    for page in bucket.pages("list_object_versions", Prefix=prefix, MaxKeys=BATCH):
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        here = sorted((str(one["Key"]), str(one["VersionId"])) for one in entries if wanted(str(one["Key"])))
        if before:
            yield before
        before = here
    if before:
        yield before


def delete(bucket: Bucket, batch: list[Entry]) -> None:
    """Delete for good; the service answers 200 and tells each failure inside."""
    objects = [{"Key": key, "VersionId": id} for key, id in batch]
    answer = bucket.call("delete_objects", Delete={"Objects": objects, "Quiet": True})
    codes = [str(error.get("Code", "")) for error in answer.get("Errors", ())]
    failed = [code for code in codes if code not in _GONE]
    if failed:
        raise StoreRejected(
            f"{bucket.store}: {len(failed)} versions could not be deleted ({', '.join(sorted(set(failed)))})",
            store=bucket.store,
            next_step="look whether object lock, a legal hold or a policy keeps them; then go on",
        )
