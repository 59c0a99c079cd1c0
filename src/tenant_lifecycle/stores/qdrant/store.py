"""Qdrant as a store: joins the stories of this folder into the contracts of `stores.base`, and adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from qdrant_client import QdrantClient

from tenant_lifecycle.errors import ConfigError, UnmappedData
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.backing import BaseReading, Preview, SetDiff, Writing
from tenant_lifecycle.stores.base import (
    Check,
    Compared,
    Copied,
    Difference,
    Feed,
    Keys,
    Part,
    SetSize,
    Store,
)
from tenant_lifecycle.stores.erasing import (
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Level,
    Looked,
    Place,
    Planted,
    Settled,
)
from tenant_lifecycle.stores.keyed import machine_us
from tenant_lifecycle.stores.overlapping import overlaps
from tenant_lifecycle.stores.qdrant import (
    backup,
    carrying,
    comparing,
    doomed,
    erasable,
    erase,
    keys,
    ours,
    plant,
    preflight,
    preview,
    promote,
    restorable,
    search,
    settle,
)
from tenant_lifecycle.stores.qdrant.client import Client
from tenant_lifecycle.stores.qdrant.side import Side


class QdrantStore:
    """One Qdrant of one environment; a set is a family of collections, or the tenant's points of a shared one."""

    kind = "qdrant"
    #: Every point that can be read; segments on disk are not looked into.
    proves = Level.LOGICAL

    def __init__(self, side: Side, environment: str) -> None:
        self.side = side
        self.name = side.name
        self.environment = environment
        self.clock: Callable[[], int] = machine_us

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> QdrantStore:
        """What the entry point names.

        ``settings`` has ``url`` (and ``api_key``) of a server, or ``path``, a folder for the client's local mode
        (``:memory:`` keeps nothing). With ``collection`` and ``tenant_field``, points of that collection whose
        payload has the tenant's id in the field are the tenant's; else families of the map name collections.

        Raises:
            ConfigError: there is no address, or only one of the two.
        """
        place, url, path = f"{environment}/{name}", settings.get("url"), settings.get("path")
        if bool(url) is bool(path):
            raise ConfigError(
                f"store {place} needs a url, or a path", next_step="give it one in lifecycle.yaml"
            )
        shared, field = settings.get("collection", ""), settings.get("tenant_field", "")
        if bool(shared) is not bool(field):
            raise ConfigError(
                f"store {place}: collection and tenant_field belong together",
                next_step="give both or neither",
            )
        opened = (
            QdrantClient(url=url, api_key=settings.get("api_key"), timeout=15, check_compatibility=False)
            if url
            else QdrantClient(":memory:")
            if path == ":memory:"
            else QdrantClient(path=path)
        )
        client = Client(place, opened, local=not url)
        return cls(Side(client, ownership.keys.get(name, KeyMap()), ids, shared, field), environment)

    # -- Store

    def probe(self) -> list[Finding]:
        return preflight.probe(self.side)

    def tenants(self) -> list[TenantId]:
        """None: whose a collection is, is told by the ids of the relational store."""
        return []

    def holds(self, tenant: TenantId) -> bool:
        return any(size.items for size in self._sizes(tenant))

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        if strangers := preflight.unmapped(self.side):
            raise UnmappedData(f"{self.name}: no rule in ownership.yaml for {len(strangers)} collection(s)")
        return self._sizes(tenant)

    def close(self) -> None:
        self.side.client.close()

    def _sizes(self, tenant: TenantId) -> list[SetSize]:
        """Counted; Qdrant does not tell bytes."""
        shared = [self.side.shared] if self.side.shared else []
        counts = dict.fromkeys([*shared, *self.side.key_map.families], 0)
        for place in self.side.places(tenant, self.side.client.collections()):
            counts[place.set] += self.side.client.count(place.collection, place.condition)
        return [SetSize(name, count, 0, True) for name, count in counts.items()]

    # -- Prepares

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        return preflight.preflight(self.side, _side(target), tenant)

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:
        return preflight.create_missing(self.side, _side(target), tenant)

    def overlaps(self, tenant: TenantId, others: Iterable[TenantId]) -> list[Finding]:
        return overlaps(self.name, self.kind, self.side.key_map, tenant, others)

    # -- Copies

    def split(self, target: Store, feed: Feed) -> list[Part]:
        return carrying.split(self.side, _side(target), feed)

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        return carrying.copy_part(self.side, _side(target), feed, part, check)

    # -- Digests

    def sets(self, tenant: TenantId) -> list[str]:
        return self.side.sets(tenant)

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        return comparing.compare(self.side, _side(target), tenant, set_name, check)

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        return comparing.compare_keys(self.side, _side(target), tenant, keys)

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        return carrying.repair(self.side, _side(target), feed, keys)

    # -- Keyed

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        place = keys.decode(key)
        return None if place is None else self.side.set_of(tenant, place[0])

    def incarnation(self) -> str:
        return ours.identity(self.side)

    # -- Removes

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        removed = carrying.remove(self.side, feed, check)
        preview.discard_all(self.side, feed.tenant)
        return removed

    # -- Backs, Captures

    def read_base(self, tenant: TenantId, check: Check) -> AbstractContextManager[BaseReading]:
        return backup.read_base(self.side, tenant, self.clock, check)

    def capture(self, tenant: TenantId, keys: Sequence[bytes]) -> list[Item | None]:
        return backup.capture(self.side, tenant, keys, self.clock)

    # -- Previews

    def check_restore(
        self,
        tenant: TenantId,  # noqa: ARG002
        shapes: Mapping[str, Shape],
        facts: Mapping[str, Any],
    ) -> list[Finding]:
        return restorable.check_restore(self.side, shapes, facts)

    def open_preview(
        self, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> Preview:
        return QdrantPreview(name, preview.open_beside(self.side, tenant, name, shapes, facts), tuple(shapes))

    def previews(self) -> list[str]:
        return preview.names(self.side)

    # -- Erases, Plants

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:  # noqa: ARG002
        return erasable.erasure_findings(self.side)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.side, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.side, erasing, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        return settle.settle(self.side, erasing, check)

    def horizon(self) -> Horizon | None:
        return None

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        return plant.plant(self.side, erasing, marker)

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return erasable.verifier_findings(self.side)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return search.remaining(self.side, batch, check)

    def places(self) -> list[Place]:
        return search.places(self.side)

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.side, place, found, check)


@dataclass(slots=True)
class QdrantPreview:
    """A preview of this store."""

    name: str
    beside: preview.Beside
    sets: tuple[str, ...]

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        return preview.load(self.beside, set_name, items, check)

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        return preview.fingerprints(self.beside, self.sets, key)

    def nearest(self, set_name: str, beside: bytes, vector: Sequence[float], n: int) -> list[bytes]:
        return preview.nearest(self.beside, set_name, beside, vector, n)

    def items(self, set_name: str) -> Iterator[Item]:
        return preview.read_back(self.beside, set_name)

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        return promote.diff(self.beside, examples, check)

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        return promote.promote(self.beside, writing, sets, check)

    def discard(self) -> None:
        preview.discard(self.beside)


def _side(store: Store) -> Side:
    """The other side of a pair; pairing by kind makes sure that it is one of ours."""
    if not isinstance(store, QdrantStore):
        raise TypeError(f"{store.name} is not a Qdrant store")
    return store.side
