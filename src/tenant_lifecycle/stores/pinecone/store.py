"""Pinecone as a store: joins the stories of this folder into the contracts of `stores.base`, and adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.errors import ConfigError
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
from tenant_lifecycle.stores.pinecone import (
    backup,
    comparing,
    copying,
    doomed,
    erasable,
    erase,
    inventory,
    keys,
    ours,
    plant,
    preflight,
    preview,
    probe,
    promote,
    removal,
    repair,
    restorable,
    search,
    settle,
)
from tenant_lifecycle.stores.pinecone.client import Client
from tenant_lifecycle.stores.pinecone.patience import QUICK, Patience
from tenant_lifecycle.stores.pinecone.side import Side

#: How long deleted data is kept, says the service's page on the deletion of data.
DAYS = 90


class PineconeStore:
    """One index of one environment; a set is a family of namespaces. Safe to use from several threads."""

    kind = "pinecone"
    #: Everything that can be listed and fetched; what the service keeps besides is for its promise.
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
    ) -> PineconeStore:
        """What the entry point names.

        ``settings`` has ``api_key`` and ``index``; ``host`` only where the control plane is not Pinecone's own
        (an emulator: ``http://127.0.0.1:5080``); the index's own address is asked for there. With
        ``create_index: yes`` an index that is missing here is created like the source's.

        Raises:
            ConfigError: one is missing.
        """
        for needed in ("api_key", "index"):
            if not settings.get(needed):
                raise ConfigError(
                    f"store {environment}/{name} has no {needed}", next_step="give it one in lifecycle.yaml"
                )
        client = Client(
            f"{environment}/{name}", settings["api_key"], settings["index"], settings.get("host", "")
        )
        may_create = settings.get("create_index", "").lower() in ("yes", "true")
        side = Side(client, ownership.keys.get(name, KeyMap()), ids, may_create)
        return cls(side, environment)

    # -- Store

    def probe(self) -> list[Finding]:
        return probe.probe(self.side)

    def tenants(self) -> list[TenantId]:
        return inventory.tenants(self.side)

    def holds(self, tenant: TenantId) -> bool:
        return inventory.holds(self.side, tenant)

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        return inventory.inventory(self.side, tenant, exact=exact)

    def close(self) -> None:
        self.side.close()

    # -- Prepares

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        return preflight.preflight(self.side, _side(target), tenant)

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:
        return preflight.create_missing(self.side, _side(target), tenant)

    def overlaps(self, tenant: TenantId, others: Iterable[TenantId]) -> list[Finding]:
        return overlaps(self.name, self.kind, self.side.key_map, tenant, others)

    # -- Copies

    def split(self, target: Store, feed: Feed) -> list[Part]:
        return copying.split(self.side, _side(target), feed)

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        return copying.copy_part(self.side, _side(target), feed, part, check)

    # -- Digests

    def sets(self, tenant: TenantId) -> list[str]:
        return comparing.sets(self.side, tenant)

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        return comparing.compare(self.side, _side(target), tenant, set_name, check)

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:  # noqa: ARG002
        return comparing.compare_keys(self.side, _side(target), keys)

    def glance_at_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:  # noqa: ARG002
        return comparing.compare_keys(self.side, _side(target), keys, recheck_s=0.0)

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        return repair.repair(self.side, _side(target), feed, keys)

    # -- Keyed

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        place = keys.decode(key)
        return None if place is None else self.side.family_of(tenant, place[0])

    def incarnation(self) -> str:
        return ours.identity(self.side, QUICK)

    # -- Shares

    def same_as(self, other: Store) -> bool:
        """The address that Pinecone gives an index is that index's alone."""
        return self.side.client.model(QUICK).host == _side(other).client.model(QUICK).host

    # -- Removes

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        removed = removal.remove(self.side, feed, check)
        preview.discard_all(self.side, feed.tenant, Patience(check=check))
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
        self,
        tenant: TenantId,
        name: str,
        shapes: Mapping[str, Shape],
        facts: Mapping[str, Any],  # noqa: ARG002
    ) -> Preview:
        return PineconePreview(name, preview.open_spaces(self.side, tenant, name, shapes), tuple(shapes))

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
        return Horizon(Level.VENDOR, DAYS, "Pinecone: deleted customer data is kept for up to 90 days")

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
class PineconePreview:
    """A preview of this store."""

    name: str
    spaces: preview.Spaces
    sets: tuple[str, ...]

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        return preview.load(self.spaces, set_name, items, check)

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        return preview.fingerprints(self.spaces, self.sets, key)

    def nearest(self, set_name: str, beside: bytes, vector: Sequence[float], n: int) -> list[bytes]:  # noqa: ARG002
        return preview.nearest(self.spaces, beside, vector, n)

    def items(self, set_name: str) -> Iterator[Item]:
        return preview.read_back(self.spaces, set_name)

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        return promote.diff(self.spaces, examples, check)

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        return promote.promote(self.spaces, writing, sets, check)

    def discard(self) -> None:
        preview.discard(self.spaces)


def _side(store: Store) -> Side:
    """The other side of a pair; pairing by kind makes sure that it is one of ours."""
    if not isinstance(store, PineconeStore):
        raise TypeError(f"{store.name} is not a Pinecone store")
    return store.side
