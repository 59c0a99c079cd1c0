"""A restored tenant beside the live one: a collection of ours for each of the tenant's, which no rule takes for data.

It keeps vectors as they are. A collection with the cosine distance makes them as long as 1, and may change their last
bits when it does so again; so the preview's has the dot product instead, and what was loaded is read back exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qdrant_client import models

from tenant_lifecycle.errors import IntegrityError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.backup.vector_value import VectorValue
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import About, checked_name, refuse_another_tenants, short
from tenant_lifecycle.stores.qdrant import keys as keyform
from tenant_lifecycle.stores.qdrant import ours
from tenant_lifecycle.stores.qdrant.backup import described, item_of, made_like
from tenant_lifecycle.stores.qdrant.side import OURS, PREVIEWS, Side
from tenant_lifecycle.stores.qdrant.values import record_of

#: Points that are written together, and their bytes at most, about.
BATCH, BATCH_BYTES = 256, 4 * 2**20


@dataclass(frozen=True)
class Beside:
    """Where one preview lies."""

    side: Side
    tenant: TenantId
    name: str

    def place(self, collection: str) -> str:
        """The collection of ours that stands for the tenant's."""
        return f"{PREVIEWS}{self.name}_{short(self.tenant)}_{short(collection)}"

    @property
    def record(self) -> str:
        return f"preview:{self.name}:{self.tenant}"

    def noted(self) -> About | None:
        text = ours.read(self.side, self.record).get("about")
        return About.read(text) if text else None

    def note(self, about: About) -> None:
        told = {"preview": self.name, "tenant": self.tenant, "about": about.written()}
        ours.write(self.side, self.record, told)

    def known(self) -> About:
        """What is noted of a preview that has to be there."""
        about = self.noted()
        if about is None:
            raise IntegrityError(
                f"{self.side.name}: the preview {self.name} is not there", next_step="restore it again"
            )
        return about


def open_beside(
    side: Side, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
) -> Beside:
    """Note the preview, how the base's collections were made, and the ids that say whose live ones are.

    Raises:
        UsageError: the name is none.
        WrongState: it is another tenant's.
    """
    beside = Beside(side, tenant, checked_name(name))
    more = {"made": dict(facts.get("collections", {})), "sets": {}}
    owners = [owner for known, owner in _all(side) if known == name]
    refuse_another_tenants(side.name, name, owners, tenant)
    about = beside.noted() or About(tenant, tuple(shapes), more=more)
    beside.note(about.seeing(side.ids(tenant)))
    return beside


def of(about: About, set_name: str) -> list[str]:
    """The tenant's collections that the preview has of a set."""
    return sorted(about.more["sets"].get(set_name, ()))


def like(beside: Beside, about: About, set_name: str, collection: str) -> models.CollectionInfo:
    """How a collection is to be made: as in the base, as it is live, or as another one of its set.

    Raises:
        IntegrityError: nobody knows.
    """
    made = about.more["made"]
    live = beside.side.client.describe(collection)
    resolved = beside.side.key_map.resolve(beside.tenant, about.ids)
    siblings = (told for name, told in sorted(made.items()) if resolved.family_of(name) == set_name)
    found = made_like(made.get(collection) or {}) or live or made_like(next(siblings, {}))
    if found is None:
        raise IntegrityError(
            f"{beside.side.name}: the base does not say how a collection of set {set_name} was made",
            next_step="create the collection as the application does, then restore again",
        )
    return found


def load(beside: Beside, set_name: str, items: Iterable[Item], check: Check) -> int:
    """Replace the set's collections; one is noted before it is made.

    Raises:
        IntegrityError: an item is none of a backup of Qdrant, or how its collection was made is not known.
    """
    _clear(beside, set_name, check)
    count = 0
    made: set[str] = set()
    for batch in _batches(beside, set_name, items):
        check()
        for collection, records in batch.items():
            if collection not in made:
                made.add(collection)
                _make(beside, set_name, collection, made)
            beside.side.client.upsert(beside.place(collection), records)
            count += len(records)
    return count


Batch = dict[str, list[models.Record]]


