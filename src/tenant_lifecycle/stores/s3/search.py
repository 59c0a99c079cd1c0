"""All of S3 that the verifier's credentials see: every bucket, version, delete marker and unfinished upload.

Names, metadata, tags and contents are looked into; contents as a stream, so memory stays bounded. Lists by other
requests than the eraser: whole buckets, without prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Batch, Found, Looked, Place
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent, translating
from tenant_lifecycle.stores.s3.items import Item, Kind, decode
from tenant_lifecycle.stores.s3.owned import OURS
from tenant_lifecycle.stores.s3.threads import each
from tenant_lifecycle.stores.tally import Tally

#: An object is looked into as a whole up to this many bytes, and in overlapping pieces beyond.
PIECE_BYTES, OVERLAP = 8 * 2**20, 64 * 2**10
#: Objects that are asked for at one time.
AT_ONCE = 8
_HEADERS = (
    "ContentType", "ContentDisposition", "ContentEncoding", "ContentLanguage", "CacheControl",
    "WebsiteRedirectLocation",
)  # fmt: skip


def places(service: Bucket) -> list[Place]:
    """Every bucket; the declared ones in any case."""
    declared = {service.name, *service.settings.replicas}
    seen = {str(one["Name"]) for one in service.ask("list_buckets").get("Buckets", ())}
    return [Place(name, name in declared) for name in sorted(seen | declared)]


def search(service: Bucket, rules: KeyMap, place: Place, found: Found, check: Check) -> Looked:
    """Go through one bucket, to its end; what may not be read makes the result say so."""
    tally = Tally(place.name, found)

    def proposal(key: str) -> str:
        if not place.declared:
            return f"a store of the kind s3 with bucket: {place.name}, and families for its keys"
        if key.startswith(OURS) or rules.mentions(key):
            return ""
        return f"families: {{found: {{template: '{key.rpartition('/')[0]}/*'}}}}, with {{tenant}} where its id stands"

    try:
        for page in service.pages("list_object_versions", Bucket=place.name):
            _page(service, tally, page, proposal, check)
        for page in service.pages("list_multipart_uploads", Bucket=place.name):
            for one in page.get("Uploads", ()):
                _upload(tally, str(one["Key"]), proposal)
    except Absent:
        tally.could_not_read("the bucket is not there")
    except StoreRejected as exc:
        tally.could_not_read(str(exc))
    return tally.looked()


def _page(
    service: Bucket, tally: Tally, page: Mapping[str, Any], proposal: Callable[[str], str], check: Check
) -> None:
    for one in page.get("DeleteMarkers", ()):
        key = str(one["Key"])
        tally.count()
        tally.look(f"{key} (delete marker {one['VersionId']})", key.encode(), proposal(key))
    versions = list(page.get("Versions", ()))
    for first in range(0, len(versions), AT_ONCE):
        check()
        each(lambda one: _version(service, tally, one, proposal), versions[first : first + AT_ONCE])


def _upload(tally: Tally, key: str, proposal: Callable[[str], str]) -> None:
    """The parts of an upload cannot be read by anybody."""
    tally.count()
    tally.look(f"{key} (unfinished upload)", key.encode(), proposal(key))
    if proposal(key):
        tally.could_not_read("parts of unfinished uploads that no rule mentions")


def _version(service: Bucket, tally: Tally, entry: Mapping[str, Any], proposal: Callable[[str], str]) -> None:
    key, version = str(entry["Key"]), str(entry["VersionId"])
    where, line = f"{key} ({version})", proposal(key)
    tally.count()
    tally.look(where, key.encode(), line)
    exactly = {"Bucket": tally.place, "Key": key, "VersionId": version}
    try:
        answer = service.call("get_object", **exactly)
        metadata = [*answer.get("Metadata", {}).items()]
        headers = [str(answer[name]) for name in _HEADERS if answer.get(name)]
        tags = service.call("get_object_tagging", **exactly).get("TagSet", ())
        texts = [
            *headers,
            *(text for pair in metadata for text in pair),
            *(str(tag[name]) for tag in tags for name in ("Key", "Value")),
        ]
        for text in texts:
            tally.look(where, text.encode("utf-8", "surrogateescape"), line)
        for piece in _pieces(service.store, answer["Body"]):
            tally.look(where, piece, line)
    except Absent:
        # It went between the listing and the reading.
        return
    except StoreRejected as exc:
        tally.could_not_read(str(exc))


def _pieces(store: str, body: Any) -> Iterator[bytes]:
    """The content in pieces; what would be cut at the end of one is whole in the next."""
    before = b""
    with translating(store, "get_object"):
        while block := body.read(PIECE_BYTES):
            yield before + block
            before = block[-OVERLAP:]


def remaining(service: Bucket, batch: Batch, check: Check) -> frozenset[bytes]:
    """Items that are still there; each key, and each upload, is asked for by itself."""
    check()
    found = each(lambda item: _is_there(service, item), decode(batch.keys))
    return frozenset(key for key, there in zip(batch.keys, found, strict=True) if there)


def _is_there(service: Bucket, item: Item) -> bool:
    try:
        if item.kind is Kind.UPLOAD:
            service.call("list_parts", Bucket=item.bucket, Key=item.key, UploadId=item.id, MaxParts=1)
            return True
        return any(id_ == item.id for id_ in _ids(service, item.bucket, item.key))
    except Absent:
        return False


def _ids(service: Bucket, bucket: str, key: str) -> Iterator[str]:
    """Ids of everything under one key, which comes first among those that begin with it."""
    for page in service.pages("list_object_versions", Bucket=bucket, Prefix=key):
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        yield from (str(one["VersionId"]) for one in entries if str(one["Key"]) == key)
        if any(str(one["Key"]) > key for one in entries):
            return
