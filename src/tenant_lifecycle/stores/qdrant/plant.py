"""Planting a marker as a tenant's own data: one point, in the shared collection or in a collection of the tenant's."""

from __future__ import annotations

import uuid
from typing import Any

from qdrant_client import models

from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.erasing import Erasing, Planted
from tenant_lifecycle.stores.qdrant import ours
from tenant_lifecycle.stores.qdrant.side import Side

_SPACE = uuid.UUID("3c1d6f6a-4a5e-4b0e-8f5b-1f2f5d8f0b11")


def plant(side: Side, erasing: Erasing, marker: str) -> list[Planted]:
    """Write a point with the marker in its payload; where the tenant has no collection yet, a small one is made.

    Raises:
        Fenced: a newer driver was here.
    """
    ours.guard(side, Feed(erasing.name, erasing.tenant, erasing.token))
    collection, payload = (
        side.shared,
        {"canary": marker, **({side.tenant_field: erasing.tenant} if side.shared else {})},
    )
    if not collection:
        families = side.key_map.resolve(erasing.tenant, side.ids(erasing.tenant)).families.values()
        collection = next((one for family in families for one in sorted(family.exact)), "")
    if not collection:
        return []
    info = side.client.describe(collection)
    if info is None:
        side.client.create_plain(collection)
        info = side.client.describe(collection)
    id_ = str(uuid.uuid5(_SPACE, f"{collection}:{erasing.tenant}"))
    vector = _vector(info.config.params.vectors if info is not None else None)
    side.client.upsert(collection, [models.Record(id=id_, vector=vector, payload=payload)])
    return [Planted(collection, 1)]


def _vector(params: Any) -> Any:
    """Something that the collection takes."""
    if isinstance(params, dict):
        return {name: [1.0, *[0.0] * (one.size - 1)] for name, one in params.items()}
    return [1.0, *[0.0] * (params.size - 1)] if params is not None else {}
