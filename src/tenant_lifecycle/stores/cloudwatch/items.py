"""The form of an item in a manifest: a whole group, a whole stream, or one line of a stream that tenants share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an item is."""

    GROUP = "group"
    STREAM = "stream"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Item:
    """Something that goes by itself. Two lines with the same time and text are one item."""

    kind: Kind
    group: str
    #: For a line the name of the original, whatever it has been rewritten to.
    stream: str = ""
    #: Milliseconds since 1970.
    timestamp: int = 0
    #: SHA-256 of a line's text, hex.
    digest: str = ""

    def encode(self) -> bytes:
        return json.dumps([self.kind, self.group, self.stream, self.timestamp, self.digest]).encode()


def line(group: str, stream: str, timestamp: int, message: str) -> Item:
    """The item of a line."""
    digest = hashlib.sha256(message.encode("utf-8", "surrogatepass")).hexdigest()
    return Item(Kind.LINE, group, stream, timestamp, digest)


def decode(items: Iterable[bytes]) -> list[Item]:
    """Items of a manifest, in order.

    Raises:
        ValueError: one is none of this store.
    """
    found = []
    for item in items:
        kind, group, stream, timestamp, digest = json.loads(item)
        found.append(Item(Kind(kind), group, stream, timestamp, digest))
    return found
