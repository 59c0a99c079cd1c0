"""Planting a marker as a tenant's own data: one vector in a namespace of the first family that has a name for it."""

from __future__ import annotations

from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.erasing import CANARY_NAME, Erasing, Planted
from tenant_lifecycle.stores.pinecone import ours
from tenant_lifecycle.stores.pinecone.keys import can_exist
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import Side

ID = CANARY_NAME


def plant(side: Side, erasing: Erasing, marker: str) -> list[Planted]:
    """Write the vector ``tenant-lifecycle-canary`` with the marker in its metadata; nothing if no name is possible.

    Raises:
        Fenced: a newer driver was here.
    """
    families = side.resolve(erasing.tenant).families.values()
    exact = [name for family in families for name in sorted(family.exact)]
    made = [pattern.prefix + ID + pattern.suffix for family in families for pattern in family.patterns]
    name = next((one for one in (*exact, *made) if can_exist(one)), None)
    if name is None:
        return []
    patience = Patience()
    ours.guard(side, Feed(erasing.name, erasing.tenant, erasing.token), patience)
    vector = {"id": ID, **side.client.marker(patience), "metadata": {"canary": marker}}
    side.client.upsert(name, [vector], patience)
    return [Planted(f"{side.client.index_name}/{name}", 1)]
