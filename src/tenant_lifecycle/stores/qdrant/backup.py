"""A base of one tenant's points, and what touched ones are now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qdrant_client import models

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import BaseReading
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import KeyedReading, kept_sets, left_out, shapes_of
from tenant_lifecycle.stores.qdrant import keys as keyform
from tenant_lifecycle.stores.qdrant.client import point_id
from tenant_lifecycle.stores.qdrant.keys import PointId
from tenant_lifecycle.stores.qdrant.preflight import unmapped
from tenant_lifecycle.stores.qdrant.side import Place, Side
from tenant_lifecycle.stores.qdrant.values import value_of

Clock = Callable[[], int]


@contextmanager
def read_base(side: Side, tenant: TenantId, clock: Clock, check: Check) -> Iterator[BaseReading]:
    """Every point of the sets that cannot be made again.

    Facts: how each of the tenant's collections was made, and what is left out.

    Raises:
        UnmappedData: a collection has no rule.
    """
    begun = clock()
    if strangers := unmapped(side):
        raise UnmappedData(
            f"{side.name}: no rule in ownership.yaml for {len(strangers)} collection(s)",
            next_step="add families or a global template for them",
        )
    present = side.client.collections()
    made = {
        place.collection: described(side.client.describe(place.collection))
        for place in side.places(tenant, present)
        if place.treatment is Treatment.MOVE
    }
    facts: dict[str, Any] = {"collections": made, "left_out": left_out(side.key_map)}

    def items(set_name: str) -> Iterator[Item]:
        for place in side.places(tenant, present, set_name):
            yield from _items(side, place, clock, check)

    yield KeyedReading(begun, shapes_of(sets(side)), facts, items)


def sets(side: Side) -> list[str]:
    """Sets that a backup has: the shared collection, and families that cannot be made again."""
    return [*([side.shared] if side.shared else []), *kept_sets(side.key_map)]


def described(info: models.CollectionInfo | None) -> dict[str, Any]:
    """How a collection was made, as JSON; `made_like` reads it."""
    return info.model_dump(mode="json") if info is not None else {}


def made_like(told: dict[str, Any]) -> models.CollectionInfo | None:
    return models.CollectionInfo.model_validate(told) if told else None


def _items(side: Side, place: Place, clock: Clock, check: Check) -> Iterator[Item]:
    pages = side.client.pages(place.collection, place.condition, whole=True)
    while True:
        check()
        now = clock()
        page = next(pages, None)
        if page is None:
            return
        for record in page:
            yield item_of(place.set, place.collection, record, now)


def item_of(set_name: str, collection: str, record: models.Record, at_us: int = 0) -> Item:
    return Item(set_name, keyform.encode(collection, point_id(record)), (value_of(record).cell(),), at_us)


def capture(side: Side, tenant: TenantId, keys: Sequence[bytes], clock: Clock) -> list[Item | None]:
    """Each key's point now; what is not the tenant's, or can be made again, has none."""
    places = {key: place for key in keys if (place := keyform.decode(key)) is not None}
    named = {one: side.set_of(tenant, one) for one in {collection for collection, _ in places.values()}}
    wanted: dict[str, list[PointId]] = {}
    for collection, id_ in places.values():
        name = named[collection]
        if name is not None and side.treatment(name) is Treatment.MOVE:
            wanted.setdefault(collection, []).append(id_)
    now, present = clock(), side.client.collections()
    found: dict[tuple[str, PointId], Item] = {}
    for collection, ids in wanted.items():
        for id_, record in side.read(collection, ids, present).items():
            if side.owns(tenant, collection, record):
                found[collection, id_] = item_of(named[collection] or "", collection, record, now)
    return [found.get(places[key]) if key in places else None for key in keys]
