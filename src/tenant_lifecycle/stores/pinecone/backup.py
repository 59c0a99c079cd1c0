"""A base of one tenant's vectors, and what touched ones are now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import BaseReading
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import KeyedReading, kept_sets, left_out, shapes_of
from tenant_lifecycle.stores.pinecone import keys as keyform
from tenant_lifecycle.stores.pinecone.copying import vectors
from tenant_lifecycle.stores.pinecone.inventory import inventory
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.probe import describe_field
from tenant_lifecycle.stores.pinecone.side import Side, candidates
from tenant_lifecycle.stores.pinecone.values import value_of

Clock = Callable[[], int]
#: Vectors between two questions whether to go on.
STEP = 500


@contextmanager
def read_base(side: Side, tenant: TenantId, clock: Clock, check: Check) -> Iterator[BaseReading]:
    """Every vector of the families that cannot be made again.

    Facts: kind, dimension and metric of the index's fields, and what is left out.

    Raises:
        UnmappedData: a namespace has no rule.
    """
    begun = clock()
    inventory(side, tenant, exact=False)
    facts: dict[str, Any] = {"index": fields(side), "left_out": left_out(side.key_map)}
    patience = Patience(check=check)

    def items(set_name: str) -> Iterator[Item]:
        for namespace in namespaces(side, tenant, set_name, patience):
            # Reads see at least what was written before this, however far they lag behind what is written now.
            now = clock()
            for number, vector in enumerate(vectors(side, namespace, "", patience)):
                if number % STEP == 0:
                    check()
                yield Item(set_name, keyform.encode(namespace, vector.id), (value_of(vector).cell(),), now)

    yield KeyedReading(begun, shapes_of(kept_sets(side.key_map)), facts, items)


def fields(side: Side) -> dict[str, str]:
    """The index's fields: ``values`` is ``1536 dimensions, cosine``."""
    schema = side.client.model(Patience()).schema
    return {name: describe_field(field) for name, field in schema.fields.items()}


def namespaces(side: Side, tenant: TenantId, set_name: str, patience: Patience) -> list[str]:
    """The tenant's of that family, in order; some may be empty or not there."""
    resolved = side.resolve(tenant)
    found = candidates(side, resolved.families[set_name], patience)
    return sorted(name for name in found if resolved.family_of(name) == set_name)


def capture(side: Side, tenant: TenantId, keys: Sequence[bytes], clock: Clock) -> list[Item | None]:
    """Each key's vector, read so that every write before this call is seen; what is not the tenant's has none.

    Raises:
        StoreBusy: reads stay behind writes for longer than `Patience.settle_s`.
    """
    places = {key: place for key in keys if (place := keyform.decode(key)) is not None}
    sets = {space: side.family_of(tenant, space) for space in {space for space, _ in places.values()}}
    wanted: dict[str, list[str]] = {}
    for space, id_ in places.values():
        name = sets[space]
        if name is not None and side.key_map.families[name].treatment is Treatment.MOVE:
            wanted.setdefault(space, []).append(id_)
    now = clock()
    found = side.freshness.read(wanted, Patience())
    return [_item(sets, key, found.get(places[key]), now) if key in places else None for key in keys]


def _item(sets: dict[str, str | None], key: bytes, vector: Any, at_us: int) -> Item | None:
    if vector is None:
        return None
    name = sets[key.decode().partition("\0")[0]]
    return Item(name or "", key, (value_of(vector).cell(),), at_us)
