"""Everything of a tenant in a Qdrant: its points in the collection that tenants share, and its own collections."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.qdrant import items, keys
from tenant_lifecycle.stores.qdrant.client import point_id
from tenant_lifecycle.stores.qdrant.side import Place, Side

#: A collection with no more points goes by one request; of a larger one, the rest goes first, by ids.
BATCH = 10_000


def doomed(side: Side, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """Batches of at most `BATCH` points; a collection of the tenant's alone ends with its name."""
    for place in list(side.places(tenant, side.client.collections())):
        found: list[bytes] = []
        for key in _keys(side, place, check):
            if len(found) == BATCH:
                yield Batch(place.set, Method.DELETE, tuple(found))
                found = []
            found.append(key)
        if place.condition is None:
            yield Batch(place.set, Method.DROP, (*found, items.collection(place.collection)))
        elif found:
            yield Batch(place.set, Method.DELETE, tuple(found))


def _keys(side: Side, place: Place, check: Check) -> Iterator[bytes]:
    for page in side.client.pages(place.collection, place.condition, whole=False):
        check()
        yield from (keys.encode(place.collection, point_id(record)) for record in page)
