"""The form of an item in a manifest: a point (`keys.encode`), or a whole collection, which is its name alone."""

from __future__ import annotations

from collections.abc import Iterable

from tenant_lifecycle.stores.qdrant import keys
from tenant_lifecycle.stores.qdrant.keys import PointId


def collection(name: str) -> bytes:
    """The item for a collection that goes as a whole; no point's key reads like it, for those have a NUL."""
    return name.encode()


def grouped(items: Iterable[bytes]) -> tuple[list[str], dict[str, list[PointId]]]:
    """Whole collections, and ids by collection; both in order."""
    whole: list[str] = []
    ids: dict[str, list[PointId]] = {}
    for item in items:
        place = keys.decode(item)
        if place is None:
            whole.append(item.decode())
        else:
            ids.setdefault(place[0], []).append(place[1])
    return whole, ids
