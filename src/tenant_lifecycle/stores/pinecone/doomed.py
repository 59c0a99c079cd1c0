"""Everything of a tenant in an index: its namespaces with their vectors, and its vectors in namespaces it shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.pinecone import items, keys
from tenant_lifecycle.stores.pinecone.client import batches
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import Side, owned

#: A namespace with no more vectors goes by one request; of a larger one, the rest goes first, by ids.
BATCH = 10_000


def doomed(side: Side, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """Shared namespaces first. What was written before the call is seen, although the service is not consistent."""
    patience = replace(Patience(), check=check)
    for rule in side.shared(tenant):
        for space in list(side.client.namespaces(rule.containers.prefix, patience)):
            if rule.containers.matches(space.name):
                for found in _cut(_members(side, rule, space.name, patience)):
                    yield Batch(
                        rule.name, Method.DELETE, tuple(keys.encode(space.name, one) for one in found)
                    )
    for family, spaces in owned(side, side.resolve(tenant), patience).items():
        for space in spaces:
            ids = [one for page in _pages(side, space.name, patience) for one in page]
            *before, last = [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)] or [[]]
            for some in before:
                yield Batch(family, Method.DELETE, tuple(keys.encode(space.name, one) for one in some))
            vectors = tuple(keys.encode(space.name, one) for one in last)
            yield Batch(family, Method.DROP, (*vectors, items.namespace(space.name)), space.size_bytes)


def _members(side: Side, rule: ResolvedShared, space: str, patience: Patience) -> Iterator[str]:
    for page in _pages(side, space, patience):
        yield from members(side, rule, space, page, patience)


def members(
    side: Side, rule: ResolvedShared, space: str, ids: Sequence[str], patience: Patience
) -> list[str]:
    """Those of the ids that are the tenant's: by the id itself, or by what stands in the metadata now."""
    if not rule.path:
        return [one for one in ids if rule.owns(one)]
    found = []
    for some in batches(list(ids)):
        vectors, _ = side.client.fetch(space, some, patience)
        found += [one for one in some if one in vectors and rule.owns(dict(vectors[one].metadata or {}))]
    return found


def _pages(side: Side, space: str, patience: Patience) -> Iterator[list[str]]:
    if side.freshness.settle(space, patience) is not None:
        yield from side.client.pages(space, patience)


def _cut(found: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for one in found:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
