"""A restored tenant beside the live one: a namespace of ours for each of the tenant's, which no rule takes for data.

Which namespace stands for which is noted in our own records before anything is written there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.errors import IntegrityError, StoreBusy
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.backup.vector_value import VectorValue
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import About, checked_name, refuse_another_tenants, short
from tenant_lifecycle.stores.pinecone import keys as keyform
from tenant_lifecycle.stores.pinecone import ours
from tenant_lifecycle.stores.pinecone.copying import vectors
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.removal import see_empty
from tenant_lifecycle.stores.pinecone.side import OURS, Side
from tenant_lifecycle.stores.pinecone.values import value_of, vector_of
from tenant_lifecycle.stores.pinecone.vectors import upserts

#: Letters of a note in one record: metadata may have 40 KB.
NOTE_LETTERS = 8_000
#: Vectors that wait to be written.
WAITING = 1_000
_NOTES = "preview:"


@dataclass(frozen=True)
class Spaces:
    """Where one preview lies."""

    side: Side
    tenant: TenantId
    name: str

    def place(self, namespace: str) -> str:
        """The namespace of ours that stands for the tenant's."""
        return f"{OURS}{_NOTES}{self.name}:{short(self.tenant)}:{short(namespace)}"

    @property
    def records(self) -> str:
        return f"{_NOTES}{self.name}:{short(self.tenant)}:"

    def noted(self, patience: Patience) -> About | None:
        """What is noted; None: there is no such preview.

        Raises:
            StoreBusy: not all of it can be seen yet.
        """
        records = ours.read(self.side, self.records, patience)
        if not records:
            return None
        first = records.get(f"{self.records}0000", {})
        if int(first.get("of", -1)) > len(records):
            raise StoreBusy(f"{self.side.name}: not all of a note can be seen yet", store=self.side.name)
        return About.read("".join(str(records[id_]["text"]) for id_ in sorted(records)[: int(first["of"])]))

    def note(self, about: About, patience: Patience) -> None:
        text = about.written()
        pieces = [text[at : at + NOTE_LETTERS] for at in range(0, len(text), NOTE_LETTERS)]
        records = {
            f"{self.records}{n:04d}": {"text": piece, "of": len(pieces)} for n, piece in enumerate(pieces)
        }
        ours.write(self.side, records, patience)

    def of(self, about: About, set_name: str) -> list[str]:
        """The tenant's namespaces that the preview has of a set."""
        return sorted(about.more.get("spaces", {}).get(set_name, ()))


def open_spaces(side: Side, tenant: TenantId, name: str, shapes: Mapping[str, Shape]) -> Spaces:
    """Note the preview, and the ids that say whose live namespaces are.

    Raises:
        UsageError: the name is none.
        WrongState: it is another tenant's.
    """
    spaces, patience = Spaces(side, tenant, checked_name(name)), Patience()
    owners = [owner for known, owner in _all(side, patience) if known == name]
    refuse_another_tenants(side.name, name, owners, short(tenant))
    about = spaces.noted(patience) or About(tenant, tuple(shapes), more={"spaces": {}})
    spaces.note(about.seeing(side.ids(tenant)), patience)
    return spaces


def load(spaces: Spaces, set_name: str, items: Iterable[Item], check: Check) -> int:
    """Replace the set's namespaces; a namespace is noted before the first vector is written there.

    Raises:
        IntegrityError: an item is none of a backup of Pinecone.
    """
    patience = Patience(check=check)
    _clear(spaces, set_name, patience)
    count = 0
    waiting: dict[str, list[Vector]] = {}
    noted: set[str] = set()
    for item in items:
        namespace, vector = _restored(spaces, set_name, item)
        waiting.setdefault(namespace, []).append(vector)
        count += 1
        if count % WAITING == 0:
            noted = _written(spaces, set_name, waiting, noted, patience)
    _written(spaces, set_name, waiting, noted, patience)
    return count


def _restored(spaces: Spaces, set_name: str, item: Item) -> tuple[str, Vector]:
    place = keyform.decode(item.key)
    try:
        if place is None or not item.cells or item.cells[0] is None:
            raise ValueError("no vector")
        return place[0], vector_of(place[1], VectorValue.read(item.cells[0]))
    except ValueError as exc:
        raise IntegrityError(
            f"{spaces.side.name}: an item of set {set_name} is none of a backup of Pinecone ({exc})",
            next_step="check the repository: tenantctl backup check",
        ) from exc


