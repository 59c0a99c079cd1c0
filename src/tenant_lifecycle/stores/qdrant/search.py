"""A Qdrant with the verifier's eyes: every collection, every point, all of its payload.

Numbers of vectors cannot be searched for a text; points are found by what their payload says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Batch, Found, Looked, Place
from tenant_lifecycle.stores.qdrant import items, keys
from tenant_lifecycle.stores.qdrant.client import point_id
from tenant_lifecycle.stores.qdrant.side import Side, is_ours
from tenant_lifecycle.stores.tally import Tally


def places(side: Side) -> list[Place]:
    """Every collection that can be listed."""
    return [
        Place(
            one,
            one == side.shared or is_ours(one) or side.key_map.mentions(one),
            side.client.count(one, None),
        )
        for one in side.client.collections()
    ]


def search(side: Side, place: Place, found: Found, check: Check) -> Looked:
    """Go through one collection; what may not be read makes the result say so."""
    tally = Tally(place.name, found)
    rule = f"families: {{found: {{template: '{place.name}'}}}}, with {{tenant}} where its id stands"
    proposal = "" if place.declared else rule
    tally.look(place.name, place.name.encode(), proposal)
    try:
        for page in side.client.pages(place.name, None, whole=True):
            check()
            for record in page:
                tally.count()
                where = str(point_id(record))
                tally.look(where, where.encode(), proposal)
                for text in _texts(record.payload or {}):
                    tally.look(where, text.encode("utf-8", "surrogatepass"), proposal)
    except StoreRejected as exc:
        if place.name in side.client.collections():
            tally.could_not_read(str(exc))
    return tally.looked()


def _texts(value: object) -> Iterator[str]:
    """Every name and value of a payload, at whatever depth."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    else:
        yield str(value)


def remaining(side: Side, batch: Batch, check: Check) -> frozenset[bytes]:
    """Points that can still be read, and collections that are still listed."""
    whole, ids = items.grouped(batch.keys)
    present = side.client.collections()
    left = {items.collection(one) for one in whole if one in present}
    for collection, some in ids.items():
        for first in range(0, len(some), 500):
            check()
            there = side.read(collection, some[first : first + 500], present)
            left |= {keys.encode(collection, one) for one in there}
    return frozenset(left)
