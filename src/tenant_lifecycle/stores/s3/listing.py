"""Walking through a bucket in the order of keys, a page at a time: current objects, or whole stacks of versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, groupby
from typing import Any

from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.facts import plain
from tenant_lifecycle.stores.s3.stack import HISTORY_LIMIT, Marker, Stack, Version

#: Most keys that the service puts into one page.
PAGE = 1_000


def stacks(
    bucket: Bucket, prefix: str, *, history: bool, page: int = PAGE, after: str = ""
) -> Iterator[Stack]:
    """Every key below ``prefix`` with what is under it, in the order of keys.

    Holds one page and one stack in memory. With history, keys are among them that have nothing but markers.
    After a key: that key may still come, not whole, and has to be left out by the caller.
    """
    return (_stacks if history else _objects)(bucket, prefix, page, after)


def stack(bucket: Bucket, key: str, *, history: bool) -> Stack:
    """What is under one key; usually one request."""
    # The key itself comes first among those that begin with it.
    found = next(stacks(bucket, key, history=history, page=HISTORY_LIMIT + 1 if history else 1), None)
    return found if found is not None and found.key == key else Stack(key)


def _objects(bucket: Bucket, prefix: str, page: int, after: str) -> Iterator[Stack]:
    start = {"StartAfter": after} if after else {}
    for answer in bucket.pages("list_objects_v2", Prefix=prefix, MaxKeys=page, **start):
        for entry in answer.get("Contents", ()):
            yield Stack(str(entry["Key"]), (_version(entry),), live=True)


def _stacks(bucket: Bucket, prefix: str, page: int, after: str) -> Iterator[Stack]:
    """A key's versions may be spread over pages; the service lists them newest first."""
    for key, group in groupby(_entries(bucket, prefix, page, after), key=lambda pair: pair[0]):
        versions: list[Version] = []
        markers: list[Marker] = []
        live = cut = False
        for _, entry in group:
            if isinstance(entry, dict):
                live |= bool(entry["IsLatest"])
                if len(versions) < HISTORY_LIMIT:
                    versions.append(_version(entry))
                    continue
                cut = True
                break
            markers.append(entry)
        yield Stack(key, tuple(reversed(versions)), tuple(reversed(markers)), live, cut)


def _entries(
    bucket: Bucket, prefix: str, page: int, after: str
) -> Iterator[tuple[str, dict[str, Any] | Marker]]:
    """Versions (as the service shows them) and markers, key by key."""
    start = {"KeyMarker": after} if after else {}
    for answer in bucket.pages("list_object_versions", Prefix=prefix, MaxKeys=page, **start):
        versions = ((str(one["Key"]), dict(one)) for one in answer.get("Versions", ()))
        markers = (
            (str(one["Key"]), Marker(str(one["VersionId"]), one["LastModified"]))
            for one in answer.get("DeleteMarkers", ())
        )
        # Stable: within a key, versions stay newest first.
        both: list[tuple[str, dict[str, Any] | Marker]] = [*versions, *markers]
        yield from sorted(both, key=lambda pair: pair[0])


def _version(entry: Mapping[str, Any]) -> Version:
    return Version(
        id=str(entry.get("VersionId", "")),
        etag=plain(str(entry["ETag"])),
        size=int(entry["Size"]),
        modified=entry["LastModified"],
        storage_class=str(entry.get("StorageClass") or "STANDARD"),
    )


def uploads(bucket: Bucket, prefix: str) -> Iterator[tuple[str, str]]:
    """Unfinished multipart uploads below ``prefix``: key and upload id."""
    pages = bucket.pages("list_multipart_uploads", Prefix=prefix)
    for entry in chain.from_iterable(page.get("Uploads", ()) for page in pages):
        yield str(entry["Key"]), str(entry["UploadId"])
