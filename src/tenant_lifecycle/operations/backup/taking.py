"""Reading a base: every store is opened before the first item is read, and what was read is fingerprinted on its way.

The common barrier is the moment when all readings are open. A store with a snapshot is read as of it; of the others
every item carries the time when it was read, and the change log since the barrier makes up for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from tenant_lifecycle.backups.contract import BaseWriter, TenantRepository
from tenant_lifecycle.errors import UnsupportedByStore, VerificationFailed
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.stores.backing import Backs, BaseReading
from tenant_lifecycle.stores.base import Check

#: Items between two safe points.
CHECK_EVERY = 500
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What base is wanted."""

    environment: str
    labels: Mapping[str, str]
    #: Microseconds since 1970 from which retention may delete it.
    expires_us: int | None = None
    tier: str = ""


def take_full(
    repository: TenantRepository, stores: Mapping[str, Backs], order: Order, check: Check, tell: Tell
) -> Manifest:
    """Read everything the tenant has, and commit the base; what an attempt before left behind is garbage.

    Raises:
        UnsupportedByStore: nothing here can be backed up.
        VerificationFailed: the repository wrote something else than was read.
    """
    if not stores:
        raise UnsupportedByStore(f"no store of {order.environment} can be backed up")
    writer = repository.begin_base(order.environment, BaseKind.FULL, None, order.labels, tier=order.tier)
    key = repository.fingerprint_key()
    with ExitStack() as barrier:
        readings = {
            name: barrier.enter_context(store.read_base(repository.tenant, check))
            for name, store in stores.items()
        }
        counter = _Counter(check, tell)
        parts = {
            name: _store_base(name, reading, writer, key, counter, _clock_of(stores[name]))
            for name, reading in readings.items()
        }
    return writer.commit(parts, now_us(), order.expires_us)


def now_us() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1000


def _clock_of(store: Backs) -> Callable[[], int]:
    clock = getattr(store, "clock", None)
    return clock if callable(clock) else now_us


def _store_base(
    name: str,
    reading: BaseReading,
    writer: BaseWriter,
    key: bytes,
    counter: _Counter,
    clock: Callable[[], int],
) -> StoreBase:
    sets = {set_name: _stored(name, set_name, reading, writer, key, counter) for set_name in reading.shapes}
    snapshot = reading.snapshot
    at_us = reading.at_us if snapshot is not None else max(clock(), counter.latest_us, reading.at_us)
    # A snapshot says where its log goes on; positions of captured writes are the judge's time.
    log_from = reading.at_us if snapshot is None else snapshot.lsn
    return StoreBase(name, at_us, log_from, snapshot, sets, dict(reading.facts))


def _stored(
    store: str, set_name: str, reading: BaseReading, writer: BaseWriter, key: bytes, counter: _Counter
) -> SetStored:
    seen = Seen(key, counter.count(reading.items(set_name)))
    stored = writer.add(store, reading.shapes[set_name], seen)
    if stored.fingerprint != seen.fingerprint:
        raise VerificationFailed(
            f"{store}: {set_name}: the repository took in something else than was read "
            f"({stored.fingerprint.items} items, {seen.fingerprint.items} read)"
        )
    return stored


class Seen:
    """Items on their way, and the fingerprint of those that have passed."""

    def __init__(self, key: bytes, items: Iterable[Item]) -> None:
        self.fingerprint = Fingerprint()
        self._key, self._items = key, items

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.fingerprint = self.fingerprint.plus(self._key, item)
            yield item


class _Counter:
    """Safe points and progress over all sets."""

    def __init__(self, check: Check, tell: Tell) -> None:
        self._check, self._tell = check, tell
        self.items = 0
        self.latest_us = 0

    def count(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if self.items % CHECK_EVERY == 0:
                self._check()
                self._tell(self.items)
            self.items += 1
            self.latest_us = max(self.latest_us, item.at_us)
            yield item
        self._tell(self.items)


def read_back(repository: TenantRepository, manifest: Manifest, check: Check) -> int:
    """Decrypt everything of a base and compare it with what its manifest says; the items.

    Raises:
        VerificationFailed: it is something else; the base is of no use.
        RepositoryDamaged: an object of it cannot be read.
    """
    key, counter = repository.fingerprint_key(), _Counter(check, lambda _: None)
    for store, part in manifest.stores.items():
        for set_name, stored in part.sets.items():
            found = fingerprint(key, counter.count(repository.items(manifest, store, set_name)))
            if found != stored.fingerprint:
                raise VerificationFailed(
                    f"base {manifest.id}: {store}: {set_name} holds {found.items} items and other bytes than the "
                    f"{stored.fingerprint.items} that were read",
                    next_step="tenantctl backup check --level L2",
                )
    return counter.items
