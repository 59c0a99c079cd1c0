"""Bringing one version of an object from bucket to bucket, with everything that hangs on it.

Three ways, the first that fits: inside the service (both buckets behind one endpoint, and our credentials for
the target may read the source); in one piece; or in parts of 8 MiB, streamed, so that memory stays bounded
whatever the object's size. Every write says what it expects to find. Not every compatible service looks at that
on a copy or at the end of an upload in parts, so there the target is looked at directly before, too.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.stores.s3.bucket import Bucket, Expected, Tags, condition, tagging
from tenant_lifecycle.stores.s3.connection import Absent, Changed, is_refusal, translating
from tenant_lifecycle.stores.s3.facts import Facts, plain
from tenant_lifecycle.stores.s3.owned import own_place
from tenant_lifecycle.stores.s3.stack import Version

#: Objects up to this size travel in one piece; larger ones in parts of it, bytes.
PART = 8 * 1024 * 1024
#: The service's own limits: parts of one upload, and bytes of one copy inside it.
MOST_PARTS, LARGEST_COPY = 10_000, 5 * 1024**3
#: Bytes of one part of a copy inside the service.
COPIED_PART = 512 * 1024 * 1024
_BLOCK = 256 * 1024
#: Streamed uploads in parts at one time; each holds a part or two in memory.
_streams = threading.BoundedSemaphore(3)


@dataclass
class Ways:
    """What has been learnt about how bytes get from one bucket to another."""

    source: Bucket
    target: Bucket
    #: Copies inside the service are possible, as far as is known.
    inside: bool = field(init=False)
    #: Such copies look at their conditions; None: not tried yet.
    conditional: bool | None = None
    #: The name that the source has for the target's key.
    lies_at: Callable[[str], str] = str

    def __post_init__(self) -> None:
        self.inside = self.source.settings.endpoint == self.target.settings.endpoint


def bring(ways: Ways, tenant: str, key: str, version: Version, tags: Tags, expected: Expected) -> str:
    """Write the version as the target's current one; return the ETag it has there.

    Raises:
        Absent: the version is gone at the source.
        Changed: the target has not what was expected.
    """
    if ways.inside and (version.size > PART or _conditions_count(ways, tenant)):
        try:
            return _inside(ways, key, version, expected)
        except StoreRejected as exc:
            if not (
                is_refusal(exc, "AccessDenied") or is_refusal(exc, "403") or is_refusal(exc, "NoSuchBucket")
            ):
                raise
            ways.inside = False
    if version.size <= PART:
        facts, body = ways.source.open(ways.lies_at(key), version)
        with translating(ways.source.store, "get_object"):
            content = body.read()
        return ways.target.put(key, content, expected, attributes(facts, version, tags))
    with _streams:
        facts, body = ways.source.open(ways.lies_at(key), version)
        with _upload(ways.target, tenant, key, attributes(facts, version, tags), expected) as upload:
            for piece in _pieces(ways.source.store, body, version.size):
                upload.send(piece)
            return upload.complete()


def attributes(facts: Facts, version: Version, tags: Tags) -> dict[str, object]:
    """The parameters that give an object written anew what the source's has."""
    given: dict[str, object] = {**dict(facts.headers), "Metadata": dict(facts.metadata)}
    if facts.expires:
        given["Expires"] = facts.expires
    if tags:
        given["Tagging"] = tagging(tags)
    if version.storage_class != "STANDARD":
        given["StorageClass"] = version.storage_class
    return given


def _inside(ways: Ways, key: str, version: Version, expected: Expected) -> str:
    """Have the service copy; what hangs on the version comes along."""
    place: dict[str, object] = {"Bucket": ways.source.name, "Key": ways.lies_at(key)}
    if version.id:
        place["VersionId"] = version.id
    same_source = {"CopySource": place, "CopySourceIfMatch": f'"{version.etag}"'}
    if version.size > LARGEST_COPY:
        return _inside_in_parts(ways, key, version, same_source, expected)
    extra = {"StorageClass": version.storage_class} if version.storage_class != "STANDARD" else {}
    redirect = dict(ways.source.facts(ways.lies_at(key), version).headers).get("WebsiteRedirectLocation")
    if redirect:
        extra["WebsiteRedirectLocation"] = redirect
    if not ways.conditional:
        look(ways.target, key, expected)
    try:
        answer = ways.target.call("copy_object", Key=key, **same_source, **condition(expected), **extra)
    except Absent as exc:
        # Either side: which one, a new look tells.
        raise Changed("gone") from exc
    return plain(str(answer["CopyObjectResult"]["ETag"]))


