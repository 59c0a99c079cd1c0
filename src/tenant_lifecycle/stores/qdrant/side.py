"""One side of a pair: a Qdrant, and which of its collections, or points of one collection, are whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdrant_client import models

from tenant_lifecycle.model.keymap import IdSource, KeyMap, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.qdrant.client import Client
from tenant_lifecycle.stores.qdrant.keys import PointId

#: The collection of our own records; no tenant may have one of that name.
OURS = "tenant_lifecycle__ours"
#: What names of collections of previews begin with.
PREVIEWS = "tenant_lifecycle__preview_"


def is_ours(collection: str) -> bool:
    """Whether it is a collection of this product: that of our records, or one of a preview."""
    return collection == OURS or collection.startswith(PREVIEWS)


@dataclass(frozen=True, slots=True)
class Place:
    """A collection, and which of its points are the tenant's."""

    set: str
    treatment: Treatment
    collection: str
    #: None: all of them.
    condition: models.Filter | None


@dataclass(frozen=True, slots=True)
class Side:
    """Everything the modules of this folder need of a store."""

    client: Client
    key_map: KeyMap
    ids: IdSource
    #: The collection that all tenants share, and the payload field that says whose a point is; empty: none.
    shared: str = ""
    tenant_field: str = ""

    @property
    def name(self) -> str:
        return self.client.store

    def condition(self, tenant: TenantId) -> models.Filter:
        """The tenant's points of the shared collection; its id is a value, whatever letters it has."""
        match = models.MatchValue(value=tenant)
        return models.Filter(must=[models.FieldCondition(key=self.tenant_field, match=match)])

    def owns(self, tenant: TenantId, collection: str, record: models.Record | None) -> bool:
        """Whether a point that was read is the tenant's."""
        if record is None or collection != self.shared:
            return record is not None
        value = (record.payload or {}).get(self.tenant_field)
        return bool(value == tenant or (isinstance(value, list) and value == [tenant]))

    def treatment(self, set_name: str) -> Treatment:
        family = self.key_map.families.get(set_name)
        return family.treatment if family is not None else Treatment.MOVE

    def set_of(self, tenant: TenantId, collection: str) -> str | None:
        if is_ours(collection):
            return None
        if self.shared and collection == self.shared:
            return self.shared
        return self.key_map.resolve(tenant, self.ids(tenant)).family_of(collection)

    def places(self, tenant: TenantId, present: list[str], set_name: str | None = None) -> Iterator[Place]:
        """The tenant's places among the collections that are present, of one set or of all."""
        if self.shared and self.shared in present and set_name in (None, self.shared):
            yield Place(self.shared, Treatment.MOVE, self.shared, self.condition(tenant))
        resolved = self.key_map.resolve(tenant, self.ids(tenant))
        for collection in present:
            foreign = collection == self.shared or is_ours(collection)
            name = None if foreign else resolved.family_of(collection)
            if name is not None and set_name in (None, name):
                yield Place(name, resolved.families[name].treatment, collection, None)

    def sets(self, tenant: TenantId) -> list[str]:
        families = self.key_map.resolve(tenant, self.ids(tenant)).families.values()
        moved = [family.name for family in families if family.treatment is Treatment.MOVE]
        return [*([self.shared] if self.shared else []), *moved]

    def read(self, collection: str, ids: list[PointId], present: list[str]) -> dict[PointId, models.Record]:
        """Points by id; none from a collection that is not there."""
        return self.client.retrieve(collection, ids) if collection in present and ids else {}
