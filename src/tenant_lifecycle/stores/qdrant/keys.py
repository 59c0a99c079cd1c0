"""A key of this store: the collection, a NUL, the point's id as text, as UTF-8. Ids are numbers or UUIDs."""

from __future__ import annotations

import uuid

PointId = int | str


def encode(collection: str, point_id: PointId) -> bytes:
    """The key of a point."""
    return f"{collection}\0{point_id}".encode()


def decode(key: bytes) -> tuple[str, PointId] | None:
    """Collection and id; None: no key of this store."""
    try:
        collection, nul, text = key.decode().partition("\0")
        if not nul or not collection:
            return None
        return collection, int(text) if text.isdecimal() else str(uuid.UUID(text))
    except ValueError:
        return None
