"""The form of an item in a manifest: a vector (`keys.encode`), or a whole namespace, which is its name alone."""

from __future__ import annotations

from collections.abc import Iterable

from tenant_lifecycle.stores.pinecone import keys


def namespace(name: str) -> bytes:
    """The item for a namespace that goes as a whole; no vector's key reads like it, for those have a NUL."""
    return name.encode()


def grouped(items: Iterable[bytes]) -> tuple[list[str], dict[str, list[str]]]:
    """Whole namespaces, and ids by namespace; both in order."""
    whole: list[str] = []
    ids: dict[str, list[str]] = {}
    for item in items:
        place = keys.decode(item)
        if place is None:
            whole.append(item.decode())
        else:
            ids.setdefault(place[0], []).append(place[1])
    return whole, ids