def _batches(beside: Beside, set_name: str, items: Iterable[Item]) -> Iterator[Batch]:
    batch: Batch = {}
    count = size = 0
    for item in items:
        collection, record = _restored(beside, set_name, item)
        batch.setdefault(collection, []).append(record)
        count, size = count + 1, size + len(item.cells[0] or b"")
        if count == BATCH or size > BATCH_BYTES:
            yield batch
            batch, count, size = {}, 0, 0
    if batch:
        yield batch


def _restored(beside: Beside, set_name: str, item: Item) -> tuple[str, models.Record]:
    place = keyform.decode(item.key)
    try:
        if place is None or not item.cells or item.cells[0] is None:
            raise ValueError("no point")
        return place[0], record_of(place[1], VectorValue.read(item.cells[0]))
    except ValueError as exc:
        raise IntegrityError(
            f"{beside.side.name}: an item of set {set_name} is none of a backup of Qdrant ({exc})",
            next_step="check the repository: tenantctl backup check",
        ) from exc


def _make(beside: Beside, set_name: str, collection: str, made: set[str]) -> None:
    about = beside.known()
    model = like(beside, about, set_name, collection)
    noted = {**about.more["sets"], set_name: sorted(made)}
    told = {collection: described(model), **about.more["made"]}
    beside.note(replace(about, more={"made": told, "sets": noted}))
    beside.side.client.create_exact(beside.place(collection), model)


def _clear(beside: Beside, set_name: str, check: Check) -> None:
    about = beside.known()
    for collection in of(about, set_name):
        check()
        beside.side.client.drop(beside.place(collection))
    beside.note(replace(about, more={**about.more, "sets": {**about.more["sets"], set_name: []}}))


def fingerprints(beside: Beside, sets: Iterable[str], key: bytes) -> dict[str, Fingerprint]:
    """Of every set, read back."""
    return {name: fingerprint(key, read_back(beside, name)) for name in sets}


def read_back(beside: Beside, set_name: str) -> Iterator[Item]:
    """What lies in a set."""
    for collection in of(beside.known(), set_name):
        for page in beside.side.client.pages(beside.place(collection), None, whole=True):
            for record in page:
                yield item_of(set_name, collection, record)


def nearest(beside: Beside, set_name: str, key: bytes, vector: Sequence[float], n: int) -> list[bytes]:
    """Keys of the nearest points in the collection of a key, by its first vector of that length.

    The preview has no index: the answer is exact, and as near as its distance says.
    """
    place = keyform.decode(key)
    if place is None or place[0] not in of(beside.known(), set_name):
        return []
    there = beside.place(place[0])
    name = _named(beside.side.client.describe(there), len(vector))
    if name is None:
        return []
    return [keyform.encode(place[0], id_) for id_ in beside.side.client.nearest(there, name, vector, n)]


def _named(info: models.CollectionInfo | None, size: int) -> str | None:
    """The first vector of that size that is one vector and not many; None: there is none."""
    vectors = info.config.params.vectors if info is not None else None
    named = vectors if isinstance(vectors, dict) else {"": vectors}
    fitting = (
        name
        for name, params in sorted(named.items())
        if params is not None and params.size == size and params.multivector_config is None
    )
    return next(fitting, None)


def discard(beside: Beside) -> None:
    """Everything of the preview; its note goes last, so that one that was killed is seen."""
    start = f"{PREVIEWS}{beside.name}_{short(beside.tenant)}_"
    for collection in beside.side.client.collections():
        if collection.startswith(start):
            beside.side.client.drop(collection)
    ours.delete(beside.side, beside.record)


def discard_all(side: Side, tenant: TenantId) -> int:
    """Every preview of a tenant; how many there were."""
    mine = [name for name, owner in _all(side) if owner == tenant]
    for name in mine:
        discard(Beside(side, tenant, name))
    return len(mine)


def names(side: Side) -> list[str]:
    """Of the previews that are here, whoever's."""
    return [name for name, _ in _all(side)]


def _all(side: Side) -> list[tuple[str, str]]:
    if side.client.describe(OURS) is None:
        return []
    payloads = (record.payload or {} for page in side.client.pages(OURS, None, whole=True) for record in page)
    return sorted((str(one["preview"]), str(one["tenant"])) for one in payloads if "preview" in one)
