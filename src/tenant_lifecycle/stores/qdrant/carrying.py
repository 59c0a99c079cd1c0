"""Bringing points over: the copy, collection by collection, the repair of single points, and taking them away."""

from __future__ import annotations

from collections.abc import Mapping

from qdrant_client import models

from tenant_lifecycle.errors import StoreBusy, StoreRejected
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Check, Copied, Feed, Keys, Part
from tenant_lifecycle.stores.qdrant import ours
from tenant_lifecycle.stores.qdrant.client import point_id
from tenant_lifecycle.stores.qdrant.comparing import by_collection, cosine, unequal
from tenant_lifecycle.stores.qdrant.keys import PointId
from tenant_lifecycle.stores.qdrant.points import content
from tenant_lifecycle.stores.qdrant.side import Side


def split(source: Side, target: Side, feed: Feed) -> list[Part]:
    """One part for each collection of the tenant; what is done stands in the target."""
    ours.guard(target, feed)
    return [
        Part(
            place.collection, place.set, source.client.count(place.collection, place.condition),
            ours.done(target, feed, place.collection),
        )
        for place in source.places(feed.tenant, source.client.collections())
        if place.treatment is not Treatment.SKIP
    ]  # fmt: skip


def copy_part(source: Side, target: Side, feed: Feed, part: Part, check: Check) -> Copied:
    """Copy one collection's points of the tenant; an interrupted copy begins anew, which changes nothing.

    Raises:
        Fenced: a newer driver was here.
    """
    if ours.done(target, feed, part.name):
        return Copied(*ours.copied(target, feed, part.name))
    items = size = 0
    present = source.client.collections()
    for place in source.places(feed.tenant, present, part.set):
        if place.collection != part.name:
            continue
        create_collection(source, target, place.collection)
        for records in source.client.pages(place.collection, place.condition, whole=True):
            check()
            ours.guard(target, feed)
            target.client.upsert(place.collection, records)
            items += len(records)
            size += sum(content(record).bytes for record in records)
    ours.mark_done(target, feed, part.name, items, size)
    return Copied(items, size)


def create_collection(source: Side, target: Side, collection: str) -> bool:
    """Create it on the target as it is at the source, if it is not there."""
    here = source.client.describe(collection)
    if here is None or target.client.describe(collection) is not None:
        return False
    target.client.create(collection, here)
    return True


def repair(source: Side, target: Side, feed: Feed, keys: Keys) -> int:
    """Make the target's points equal to the source's, absent included; returns how many changed.

    Raises:
        Fenced: a newer driver was here.
        StoreBusy: what was written cannot be read back: somebody else writes there.
    """
    ours.guard(target, feed)
    changed = 0
    here, there = source.client.collections(), target.client.collections()
    for collection, wanted in by_collection(keys).items():
        ids = list(wanted)
        skipped = {id for id in ids if source.treatment(wanted[id]) is Treatment.SKIP}
        mine = source.read(collection, [id for id in ids if id not in skipped], here)
        mine = {id: one for id, one in mine.items() if source.owns(feed.tenant, collection, one)}
        theirs = target.read(collection, ids, there)
        if any(
            id in mine and id in theirs and not target.owns(feed.tenant, collection, theirs[id]) for id in ids
        ):
            raise StoreRejected(
                f"{target.name}: an id of the tenant's points is another tenant's there", store=target.name,
                next_step="ids must be unique among the tenants that share a collection",
            )  # fmt: skip
        theirs = {id: one for id, one in theirs.items() if target.owns(feed.tenant, collection, one)}
        like = cosine(source, collection) if collection in here else frozenset()
        changes = unequal(ids, mine, theirs, like)
        if changes:
            ours.guard(target, feed)
            _write(source, target, collection, changes, mine)
            again = target.read(collection, changes, target.client.collections())
            if unequal(changes, mine, again, like):
                raise StoreBusy(f"{target.name}: points cannot be read back as written", store=target.name)
        changed += len(changes)
    return changed


def _write(
    source: Side, target: Side, collection: str, changes: list[PointId], mine: Mapping[PointId, models.Record]
) -> None:
    written = [mine[id] for id in changes if id in mine]
    if written:
        create_collection(source, target, collection)
        target.client.upsert(collection, written)
    if doomed := [id for id in changes if id not in mine]:
        target.client.delete(collection, doomed)


def remove(side: Side, feed: Feed, check: Check) -> Mapping[str, int]:
    """Delete the tenant's collections, and its points of a shared one; counts by set.

    Raises:
        Fenced: a newer driver was here.
    """
    removed = dict.fromkeys([*side.key_map.families, *([side.shared] if side.shared else [])], 0)
    for place in list(side.places(feed.tenant, side.client.collections())):
        check()
        ours.guard(side, feed)
        removed[place.set] += side.client.count(place.collection, place.condition)
        if place.condition is None:
            side.client.drop(place.collection)
            continue
        while page := next(side.client.pages(place.collection, place.condition, whole=False), None):
            check()
            ours.guard(side, feed)
            side.client.delete(place.collection, [point_id(record) for record in page])
    ours.forget(side, feed)
    return removed
