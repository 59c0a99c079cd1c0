"""Taking a tenant's namespaces away: each is deleted whole, and then seen to be empty."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.pinecone import ours
from tenant_lifecycle.stores.pinecone.copying import records_of
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import Side, owned

_PAUSE_S = 0.05


def remove(side: Side, feed: Feed, check: Check) -> Mapping[str, int]:
    """Delete every vector of the tenant here, of all families; counts by family of what was there.

    Call it only where the tenant's writes are refused: a vector written meanwhile is deleted or not.

    Raises:
        Fenced: a newer driver was here.
        StoreBusy: a namespace is not seen to be empty within the budget.
    """
    patience = replace(Patience(), check=check)
    ours.guard(side, feed, patience)
    removed: dict[str, int] = {}
    resolved = side.resolve(feed.tenant)
    for family, spaces in owned(side, resolved, patience).items():
        removed[family] = 0
        for one in spaces:
            check()
            removed[family] += _count(side, one.name, patience)
            ours.guard(side, feed, patience)
            side.client.drop_namespace(one.name, patience)
            see_empty(side, one.name, patience)
    # What a copy noted about these namespaces is not true any more.
    ours.forget(side, records_of(feed), patience)
    return removed


def _count(side: Side, namespace: str, patience: Patience) -> int:
    if side.freshness.settle(namespace, patience) is None:
        return 0
    return sum(len(page) for page in side.client.pages(namespace, patience))


def see_empty(side: Side, namespace: str, patience: Patience) -> None:
    """A deleted namespace may be listed for a while."""
    end = time.monotonic() + patience.settle_s
    while _count(side, namespace, patience):
        if time.monotonic() > end:
            raise StoreBusy(f"{side.name}: a namespace that was deleted still shows vectors", store=side.name)
        patience.check()
        time.sleep(_PAUSE_S)
