"""Deleting collections and points that a manifest names, if they still are the tenant's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.erasing import Erased, Erasing, Refused
from tenant_lifecycle.stores.qdrant import items, keys, ours
from tenant_lifecycle.stores.qdrant.keys import PointId
from tenant_lifecycle.stores.qdrant.side import Side

NOT_THE_TENANTS = "NotTheTenants"
MOST_IDS = 500


@dataclass(slots=True)
class _Work:
    """One call of `erase`."""

    side: Side
    feed: Feed
    present: list[str]
    check: Check
    deleted: int = 0
    gone: int = 0
    refused: list[Refused] = field(default_factory=list)

    def may_go_on(self) -> None:
        """Before every request that destroys."""
        self.check()
        ours.guard(self.side, self.feed)

    def refuse(self, *found: bytes) -> None:
        self.refused += [Refused(one, NOT_THE_TENANTS) for one in found]


def erase(side: Side, erasing: Erasing, batch: Batch, check: Check) -> Erased:
    """Delete exactly these points and collections.

    Raises:
        Fenced: a newer driver was here.
        StoreError: the service refused or did not answer.
    """
    work = _Work(side, Feed(erasing.name, erasing.tenant, erasing.token), side.client.collections(), check)
    ours.guard(side, work.feed)
    whole, ids = items.grouped(batch.keys)
    for collection in whole:
        _drop(work, collection, ids.pop(collection, []))
    for collection, some in ids.items():
        for first in range(0, len(some), MOST_IDS):
            _points(work, collection, some[first : first + MOST_IDS])
    return Erased(work.deleted, work.gone, tuple(work.refused))


def _drop(work: _Work, collection: str, ids: Sequence[PointId]) -> None:
    tenant = work.feed.tenant
    if collection not in work.present:
        work.gone += len(ids) + 1
        return
    if collection == work.side.shared or work.side.set_of(tenant, collection) is None:
        work.refuse(*_keys(collection, ids), items.collection(collection))
        return
    there = sum(
        len(work.side.read(collection, list(ids[first : first + MOST_IDS]), work.present))
        for first in range(0, len(ids), MOST_IDS)
    )
    work.may_go_on()
    work.side.client.drop(collection)
    work.deleted += there + 1
    work.gone += len(ids) - there


def _points(work: _Work, collection: str, ids: Sequence[PointId]) -> None:
    there = work.side.read(collection, list(ids), work.present)
    owned = work.side.set_of(work.feed.tenant, collection) is not None
    mine = [one for one in there if owned and work.side.owns(work.feed.tenant, collection, there[one])]
    work.refuse(*_keys(collection, [one for one in there if one not in mine]))
    work.gone += len(ids) - len(there)
    if mine:
        work.may_go_on()
        work.side.client.delete(collection, mine)
        work.deleted += len(mine)


def _keys(collection: str, ids: Sequence[PointId]) -> list[bytes]:
    return [keys.encode(collection, one) for one in ids]
