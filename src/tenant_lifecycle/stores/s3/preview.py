"""A restored tenant beside the live one: objects in the folder of ours about the tenant, which no rule takes for data.

An object lies under the set's folder by its own key; a key that is too long for that lies under its SHA-256, with
a small object beside it that holds the key. Parts of big objects are put together inside the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tenant_lifecycle.errors import IntegrityError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import Held, is_part
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import About, checked_name, machine_us, refuse_another_tenants, short
from tenant_lifecycle.stores.s3.bucket import Bucket, tagging
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.listing import stacks, uploads
from tenant_lifecycle.stores.s3.owned import OURS, Area, own_place
from tenant_lifecycle.stores.s3.reading import Wanted, read
from tenant_lifecycle.stores.s3.remove import batches, delete
from tenant_lifecycle.stores.s3.stack import Version
from tenant_lifecycle.stores.s3.threads import THREADS, each

#: The service's limit for a key, bytes.
LONGEST_KEY = 1_024
#: Objects of a preview that are looked at together.
PAGE = 64
_FOLDER = "preview/"


@dataclass(frozen=True)
class Folder:
    """Where one preview lies."""

    area: Area
    tenant: TenantId
    name: str

    @property
    def bucket(self) -> Bucket:
        return self.area.bucket

    @property
    def base(self) -> str:
        return f"{own_place(self.tenant)}{_FOLDER}{self.name}/"

    @property
    def about(self) -> str:
        return self.base + "about"

    def of(self, set_name: str, kind: str = "") -> str:
        """The set's folder: of its objects, of ``parts``, of ``long`` ones, or of the ``keys`` of those."""
        return f"{self.base}{short(set_name)}/{kind or 'live'}/"

    def place(self, set_name: str, key: str) -> str:
        place = self.of(set_name) + key
        return place if len(place.encode()) <= LONGEST_KEY else self.of(set_name, "long") + _sha(key.encode())

    def noted(self) -> About | None:
        try:
            return About.read(self.bucket.small(self.about)[0])
        except Absent:
            return None

    def note(self, about: About) -> None:
        self.bucket.call("put_object", Key=self.about, Body=about.written().encode())


@dataclass(frozen=True, slots=True)
class Lying:
    """An object of a preview."""

    key: str
    place: str
    version: Version


def open_folder(area: Area, tenant: TenantId, name: str, shapes: Mapping[str, Shape]) -> Folder:
    """Note the preview, and the ids that say whose the live objects are.

    Raises:
        UsageError: the name is none.
        WrongState: it is another tenant's.
    """
    folder = Folder(area, tenant, checked_name(name))
    about = folder.noted()
    if about is None:
        owners = [place for place, known in _all(area.bucket) if known == name]
        refuse_another_tenants(area.bucket.store, name, owners, own_place(tenant))
    folder.note((about or About(tenant, tuple(shapes))).seeing(area.ids(tenant)))
    return folder


def load(folder: Folder, set_name: str, items: Iterable[Item], check: Check) -> int:
    """Replace the set's objects; small ones are written several at a time.

    Raises:
        IntegrityError: an item is none of a backup of S3, or lacks a part.
    """
    _clear(folder, f"{folder.base}{short(set_name)}/", check)
    count = 0
    waiting: list[Item] = []
    for item in items:
        check()
        if is_part(item.key):
            _put(folder.bucket, _part(folder, set_name, item.key[-32:]), item.cells[0] or b"", {})
            continue
        count += 1
        waiting.append(item)
        if len(waiting) == THREADS:
            each(lambda one: _store(folder, set_name, one), waiting)
            waiting = []
    each(lambda one: _store(folder, set_name, one), waiting)
    _clear(folder, folder.of(set_name, "parts"), check)
    return count


def _store(folder: Folder, set_name: str, item: Item) -> None:
    try:
        held = Held.read(item.cells[0] if item.cells and item.cells[0] is not None else b"")
        given, key = _attributes(ObjectHeader.read(held.header)), item.key.decode()
    except ValueError as exc:
        raise _damaged(folder, set_name, "none of a backup of S3") from exc
    place = folder.place(set_name, key)
    if not place.startswith(folder.of(set_name)):
        _put(folder.bucket, folder.of(set_name, "keys") + _sha(item.key), item.key, {})
    if held.content is not None:
        _put(folder.bucket, place, held.content, given)
    else:
        _put_together(folder, set_name, place, held, given)


