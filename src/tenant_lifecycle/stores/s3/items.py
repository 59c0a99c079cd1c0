"""The form of an item in a manifest: one version, one delete marker, or one unfinished upload of one bucket."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an item is; markers are deleted and looked for like versions."""

    VERSION = "version"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is deleted by itself."""

    kind: Kind
    bucket: str
    key: str
    #: Of the version or marker (``null`` where none is kept), or of the upload.
    id: str

    def encode(self) -> bytes:
        return json.dumps([self.kind, self.bucket, self.key, self.id]).encode()


def decode(items: Iterable[bytes]) -> list[Item]:
    """Items of a manifest, in order.

    Raises:
        ValueError: one is none of this store.
    """
    found = []
    for item in items:
        kind, bucket, key, id_ = json.loads(item)
        found.append(Item(Kind(kind), bucket, key, id_))
    return found