def _inside_in_parts(
    ways: Ways, key: str, version: Version, same_source: Mapping[str, object], expected: Expected
) -> str:
    there = ways.lies_at(key)
    given = attributes(ways.source.facts(there, version), version, ways.source.tags(there, version))
    with _upload(ways.target, "", key, given, expected) as upload:
        for first in range(0, version.size, COPIED_PART):
            last = min(first + COPIED_PART, version.size) - 1
            upload.copy(same_source, f"bytes={first}-{last}")
        return upload.complete()


def _conditions_count(ways: Ways, tenant: str) -> bool:
    """Whether the service looks at the conditions of a copy: it must refuse to copy an object over itself that
    was expected to be absent. Tried once, on an object of ours."""
    if ways.conditional is None:
        key = own_place(tenant) + "condition"
        ways.target.call("put_object", Key=key, Body=b"")
        place = {"Bucket": ways.target.name, "Key": key}
        try:
            ways.target.call(
                "copy_object", Key=key, CopySource=place, MetadataDirective="REPLACE", IfNoneMatch="*"
            )
            ways.conditional = False
        except Changed:
            ways.conditional = True
        except StoreRejected:
            # A service that does not know the parameter.
            ways.conditional = False
    return ways.conditional


def look(bucket: Bucket, key: str, expected: Expected) -> None:
    """Make sure that the target has what was expected.

    Raises:
        Changed: it has not.
    """
    try:
        there: Expected = plain(str(bucket.call("head_object", Key=key)["ETag"]))
    except Absent:
        there = None
    if there != expected:
        raise Changed("looked at")


def _pieces(store: str, body: IO[bytes], size: int) -> Iterator[bytearray]:
    """The content in parts, all in one piece of memory: each is gone when the next is asked for.

    Above 80 GB the parts grow, because there may be 10,000.
    """
    piece = bytearray(max(PART, -(-size // MOST_PARTS)))
    filled = 0
    with translating(store, "get_object"):
        while block := body.read(min(_BLOCK, len(piece) - filled)):
            piece[filled : filled + len(block)] = block
            filled += len(block)
            if filled == len(piece):
                yield piece
                filled = 0
    if filled:
        del piece[filled:]
        yield piece


class _Upload:
    """An upload in parts that is under way."""

    def __init__(self, bucket: Bucket, key: str, id: str, expected: Expected) -> None:
        self.bucket, self.key, self.id, self.expected = bucket, key, id, expected
        self.parts: list[dict[str, object]] = []

    def send(self, content: bytearray) -> None:
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        answer = self._part("upload_part", Body=content, ContentMD5=md5)
        self._done(answer["ETag"])

    def copy(self, same_source: Mapping[str, object], piece: str) -> None:
        answer = self._part("upload_part_copy", CopySourceRange=piece, **same_source)
        self._done(answer["CopyPartResult"]["ETag"])

    def complete(self) -> str:
        look(self.bucket, self.key, self.expected)
        answer = self.bucket.call(
            "complete_multipart_upload", Key=self.key, UploadId=self.id,
            MultipartUpload={"Parts": self.parts}, **condition(self.expected),
        )  # fmt: skip
        return plain(str(answer["ETag"]))

    def abort(self) -> None:
        with suppress(Absent):
            self.bucket.call("abort_multipart_upload", Key=self.key, UploadId=self.id)

    def _part(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        number = len(self.parts) + 1
        return self.bucket.call(operation, Key=self.key, UploadId=self.id, PartNumber=number, **parameters)

    def _done(self, etag: object) -> None:
        self.parts.append({"PartNumber": len(self.parts) + 1, "ETag": etag})


@contextmanager
def _upload(
    bucket: Bucket, tenant: str, key: str, given: Mapping[str, object], expected: Expected
) -> Iterator[_Upload]:
    """An upload that is either completed or aborted; a driver that was killed left a note about its own."""
    note = own_place(tenant) + "uploads/" + hashlib.sha256(key.encode()).hexdigest()
    _abort_noted(bucket, key, note)
    id = str(bucket.call("create_multipart_upload", Key=key, **given)["UploadId"])
    upload = _Upload(bucket, key, id, expected)
    try:
        bucket.call("put_object", Key=note, Body=id.encode())
        yield upload
    except Absent as exc:
        # The upload, aborted by another driver who took it for a dead one's.
        _forget(upload)
        raise Changed("aborted") from exc
    except BaseException:
        _forget(upload)
        raise
    bucket.call("delete_object", Key=note)


def _forget(upload: _Upload) -> None:
    """Abort after a failure; that the store is down must not hide what happened."""
    with suppress(StoreError):
        upload.abort()


def _abort_noted(bucket: Bucket, key: str, note: str) -> None:
    try:
        id = bucket.small(note)[0].decode()
    except Absent:
        return
    _Upload(bucket, key, id, None).abort()
