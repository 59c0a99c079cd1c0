"""The manifest: the tenant's own indices whole, and its documents in shared ones by id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle_elasticsearch import indices
from tenant_lifecycle_elasticsearch.cluster import Cluster, at
from tenant_lifecycle_elasticsearch.indices import Rules

PAGE = 500


def doomed(cluster: Cluster, rules: Rules, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """Documents of shared indices first; each index as it is after a refresh, so that the last writes are seen."""
    for index, rule in indices.shared_indices(cluster, rules, tenant):
        cluster.post(at(index, "_refresh"))
        query = indices.owned_by(cluster, index, rule)
        for ids in _pages(cluster, index, query, check):
            yield Batch(rule.name, Method.DELETE, tuple(key_of(index, one) for one in ids))
    for index in indices.names(cluster):
        family = rules.family_of(tenant, index)
        if family is not None:
            check()
            yield Batch(family, Method.DROP, (index.encode(),))


def _pages(cluster: Cluster, index: str, query: dict[str, object], check: Check) -> Iterator[list[str]]:
    """Ids, in pages of a scroll: one snapshot of the index."""
    asked = {"query": query, "_source": False, "sort": ["_doc"], "size": PAGE}
    answer: Any = cluster.post(at(index, "_search"), asked, scroll="2m")
    try:
        while ids := [hit["_id"] for hit in answer["hits"]["hits"]]:
            check()
            yield ids
            answer = cluster.post("/_search/scroll", {"scroll": "2m", "scroll_id": answer["_scroll_id"]})
    finally:
        cluster.ask("DELETE", "/_search/scroll", body={"scroll_id": answer["_scroll_id"]})


def key_of(index: str, document: str) -> bytes:
    """A document in the manifest: its index, a NUL, its id."""
    return f"{index}\0{document}".encode()


def parts_of(key: bytes) -> tuple[str, str]:
    index, _, document = key.decode().partition("\0")
    return index, document
