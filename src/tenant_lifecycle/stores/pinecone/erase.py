"""Deleting namespaces and vectors that a manifest names, and seeing that they are gone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.erasing import Erased, Erasing, Refused
from tenant_lifecycle.stores.pinecone import items, keys, ours
from tenant_lifecycle.stores.pinecone.client import batches
from tenant_lifecycle.stores.pinecone.doomed import members
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import Side

NOT_THE_TENANTS = "NotTheTenants"
MOST_IDS = 1_000
_PAUSE_S = 0.05


@dataclass(slots=True)
class _Work:
    """One call of `erase`."""

    side: Side
    feed: Feed
    patience: Patience
    check: Check
    deleted: int = 0
    gone: int = 0
    refused: list[Refused] = field(default_factory=list)

    def delete(self, space: str, ids: Sequence[str]) -> None:
        for first in range(0, len(ids), MOST_IDS):
            self.check()
            ours.guard(self.side, self.feed, self.patience)
            self.side.client.delete(space, ids[first : first + MOST_IDS], self.patience)
        self.deleted += len(ids)


def erase(side: Side, erasing: Erasing, batch: Batch, check: Check) -> Erased:
    """Delete exactly these vectors and namespaces; what is counted as deleted was there before the call.

    A vector that is written to a namespace while it is dropped goes with it: the namespace is the tenant's.

    Raises:
        Fenced: a newer driver was here.
        StoreBusy: the service throttles us, or a dropped namespace still shows vectors when the budget is over.
    """
    patience = replace(Patience(), check=check)
    work = _Work(side, Feed(erasing.name, erasing.tenant, erasing.token), patience, check)
    ours.guard(side, work.feed, patience)
    whole, ids = items.grouped(batch.keys)
    resolved = side.resolve(erasing.tenant)
    for space in whole:
        if resolved.family_of(space) is None:
            vectors = ids.pop(space, [])
            work.refused += [
                Refused(one, NOT_THE_TENANTS) for one in (*_keys(space, vectors), items.namespace(space))
            ]
        else:
            _drop(work, space, ids.pop(space, []))
    for space, some in ids.items():
        _vectors(work, batch.set, space, some)
    return Erased(work.deleted, work.gone, tuple(work.refused))


def _drop(work: _Work, space: str, ids: Sequence[str]) -> None:
    if work.side.client.namespace(space, work.patience) is None:
        work.gone += len(ids) + 1
        return
    there = len(_there(work, space, ids))
    work.check()
    ours.guard(work.side, work.feed, work.patience)
    work.side.client.drop_namespace(space, work.patience)
    _see_it_gone(work, space)
    work.deleted += there + 1
    work.gone += len(ids) - there


def _vectors(work: _Work, set_name: str, space: str, ids: Sequence[str]) -> None:
    there = _there(work, space, ids)
    rules = [one for one in work.side.shared(work.feed.tenant) if one.name == set_name]
    if work.side.resolve(work.feed.tenant).family_of(space) is not None:
        mine = there
    elif rules and rules[0].containers.matches(space):
        mine = members(work.side, rules[0], space, there, work.patience)
    else:
        mine = []
    work.gone += len(ids) - len(there)
    strange = set(there) - set(mine)
    work.refused += [Refused(one, NOT_THE_TENANTS) for one in _keys(space, sorted(strange))]
    work.delete(space, mine)


def _there(work: _Work, space: str, ids: Sequence[str]) -> list[str]:
    """Those that are there, everything written before seen."""
    if work.side.freshness.settle(space, work.patience) is None:
        return []
    found: list[str] = []
    for some in batches(list(ids)):
        vectors, _ = work.side.client.fetch(space, some, work.patience)
        found += [one for one in some if one in vectors]
    return found


def _see_it_gone(work: _Work, space: str) -> None:
    """A namespace that was deleted may be listed for a while."""
    end = time.monotonic() + work.patience.settle_s
    while any(True for _ in work.side.client.pages(space, work.patience)):
        if time.monotonic() > end:
            raise StoreBusy(
                f"{work.side.name}: a dropped namespace still shows vectors", store=work.side.name
            )
        work.check()
        time.sleep(_PAUSE_S)


def _keys(space: str, ids: Sequence[str]) -> list[bytes]:
    return [keys.encode(space, one) for one in ids]
