"""Comparing: each side's points are looked up on the other one, page by page; nothing of the copier is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdrant_client import models

from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check, Compared, Difference, DifferenceKind, Keys
from tenant_lifecycle.stores.qdrant import keys as keyform
from tenant_lifecycle.stores.qdrant.client import point_id
from tenant_lifecycle.stores.qdrant.keys import PointId
from tenant_lifecycle.stores.qdrant.points import content
from tenant_lifecycle.stores.qdrant.side import Side

Records = Mapping[PointId, models.Record]
#: A comparison that has found this many suspects ends: nobody repairs so many.
MOST_SUSPECTS = 20_000


def compare(source: Side, target: Side, tenant: TenantId, set_name: str, check: Check) -> Compared:
    """Every collection of the set, on either side."""
    here, there = source.client.collections(), target.client.collections()
    items = leaves = 0
    suspects: set[bytes] = set()
    for place in source.places(tenant, sorted({*here, *there}), set_name):
        collection = place.collection
        like = cosine(source, collection) if collection in here else frozenset()
        for side, other, present in ((source, target, there), (target, source, here)):
            if collection not in side.client.collections() or len(suspects) > MOST_SUSPECTS:
                continue
            for page in side.client.pages(collection, place.condition, whole=side is source):
                check()
                ids = [point_id(record) for record in page]
                found = other.read(collection, ids, present)
                held = {id: one for id, one in found.items() if other.owns(tenant, collection, one)}
                mine = {point_id(record): record for record in page}
                bad = unequal(ids, mine, held, like) if side is source else [i for i in ids if i not in held]
                suspects |= {keyform.encode(collection, id) for id in bad}
                items, leaves = items + (len(ids) if side is source else 0), leaves + 1
    return Compared(items, leaves, {set_name: frozenset(suspects)} if suspects else {})


def compare_keys(source: Side, target: Side, tenant: TenantId, keys: Keys) -> list[Difference]:
    """Both sides read now."""
    differences = []
    here, there = source.client.collections(), target.client.collections()
    moved = {name: some for name, some in keys.items() if source.treatment(name) is Treatment.MOVE}
    for collection, wanted in by_collection(moved).items():
        mine, theirs = (
            {
                id: one
                for id, one in side.read(collection, list(wanted), present).items()
                if side.owns(tenant, collection, one)
            }
            for side, present in ((source, here), (target, there))
        )
        like = cosine(source, collection) if collection in here else frozenset()
        for id in unequal(list(wanted), mine, theirs, like):
            key, text = keyform.encode(collection, id), f"{id} in collection {collection}"
            kind = DifferenceKind.DIFFERENT
            fields: tuple[str, ...] = ()
            if id not in mine:
                kind = DifferenceKind.EXTRA
            elif id not in theirs:
                kind = DifferenceKind.MISSING
            else:
                fields = content(mine[id]).differing(content(theirs[id]), like)
            differences.append(Difference(wanted[id], key, text, kind, fields))
    return differences


def by_collection(keys: Keys) -> dict[str, dict[PointId, str]]:
    """Ids with their sets, by collection."""
    found: dict[str, dict[PointId, str]] = {}
    for name, some in keys.items():
        for key in sorted(some):
            if (place := keyform.decode(key)) is not None:
                found.setdefault(place[0], {})[place[1]] = name
    return found


def unequal(ids: Iterable[PointId], mine: Records, theirs: Records, like: frozenset[str]) -> list[PointId]:
    """Ids whose points are not the same on both sides."""
    return [
        id
        for id in ids
        if (id in mine) is not (id in theirs)
        or (id in mine and content(mine[id]).differing(content(theirs[id]), like))
    ]


def cosine(side: Side, collection: str) -> frozenset[str]:
    """Names of a collection's vectors that are stored as long as 1."""
    described = side.client.describe(collection)
    vectors = described.config.params.vectors if described is not None else None
    named = vectors if isinstance(vectors, dict) else {"": vectors}
    return frozenset(
        name
        for name, params in named.items()
        if params is not None and params.distance is models.Distance.COSINE
    )