def _put(bucket: Bucket, key: str, content: bytes, given: Mapping[str, object]) -> None:
    bucket.call("put_object", Key=key, Body=content, **given)


def _put_together(folder: Folder, set_name: str, place: str, held: Held, given: Mapping[str, object]) -> None:
    """Have the service make one object of the parts that lie there."""
    bucket = folder.bucket
    id_ = str(bucket.call("create_multipart_upload", Key=place, **given)["UploadId"])
    done = []
    try:
        for number, digest in enumerate(held.parts, 1):
            source = {"Bucket": bucket.name, "Key": _part(folder, set_name, digest)}
            answer = bucket.call(
                "upload_part_copy", Key=place, UploadId=id_, PartNumber=number, CopySource=source
            )
            done.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        bucket.call("complete_multipart_upload", Key=place, UploadId=id_, MultipartUpload={"Parts": done})
    except Absent as exc:
        bucket.call("abort_multipart_upload", Key=place, UploadId=id_)
        raise _damaged(folder, set_name, "big, and a part is missing") from exc


def _part(folder: Folder, set_name: str, digest: bytes) -> str:
    return folder.of(set_name, "parts") + digest.hex()


def _attributes(header: ObjectHeader) -> dict[str, object]:
    """The parameters that give an object what hangs on it."""
    given: dict[str, object] = {**dict(header.headers), "Metadata": dict(header.metadata)}
    if header.expires:
        given["Expires"] = header.expires
    if header.tags:
        given["Tagging"] = tagging(header.tags)
    return given


def _damaged(folder: Folder, set_name: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{folder.bucket.store}: an item of set {set_name} is {why}",
        next_step="check the repository: tenantctl backup check",
    )


def lying(folder: Folder, set_name: str) -> Iterator[list[Lying]]:
    """Pages of the set's objects in the preview, each once."""
    page: list[Lying] = []
    for kind in ("", "long"):
        start = folder.of(set_name, kind)
        for found in stacks(folder.bucket, start, history=False):
            rest = found.key.removeprefix(start)
            page.append(
                Lying(rest if not kind else _long(folder, set_name, rest), found.key, found.versions[-1])
            )
            if len(page) == PAGE:
                yield page
                page = []
    if page:
        yield page


def _long(folder: Folder, set_name: str, digest: str) -> str:
    return folder.bucket.small(folder.of(set_name, "keys") + digest)[0].decode()


def fingerprints(folder: Folder, sets: Iterable[str], key: bytes) -> dict[str, Fingerprint]:
    """Of every set, read back."""
    return {name: fingerprint(key, read_back(folder, name)) for name in sets}


def read_back(folder: Folder, set_name: str) -> Iterator[Item]:
    """What lies in a set."""
    for page in lying(folder, set_name):
        wanted = [Wanted(set_name, one.key.encode(), one.place, one.version.size) for one in page]
        yield from read(folder.bucket, wanted, machine_us)


def discard(folder: Folder) -> None:
    """Everything of the preview, older versions included; its note goes last, so that one that was killed is seen."""
    _clear(folder, folder.base, _go_on)
    for batch in batches(folder.bucket, folder.about, lambda key: key == folder.about):
        delete(folder.bucket, batch)


def _clear(folder: Folder, place: str, check: Check) -> None:
    for key, id_ in uploads(folder.bucket, place):
        folder.bucket.call("abort_multipart_upload", Key=key, UploadId=id_)
    for batch in batches(folder.bucket, place, lambda key: key != folder.about):
        check()
        delete(folder.bucket, batch)


def names(bucket: Bucket) -> list[str]:
    """Of the previews that are here, whoever's."""
    return sorted(name for _, name in _all(bucket))


def _all(bucket: Bucket) -> list[tuple[str, str]]:
    """Folders of tenants with names of previews."""
    return [
        (place, one.rstrip("/").rpartition("/")[2])
        for place in _folders(bucket, OURS)
        for one in _folders(bucket, place + _FOLDER)
    ]


def _folders(bucket: Bucket, place: str) -> list[str]:
    pages = bucket.pages("list_objects_v2", Prefix=place, Delimiter="/")
    return [str(one["Prefix"]) for page in pages for one in page.get("CommonPrefixes", ())]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _go_on() -> None:
    """Nobody asks to stop."""