def _written(
    spaces: Spaces, set_name: str, waiting: dict[str, list[Vector]], noted: set[str], patience: Patience
) -> set[str]:
    """Write what waits; returns the namespaces that are noted now."""
    if set(waiting) - noted:
        noted = noted | set(waiting)
        _note_spaces(spaces, set_name, noted, patience)
    for namespace, some in waiting.items():
        for body in upserts(some):
            patience.check()
            spaces.side.client.upsert(spaces.place(namespace), body, patience)
    waiting.clear()
    return noted


def _note_spaces(spaces: Spaces, set_name: str, namespaces: Iterable[str], patience: Patience) -> None:
    about = known(spaces, patience)
    all_ = {**about.more.get("spaces", {}), set_name: sorted(namespaces)}
    spaces.note(replace(about, more={**about.more, "spaces": all_}), patience)


def known(spaces: Spaces, patience: Patience) -> About:
    """What is noted of a preview that has to be there."""
    about = spaces.noted(patience)
    if about is None:
        raise IntegrityError(
            f"{spaces.side.name}: the preview {spaces.name} is not there", next_step="restore it again"
        )
    return about


def _clear(spaces: Spaces, set_name: str, patience: Patience) -> None:
    about = spaces.noted(patience)
    if about is None:
        return
    for namespace in spaces.of(about, set_name):
        patience.check()
        _drop(spaces.side, spaces.place(namespace), patience)
    _note_spaces(spaces, set_name, (), patience)


def _drop(side: Side, namespace: str, patience: Patience) -> None:
    side.client.drop_namespace(namespace, patience)
    see_empty(side, namespace, patience)


def fingerprints(spaces: Spaces, sets: Iterable[str], key: bytes) -> dict[str, Fingerprint]:
    """Of every set, read back."""
    patience = Patience()
    about = known(spaces, patience)
    found: dict[str, Fingerprint] = {}
    for name in sets:
        summed = Fingerprint()
        for item in _items(spaces, about, name, patience):
            summed = summed.plus(key, item)
        found[name] = summed
    return found


def read_back(spaces: Spaces, set_name: str) -> Iterator[Item]:
    """What lies in a set."""
    patience = Patience()
    return _items(spaces, known(spaces, patience), set_name, patience)


def _items(spaces: Spaces, about: About, set_name: str, patience: Patience) -> Iterator[Item]:
    for namespace in spaces.of(about, set_name):
        for vector in vectors(spaces.side, spaces.place(namespace), "", patience):
            yield Item(set_name, keyform.encode(namespace, vector.id), (value_of(vector).cell(),))


def nearest(spaces: Spaces, beside: bytes, vector: Sequence[float], n: int) -> list[bytes]:
    """Keys of the nearest vectors in the namespace of a key, asked of the service as an application asks it."""
    place, patience = keyform.decode(beside), Patience()
    if place is None:
        return []
    there = spaces.place(place[0])
    spaces.side.freshness.settle(there, patience)
    return [keyform.encode(place[0], id_) for id_ in spaces.side.client.nearest(there, vector, n, patience)]


def discard(spaces: Spaces, patience: Patience | None = None) -> None:
    """Everything of the preview; its note goes last, so that one that was killed is seen."""
    patience = patience or Patience()
    about = spaces.noted(patience)
    if about is None:
        return
    for name in about.more.get("spaces", {}):
        for namespace in spaces.of(about, name):
            _drop(spaces.side, spaces.place(namespace), patience)
    ours.forget(spaces.side, spaces.records, patience)


def discard_all(side: Side, tenant: TenantId, patience: Patience) -> int:
    """Every preview of a tenant; how many there were."""
    mine = [name for name, owner in _all(side, patience) if owner == short(tenant)]
    for name in mine:
        discard(Spaces(side, tenant, name), patience)
    return len(mine)


def names(side: Side) -> list[str]:
    """Of the previews that are here, whoever's."""
    return [name for name, _ in _all(side, Patience())]


def _all(side: Side, patience: Patience) -> list[tuple[str, str]]:
    """Names of previews with what stands for their tenants."""
    found = {tuple(id_.split(":")[1:3]) for id_ in ours.read(side, _NOTES, patience)}
    return sorted((name, owner) for name, owner in found)
