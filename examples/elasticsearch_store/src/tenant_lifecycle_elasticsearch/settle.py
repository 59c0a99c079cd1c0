"""Bringing deleted documents out of the segments, and naming what still holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Settled
from tenant_lifecycle_elasticsearch import indices
from tenant_lifecycle_elasticsearch.cluster import Cluster, at
from tenant_lifecycle_elasticsearch.indices import Rules


def settle(cluster: Cluster, rules: Rules, tenant: TenantId, sets: Sequence[str], check: Check) -> Settled:
    """Merge the shared indices that lost documents to one segment each: until then they are only marked as deleted."""
    done, left = [], []
    touched = [index for index, rule in indices.shared_indices(cluster, rules, tenant) if rule.name in sets]
    for index in touched:
        check()
        cluster.post(at(index, "_forcemerge"), max_num_segments=1, flush="true")
        done.append(f"{index}: merged to one segment")
        marked = _marked(cluster, index)
        if marked:
            left.append(f"{index}: {marked} deleted documents wait for another merge")
    return Settled(tuple(done), (*left, *_snapshots(cluster)))


def _marked(cluster: Cluster, index: str) -> int:
    stats = cluster.get(at(index, "_stats", "docs"))
    return int(stats["_all"]["primaries"]["docs"]["deleted"])


def _snapshots(cluster: Cluster) -> Iterator[str]:
    """Snapshots hold what the indices held; they go by deleting them, or by their own retention."""
    try:
        repositories = cluster.ask("GET", "/_snapshot", absent={})
    except StoreRejected:
        yield "snapshots: these credentials may not list them"
        return
    for name in sorted(repositories):
        found = cluster.get(f"/_snapshot/{name}/_all")["snapshots"]
        if found:
            yield f"snapshots: {len(found)} in repository {name}"
