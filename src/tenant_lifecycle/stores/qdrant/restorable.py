"""Why a base cannot be loaded into a Qdrant, found before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, Severity, unanswered
from tenant_lifecycle.stores.qdrant.backup import described
from tenant_lifecycle.stores.qdrant.preflight import probe
from tenant_lifecycle.stores.qdrant.side import Side


def check_restore(side: Side, shapes: Mapping[str, Shape], facts: Mapping[str, Any]) -> list[Finding]:
    """Reachable, collections that exist against those that were backed up, sets without a rule."""
    found = [one for one in probe(side) if one.severity is not Severity.OK]
    try:
        return [*found, *_collections(side, facts), *_sets(side, shapes)]
    except StoreError as exc:
        return found or [unanswered("qdrant.check-failed", exc)]


def _collections(side: Side, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Vectors of another size, or compared in another way, are other vectors."""
    for name, told in sorted(dict(facts.get("collections", {})).items()):
        there = described(side.client.describe(name))
        if there and _vectors(there) != _vectors(told):
            message = f"collection {name!r} was made otherwise than in the base: {_vectors(there)}, not {_vectors(told)}"
            step = "restore into a collection with the vectors of the base"
            yield Finding("qdrant.model-mismatch", Severity.REFUSAL, message, step, side.name)


def _vectors(told: Mapping[str, Any]) -> dict[str, str]:
    """Size and distance of each vector by name."""
    params = told["config"]["params"]
    dense = params.get("vectors") or {}
    named = {"": dense} if "size" in dense else dense
    found = {name: f"{one['size']} {one['distance']}" for name, one in named.items()}
    return found | dict.fromkeys(params.get("sparse_vectors") or {}, "sparse")


def _sets(side: Side, shapes: Mapping[str, Shape]) -> Iterator[Finding]:
    if strange := sorted(set(shapes) - {side.shared, *side.key_map.families}):
        message = f"no family in ownership.yaml for {', '.join(strange)}, which the base has"
        step = "add the families, or restore the others only"
        yield Finding("qdrant.unmapped", Severity.REFUSAL, message, step, side.name)
