"""One bucket: typed requests, each one round trip, with errors of ours.

What is asked about a version is remembered by its id, because versions never change; tags do and are not.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import IO, Any, Generic, TypeVar, cast
from urllib.parse import urlencode

from tenant_lifecycle.stores.s3.connection import Absent, Call, Changed, Settings, translating
from tenant_lifecycle.stores.s3.facts import Facts, plain
from tenant_lifecycle.stores.s3.stack import Version

Tags = tuple[tuple[str, str], ...]
#: The target's ETag that a write expects to find; None: nothing there.
Expected = str | None
#: Versions whose facts and digests are remembered.
REMEMBERED = 20_000
T = TypeVar("T")
_BLOCK = 1024 * 1024


class Bucket:
    """A bucket of one environment. Safe to use from several threads; connects on first use."""

    def __init__(self, name: str, settings: Settings) -> None:
        #: The store's name, for people.
        self.store = name
        self.settings = settings
        self.name = settings.bucket
        self._client: object | None = None
        self._lock = threading.Lock()
        self._facts: _Memory[Facts] = _Memory()
        self._digests: _Memory[str] = _Memory()

    def call(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        """Ask for an operation by its name in Python (``head_object``), on this bucket unless it says so.

        Raises:
            Absent, Changed: see `connection`.
            StoreError: no answer, or a refusal.
        """
        parameters = {"Bucket": self.name, **parameters}
        with translating(self.store, operation):
            return self._call(operation)(**parameters)

    def ask(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        """Like `call`, about the service and not about the bucket."""
        with translating(self.store, operation):
            return self._call(operation)(**parameters)

    def _call(self, operation: str) -> Call:
        with self._lock:
            if self._client is None:
                self._client = self.settings.client(self.store)
            return cast("Call", getattr(self._client, operation))

    def close(self) -> None:
        """Give back connections; safe to repeat. The next request opens new ones."""
        with self._lock:
            if self._client is not None:
                cast("Any", self._client).close()
                self._client = None

    # -- reading

    def facts(self, key: str, version: Version) -> Facts:
        """What a version is; remembered.

        Raises:
            Absent: it is gone, or another object is there now.
        """
        place = (key, version.id, version.etag)
        known = self._facts.get(place)
        if known is None:
            known = Facts.of(self.call("head_object", Key=key, ChecksumMode="ENABLED", **_exactly(version)))
            if known.etag != version.etag:
                raise Absent("overwritten")
            # Without an id of its own, a version can be replaced by one with the same ETag.
            if version.id not in ("", "null"):
                self._facts.put(place, known)
        return known

    def digest(self, key: str, version: Version) -> str:
        """SHA-256 of a version's content, read in blocks; remembered."""
        place = (key, version.id, version.etag)
        known = self._digests.get(place)
        if known is None:
            whole = hashlib.sha256()
            _, body = self.open(key, version)
            with translating(self.store, "get_object"):
                while block := body.read(_BLOCK):
                    whole.update(block)
            known = whole.hexdigest()
            self._digests.put(place, known)
        return known

    def open(self, key: str, version: Version) -> tuple[Facts, IO[bytes]]:
        """A version's facts and its content, to be read as a stream."""
        answer = self.call("get_object", Key=key, IfMatch=f'"{version.etag}"', **_exactly(version))
        return Facts.of(answer), cast("IO[bytes]", answer["Body"])

    def small(self, key: str) -> tuple[bytes, str]:
        """Content and ETag of a small object of ours, as it is now.

        Raises:
            Absent: there is none.
            StoreUnavailable: the answer broke off.
        """
        answer = self.call("get_object", Key=key)
        with translating(self.store, "get_object"):
            return answer["Body"].read(), plain(str(answer["ETag"]))

    def tags(self, key: str, version: Version) -> Tags:
        """A version's tags, sorted."""
        answer = self.call("get_object_tagging", Key=key, **_exactly(version))
        return tuple(sorted((str(tag["Key"]), str(tag["Value"])) for tag in answer.get("TagSet", ())))

    def pages(self, operation: str, **parameters: object) -> Iterator[Mapping[str, Any]]:
        """All pages of a listing of keys, versions or uploads."""
        follow = {
            "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
            "list_object_versions": {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"},
            "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
        }[operation]
        while True:
            page = self.call(operation, **parameters)
            yield page
            if not page.get("IsTruncated"):
                return
            parameters |= {asked: page[given] for asked, given in follow.items() if page.get(given)}

    # -- writing

    def put(self, key: str, content: bytes, expected: Expected, attributes: Mapping[str, object]) -> str:
        """Write an object if what is there is what was expected; return its ETag.

        Raises:
            Changed: something else is there.
        """
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        try:
            answer = self.call(
                "put_object", Key=key, Body=content, ContentMD5=base64.b64encode(md5).decode(),
                **condition(expected), **attributes,
            )  # fmt: skip
        except Absent as exc:
            raise Changed("it is gone") from exc
        return plain(str(answer["ETag"]))

    def delete(self, key: str, expected: str) -> None:
        """Delete the current object (by a marker, where versions are kept) if it is the one expected.

        Raises:
            Changed: it is not.
        """
        try:
            self.call("delete_object", Key=key, IfMatch=f'"{expected}"')
        except Absent as exc:
            raise Changed("it is gone") from exc

    def delete_version(self, key: str, id: str) -> None:
        """Delete a version or a marker for good; gone already is fine."""
        try:
            self.call("delete_object", Key=key, VersionId=id)
        except Absent:
            return

    def set_tags(self, key: str, version: Version, tags: Tags) -> None:
        """Replace a version's tags."""
        if not tags:
            self.call("delete_object_tagging", Key=key, **_exactly(version))
            return
        named = [{"Key": name, "Value": value} for name, value in tags]
        self.call("put_object_tagging", Key=key, Tagging={"TagSet": named}, **_exactly(version))


def condition(expected: Expected) -> dict[str, object]:
    """The parameters that make a write conditional."""
    return {"IfNoneMatch": "*"} if expected is None else {"IfMatch": f'"{expected}"'}


def tagging(tags: Tags) -> str:
    """Tags as a header."""
    return urlencode(tags)


def _exactly(version: Version) -> dict[str, object]:
    """Parameters that ask for this version; one without an id is the only one there."""
    return {"VersionId": version.id} if version.id else {}


class _Memory(Generic[T]):
    """The last `REMEMBERED` things that were learnt about versions."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: tuple[str, str, str]) -> T | None:
        with self._lock:
            return self._known.get(place)

    def put(self, place: tuple[str, str, str], value: T) -> None:
        with self._lock:
            self._known[place] = value
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
