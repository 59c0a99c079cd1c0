"""Deletion: an index as a whole, documents by query, again and again until the server finds none.

``_delete_by_query`` works on a snapshot: a document that somebody writes meanwhile is a *version conflict* and stays.
With ``conflicts=proceed`` it is counted and left; so the query is repeated until it finds nothing.
"""

from __future__ import annotations

from typing import Any

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erased, Refused
from tenant_lifecycle_elasticsearch import indices
from tenant_lifecycle_elasticsearch.cluster import Cluster, at
from tenant_lifecycle_elasticsearch.doomed import key_of, parts_of
from tenant_lifecycle_elasticsearch.indices import Rules

#: Runs of one query before somebody's writes are said to be in the way.
RUNS = 20


def erase(cluster: Cluster, rules: Rules, tenant: TenantId, batch: Batch, check: Check) -> Erased:
    """Exactly these items, as far as they still are the tenant's.

    Raises:
        StoreBusy: documents are written faster than they can be deleted.
    """
    if batch.method is Method.DROP:
        return _drop(cluster, rules, tenant, batch, check)
    by_index: dict[str, list[str]] = {}
    for key in batch.keys:
        index, document = parts_of(key)
        by_index.setdefault(index, []).append(document)
    deleted, refused = 0, list[Refused]()
    for index, ids in by_index.items():
        some, failed = _delete(cluster, rules, tenant, index, ids, check)
        deleted += some
        refused += failed
    return Erased(deleted, len(batch.keys) - deleted - len(refused), tuple(refused))


def _drop(cluster: Cluster, rules: Rules, tenant: TenantId, batch: Batch, check: Check) -> Erased:
    mine = [
        name for name in (key.decode() for key in batch.keys) if rules.family_of(tenant, name) == batch.set
    ]
    dropped = 0
    for name in mine:
        check()
        dropped += cluster.ask("DELETE", at(name), absent=False) is not False
    return Erased(dropped, len(mine) - dropped)


def _delete(
    cluster: Cluster, rules: Rules, tenant: TenantId, index: str, ids: list[str], check: Check
) -> tuple[int, list[Refused]]:
    rule = next((rule for rule in rules.shared(tenant) if rule.containers.matches(index)), None)
    if rule is None or not cluster.exists(index):
        return 0, []
    query = {"bool": {"filter": [{"ids": {"values": ids}}, indices.owned_by(cluster, index, rule)]}}
    deleted = 0
    for _ in range(RUNS):
        check()
        done: Any = cluster.post(
            at(index, "_delete_by_query"), {"query": query}, conflicts="proceed", refresh="true"
        )
        deleted += done["deleted"]
        if done["failures"]:
            return deleted, [_refused(index, failure) for failure in done["failures"]]
        if done["total"] == 0 or done["deleted"] == done["total"]:
            return deleted, []
    raise StoreBusy(
        f"{cluster.name}: {done['version_conflicts']} documents are written faster than they are deleted", store=cluster.name,
        next_step="stop the application's writes of the tenant",
    )  # fmt: skip


def _refused(index: str, failure: Any) -> Refused:
    return Refused(key_of(index, failure["id"]), str(failure["cause"]["type"]))
