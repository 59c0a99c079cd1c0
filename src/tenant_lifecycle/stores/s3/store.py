"""S3 as a store: joins the stories of this folder into the contracts of `stores.base`, and adds nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.backing import BaseReading, Preview, SetDiff, Version, Writing
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
from tenant_lifecycle.stores.keyed import check_writing, machine_us
from tenant_lifecycle.stores.overlapping import overlaps
from tenant_lifecycle.stores.s3 import (
    backup,
    compare,
    copy,
    doomed,
    erasable,
    erase,
    incarnation,
    inventory,
    plant,
    preflight,
    preview,
    probe,
    promote,
    provision,
    remove,
    repair,
    restorable,
    search,
    settle,
)
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.carry import Carrier
from tenant_lifecycle.stores.s3.connection import Settings
from tenant_lifecycle.stores.s3.owned import Area, carries_history, family_of
from tenant_lifecycle.stores.s3.sameness import Sides
from tenant_lifecycle.stores.s3.threads import asking
from tenant_lifecycle.stores.s3.token import Guard
from tenant_lifecycle.stores.s3.transfer import Ways


class S3Store:
    """One bucket of one environment. Safe to use from several threads."""

    kind = "s3"
    #: Every version, marker and unfinished upload of every bucket.
    proves = Level.EXHAUSTIVE

    def __init__(self, name: str, environment: str, settings: Settings, keys: KeyMap, ids: IdSource) -> None:
        self.name = name
        self.environment = environment
        self.area = Area(Bucket(name, settings), keys, ids)
        self.clock: Callable[[], int] = machine_us
        self._lock = threading.Lock()
        self._ways: dict[str, Ways] = {}
        self._histories: dict[str, bool] = {}
        self._guards: dict[tuple[TenantId, int], Guard] = {}

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> S3Store:
        """What the entry point names. ``settings`` has ``bucket``, and what is needed to reach it.

        Raises:
            ConfigError: there is no bucket, or only one of the two keys.
        """
        full = f"{environment}/{name}"
        return cls(full, environment, Settings(full, settings), ownership.keys.get(name, KeyMap()), ids)

    # -- Store

    def probe(self) -> list[Finding]:
        return probe.probe(self.area.bucket)

    def tenants(self) -> list[TenantId]:
        return inventory.tenants(self.area)

    def holds(self, tenant: TenantId) -> bool:
        return inventory.holds(self.area, tenant)

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        return inventory.inventory(self.area, tenant, exact=exact)

    def close(self) -> None:
        self.area.bucket.close()

    # -- Prepares

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        return preflight.preflight(self.area, _s3(target).area.bucket, tenant)

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:  # noqa: ARG002
        there = _s3(target)
        made = provision.create_missing(self.area.bucket, there.area.bucket)
        self._history_with(there, anew=True)
        return made

    def overlaps(self, tenant: TenantId, others: Iterable[TenantId]) -> list[Finding]:
        return overlaps(self.name, self.kind, self.area.keys, tenant, others)

    # -- Copies

    def split(self, target: Store, feed: Feed) -> list[Part]:
        self._history_with(_s3(target), anew=True)
        return copy.split(self.area, self._carrier(target, feed), feed)

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        return copy.copy_part(self.area, self._carrier(target, feed), feed, part, check)

    # -- Keyed

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        try:
            text = key.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return family_of(self.area.resolve(tenant), text)

    def incarnation(self) -> str:
        return incarnation.incarnation(self.area.bucket)

    # -- Digests

    def sets(self, tenant: TenantId) -> list[str]:
        return compare.sets(self.area.resolve(tenant))

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        there = _s3(target)
        history = self._history_with(there, anew=True)
        return compare.compare(
            self._sides(there), self.area.resolve(tenant), set_name, check, history=history
        )

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        there = _s3(target)
        history = self._history_with(there)
        return compare.compare_keys(self._sides(there), self.area.resolve(tenant), keys, history=history)

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        return repair.repair(self._carrier(target, feed), self.area.resolve(feed.tenant), keys)

    # -- Shares

    def same_as(self, other: Store) -> bool:
        """One name at one service: a service has a name once. Another spelling of an address is another service."""
        ours, theirs = self.area.bucket.settings, _s3(other).area.bucket.settings
        return (ours.endpoint, ours.bucket) == (theirs.endpoint, theirs.bucket)

    # -- Removes

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        return remove.remove(self.area, self._guard(feed), check)

    # -- Backs, Captures, Remembers

    def read_base(self, tenant: TenantId, check: Check) -> AbstractContextManager[BaseReading]:
        return backup.read_base(self.area, tenant, self.clock, check)

    def capture(self, tenant: TenantId, keys: Sequence[bytes]) -> list[Item | None]:
        return backup.capture(self.area, tenant, keys, self.clock)

    def capture_big(self, tenant: TenantId, key: bytes) -> Iterator[Item]:
        return backup.capture_big(self.area, tenant, key, self.clock)

    def versions(self, tenant: TenantId, key: bytes, since_us: int) -> list[Version]:
        return backup.versions(self.area, tenant, key, since_us, self.clock)

    # -- Previews

    def check_restore(
        self,
        tenant: TenantId,  # noqa: ARG002
        shapes: Mapping[str, Shape],
        facts: Mapping[str, Any],
    ) -> list[Finding]:
        return restorable.check_restore(self.area, shapes, facts)

    def open_preview(
        self,
        tenant: TenantId,
        name: str,
        shapes: Mapping[str, Shape],
        facts: Mapping[str, Any],  # noqa: ARG002
    ) -> Preview:
        return S3Preview(name, preview.open_folder(self.area, tenant, name, shapes), tuple(shapes), self)

    def previews(self) -> list[str]:
        return preview.names(self.area.bucket)

    # -- Erases, Plants

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        return erasable.erasure_findings(self.area, tenant)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.area, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.area, self._guard(_feed(erasing)), batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        return settle.settle(self.area, self._guard(_feed(erasing)), check)

    def horizon(self) -> Horizon | None:
        return None

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        return plant.plant(self.area, self._guard(_feed(erasing)), marker)

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return erasable.verifier_findings(self.area.bucket)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return search.remaining(self.area.bucket, batch, check)

    def places(self) -> list[Place]:
        return search.places(self.area.bucket)

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.area.bucket, self.area.keys, place, found, check)

    # -- what is kept between calls

    def _sides(self, there: S3Store) -> Sides:
        return Sides(self.area.bucket, there.area.bucket, asking)

    def _carrier(self, target: Store, feed: Feed) -> Carrier:
        there = _s3(target)
        with self._lock:
            ways = self._ways.setdefault(there.name, Ways(self.area.bucket, there.area.bucket))
        return Carrier(self._sides(there), ways, there._guard(feed), self._history_with(there))

    def _guard(self, feed: Feed) -> Guard:
        """The guard of a driver's token in this bucket."""
        with self._lock:
            return self._guards.setdefault((feed.tenant, feed.token), Guard(self.area.bucket, feed))

    def _history_with(self, there: S3Store, *, anew: bool = False) -> bool:
        """Whether versions are carried to that store; asked anew at the beginning of everything long."""
        if anew or there.name not in self._histories:
            self._histories[there.name] = carries_history(self.area.bucket, there.area.bucket)
        return self._histories[there.name]


@dataclass(slots=True)
class S3Preview:
    """A preview of this store."""

    name: str
    folder: preview.Folder
    sets: tuple[str, ...]
    store: S3Store

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        return preview.load(self.folder, set_name, items, check)

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        return preview.fingerprints(self.folder, self.sets, key)

    def items(self, set_name: str) -> Iterator[Item]:
        return preview.read_back(self.folder, set_name)

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        return promote.diff(self.folder, examples, check)

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        check_writing(self.store.name, writing, self.folder.tenant)
        guard = self.store._guard(Feed(writing.name, writing.tenant, writing.token))
        return promote.promote(self.folder, guard, sets, check)

    def discard(self) -> None:
        preview.discard(self.folder)


def _feed(erasing: Erasing) -> Feed:
    """The driver token counts for erasing as it does for a move."""
    return Feed(erasing.name, erasing.tenant, erasing.token)


def _s3(store: Store) -> S3Store:
    """The other side of a pair; pairing by kind makes sure that it is one of ours."""
    if not isinstance(store, S3Store):
        raise TypeError(f"{store.name} is not an S3 store")
    return store
