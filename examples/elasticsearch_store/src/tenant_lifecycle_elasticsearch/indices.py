"""Which indices and documents are a tenant's, by the rules of ``ownership.yaml``.

``families`` name indices that are the tenant's alone (``docs-{tenant}``); ``shared`` names indices that hold documents of
many, and the field with their owner (``path: tenant_id``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle_elasticsearch.cluster import Cluster, at


@dataclass(frozen=True, slots=True)
class Rules:
    """The store's part of the ownership map."""

    keys: KeyMap
    ids: IdSource

    def family_of(self, tenant: TenantId, index: str) -> str | None:
        return self.keys.resolve(tenant, self.ids(tenant)).family_of(index)

    def shared(self, tenant: TenantId) -> list[ResolvedShared]:
        return self.keys.resolve_shared(tenant, self.ids(tenant))


def names(cluster: Cluster) -> list[str]:
    """Every index, also hidden, closed and system ones, and the backing ones of data streams."""
    rows = cluster.get("/_cat/indices", format="json", expand_wildcards="all", h="index")
    return sorted(row["index"] for row in rows)


def owned_by(cluster: Cluster, index: str, rule: ResolvedShared) -> dict[str, object]:
    """The query for the tenant's documents in a shared index: exact, on the field as the index knows it.

    Raises:
        StoreRejected: the owner's field is not one that can be asked for exactly.
    """
    field = exact_field(cluster, index, rule.path)
    if any(owner.open for owner in rule.owners):
        raise StoreRejected(
            f"{cluster.name}: an owner with a * cannot be asked for", store=cluster.name,
            next_step="ownership.yaml: owner: {tenant}",
        )  # fmt: skip
    return {"terms": {field: [owner.prefix for owner in rule.owners]}}


def exact_field(cluster: Cluster, index: str, path: tuple[str, ...]) -> str:
    """``tenant_id``, or ``tenant_id.keyword`` where the field itself is a text cut into words."""
    mapping = cluster.get(at(index, "_mapping"))
    found = next(iter(mapping.values()))["mappings"]
    for step in path:
        found = found.get("properties", {}).get(step, {})
    if found.get("type") == "keyword":
        return ".".join(path)
    if found.get("fields", {}).get("keyword", {}).get("type") == "keyword":
        return ".".join((*path, "keyword"))
    raise StoreRejected(
        f"{cluster.name}: the owner's field {'.'.join(path)} is no keyword in a shared index", store=cluster.name,
        next_step="map it as a keyword, or give each tenant an index",
    )  # fmt: skip


def shared_indices(cluster: Cluster, rules: Rules, tenant: TenantId) -> Iterator[tuple[str, ResolvedShared]]:
    every = names(cluster)
    for rule in rules.shared(tenant):
        yield from ((index, rule) for index in every if rule.containers.matches(index))
