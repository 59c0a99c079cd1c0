"""Every reason not to move a tenant from one Qdrant to another, and making the target ready."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_client import models

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.model.findings import Finding, Severity, refusals, unanswered
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.qdrant.carrying import create_collection
from tenant_lifecycle.stores.qdrant.side import Side, is_ours


def _finding(side: Side, severity: Severity, code: str, message: str, step: str = "") -> Finding:
    return Finding(f"qdrant.{code}", severity, message, step, side.name)


def probe(side: Side) -> list[Finding]:
    """Whether it answers, and has the collection that is shared; never raises for what it finds."""
    try:
        present = side.client.collections()
    except StoreError as exc:
        return [unanswered("qdrant.reachable", exc, "check url and api_key")]
    found = [_finding(side, Severity.OK, "reachable", f"answers; {len(present)} collections")]
    if side.shared and side.shared not in present:
        message = f"the shared collection {side.shared!r} is not there"
        found.append(_finding(side, Severity.WARNING, "collection-missing", message, "it will be created"))
    return found


def unmapped(side: Side) -> list[str]:
    """Collections that no rule mentions."""
    others = (one for one in side.client.collections() if one != side.shared and not is_ours(one))
    return [one for one in others if not side.key_map.mentions(one)]


def preflight(source: Side, target: Side, tenant: TenantId) -> list[Finding]:
    """All findings; changes nothing."""
    found = [*probe(source), *probe(target)]
    if refusals(found):
        return found
    if strangers := unmapped(source):
        message = f"no rule for {len(strangers)} collection(s): {', '.join(strangers[:3])}"
        step = "add a family or a global template to ownership.yaml"
        found.append(_finding(source, Severity.REFUSAL, "unmapped", message, step))
    here, there = source.client.collections(), target.client.collections()
    held = [
        place.collection
        for place in source.places(tenant, there)
        if target.client.count(place.collection, place.condition)
    ]
    if held:
        message = f"{len(held)} collection(s) have points of the tenant: {', '.join(held[:3])}"
        step = "remove them, or find out who wrote them"
        found.append(_finding(target, Severity.REFUSAL, "target-occupied", message, step))
    for place in source.places(tenant, here):
        if place.treatment is not Treatment.SKIP:
            found += _mismatch(source, target, place.collection)
    return found


def _mismatch(source: Side, target: Side, collection: str) -> Iterator[Finding]:
    here, there = source.client.describe(collection), target.client.describe(collection)
    if here is None or there is None:
        return
    if _shape(here) != _shape(there):
        message = f"collection {collection} has other vectors than at {source.name}"
        yield _finding(
            target, Severity.REFUSAL, "collection-mismatch", message, "create it like the source's"
        )
    lacking = sorted(here.payload_schema.keys() - there.payload_schema.keys())
    if lacking:
        message = f"collection {collection} lacks payload indexes: {', '.join(lacking)}"
        yield _finding(target, Severity.REFUSAL, "payload-index", message, "create them like the source's")


def _shape(info: models.CollectionInfo) -> tuple[object, ...]:
    """What makes a vector mean the same: names, sizes, distances, kinds."""
    params = info.config.params
    dense = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors}
    sparse = params.sparse_vectors or {}
    return (
        {
            name: (one.size, one.distance, one.datatype, str(one.multivector_config))
            for name, one in dense.items()
            if one is not None
        },
        {name: one.modifier for name, one in sparse.items()},
    )


def create_missing(source: Side, target: Side, tenant: TenantId) -> list[str]:
    """The tenant's collections, with vectors and payload indexes as at the source.

    Raises:
        StoreRejected: one is there and is another kind.
    """
    created = 0
    for place in source.places(tenant, source.client.collections()):
        if place.treatment is Treatment.SKIP:
            continue
        for wrong in _mismatch(source, target, place.collection):
            raise StoreRejected(
                f"{target.name}: {wrong.message}", store=target.name, next_step=wrong.next_step
            )
        created += create_collection(source, target, place.collection)
    return [f"{created} collection(s) like those of {source.name}"] if created else []
