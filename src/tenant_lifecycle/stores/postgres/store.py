"""PostgreSQL as a store: joins the stories of this folder into the contracts of `stores.base`, and adds nothing.

Each ability is told in a module of its own; a method here is one call into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.backing import BaseReading, Preview
from tenant_lifecycle.stores.base import (
    Check,
    Compared,
    Copied,
    Difference,
    Feed,
    FenceRow,
    FenceState,
    Follower,
    Keys,
    Part,
    SetSize,
    Store,
    Touch,
)
from tenant_lifecycle.stores.erasing import (
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Looked,
    Place,
    Planted,
    Settled,
)
from tenant_lifecycle.stores.postgres import (
    bound,
    clock,
    close,
    copy,
    counters,
    digests,
    doomed,
    erase,
    erasurecheck,
    fence,
    idsets,
    inventory,
    journal,
    keycheck,
    plant,
    preflight,
    probe,
    remaining,
    remove,
    repair,
    sameness,
    schema,
    settle,
    split,
    verifiercheck,
)
from tenant_lifecycle.stores.postgres.archive import slot
from tenant_lifecycle.stores.postgres.archive.reader import PostgresArchive
from tenant_lifecycle.stores.postgres.backup import base, check, ids, preview
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed import follower, slots
from tenant_lifecycle.stores.postgres.options import Options, read_options
from tenant_lifecycle.stores.postgres.search import Eyes


class PostgresStore:
    """One database of one environment. Implements every ability; safe to use from several threads."""

    kind = "postgres"

    def __init__(self, database: Database, options: Options | None = None) -> None:
        self.database = database
        self.options = options or Options()
        self._eyes = Eyes(database)
        self.name = database.name
        self.environment = database.environment
        self._listener = journal.Listener(database)
        self._counters: dict[tuple[str, TenantId], counters.Counters] = {}

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,  # noqa: ARG003
    ) -> PostgresStore:
        """What the entry point names. ``settings`` has ``dsn``, and may have what `options` reads.

        Raises:
            ConfigError: there is none, or a setting has a value that is not known.
        """
        if not settings.get("dsn"):
            raise ConfigError(
                f"store {environment}/{name} has no dsn", next_step="give it one in lifecycle.yaml"
            )
        database = Database(f"{environment}/{name}", environment, settings["dsn"], ownership)
        return cls(database, read_options(database.name, settings))

    # -- Store

    def probe(self) -> list[Finding]:
        return probe.probe(self.database)

    def tenants(self) -> list[TenantId]:
        return inventory.tenants(self.database)

    def holds(self, tenant: TenantId) -> bool:
        return inventory.holds(self.database, tenant)

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        return inventory.inventory(self.database, tenant, exact=exact)

    def close(self) -> None:
        self._listener.close()
        self.database.close()

    # -- Prepares

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        there = _database(target)
        return preflight.preflight(self.database, there, tenant) + schema.compare(
            self.database, there, tenant
        )

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:
        return schema.create_missing(self.database, _database(target), tenant)

    # -- Schemas

    def shape(self, tenant: TenantId) -> str:
        return schema.shape(self.database, tenant)

    def check_references(self, tenant: TenantId) -> list[Finding]:
        return schema.validate_references(self.database, tenant)

    def carry_counters(self, target: Store, tenant: TenantId, margin: int) -> int:
        key = (target.name, tenant)
        if key not in self._counters:
            self._counters[key] = counters.Counters(self.database, _database(target), tenant)
        return self._counters[key].carry(margin)

    # -- Copies

    def split(self, target: Store, feed: Feed) -> list[Part]:
        return split.split(self.database, _database(target), feed)

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        return copy.copy_part(self.database, _database(target), feed, part, check)

    # -- Follows

    def create_feed(self, target: Store, feed: Feed) -> None:
        slots.create_feed(self.database, _database(target), feed)

    def drop_feed(self, feed: Feed) -> None:
        slots.drop_feed(self.database, feed)

    def forget_feed(self, feed: Feed) -> None:
        slots.forget_feed(self.database, feed)

    def feed_exists(self, feed: Feed) -> bool:
        return slots.feed_exists(self.database, feed)

    def follow(self, target: Store, feed: Feed, spool: Path) -> Follower:
        return follower.follow(self.database, _database(target), feed, spool)

    def prove_feed(self, feed: Feed, follower_: Follower, timeout_s: float) -> bool:
        return follower.prove_feed(self.database, feed, follower_, timeout_s)

    # -- Digests

    def sets(self, tenant: TenantId) -> list[str]:
        return digests.sets(self.database, tenant)

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        return digests.compare(self.database, _database(target), tenant, set_name, check)

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        return keycheck.compare_keys(self.database, _database(target), tenant, keys)

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        return repair.repair(self.database, _database(target), feed, keys)

    # -- TellsTime

    def now_us(self) -> int:
        return clock.now_us(self.database)

    # -- Archives

    def create_archive(self, name: str) -> int:
        return slot.create(self.database, name)

    def open_archive(self, name: str, spool: Path) -> PostgresArchive:
        return PostgresArchive(self.database, name, spool)

    def uncovered(self) -> Mapping[str, str]:
        return slot.uncovered(self.database)

    def drop_archive(self, name: str) -> None:
        slot.drop(self.database, name)

    # -- Fences

    def arm(self, tenant: TenantId, state: FenceState, epoch: int, target: str | None) -> FenceRow:
        return fence.arm(self.database, tenant, state, epoch, target)

    def fence_row(self, tenant: TenantId) -> FenceRow | None:
        return fence.fence_row(self.database, tenant)

    def fence(self, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float) -> str:
        return fence.fence(self.database, tenant, epoch, ttl_s, budget_s)

    def release(self, tenant: TenantId, ticket: str | None) -> None:
        fence.release(self.database, tenant, ticket)

    def commit_move(self, tenant: TenantId, ticket: str, target: str) -> bool:
        return fence.commit_move(self.database, tenant, ticket, target)

    def activate(self, tenant: TenantId, epoch: int) -> None:
        fence.activate(self.database, tenant, epoch)

    def disarm(self, tenant: TenantId) -> None:
        fence.disarm(self.database, tenant, keep_moved=False)

    def blockers(self, tenant: TenantId, older_than_s: float) -> list[str]:
        return fence.blockers(self.database, tenant, older_than_s)

    # -- Windows

    def hold_writes(
        self, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float, window_s: float
    ) -> str:
        return fence.put_up(self.database, tenant, epoch, ttl_s, budget_s, for_s=window_s)

    def renew(self, tenant: TenantId, ticket: str, ttl_s: float) -> str | None:
        return fence.renew(self.database, tenant, ticket, ttl_s)

    def tighten(self, tenant: TenantId, epoch: int, ticket: str, ttl_s: float, budget_s: float) -> str:
        return fence.put_up(self.database, tenant, epoch, ttl_s, budget_s, ticket=ticket)

    def loosen(self, tenant: TenantId, ticket: str, ttl_s: float, window_s: float) -> str | None:
        return fence.renew(self.database, tenant, ticket, ttl_s, window_s)

    # -- Journals

    def open_journal(self, feed: Feed) -> None:
        journal.open_journal(self.database, feed)

    def close_journal(self, feed: Feed) -> None:
        journal.close_journal(self.database, feed)

    def journal_open(self, feed: Feed) -> bool:
        return journal.journal_open(self.database, feed)

    def touched(self, feed: Feed, store: str, limit: int) -> list[Touch]:
        self._listener.reading(feed.tenant)
        entries = journal.touched(self.database, feed, store, limit)
        self._listener.saw(entries)
        return entries

    def drop_touched(self, feed: Feed, seqs: list[int]) -> None:
        journal.drop_touched(self.database, feed, seqs)

    def touch(self, feed: Feed, store: str, keys: list[bytes]) -> None:
        journal.touch(self.database, feed, store, keys)

    def await_touched(self, timeout_s: float) -> None:
        self._listener.wait(timeout_s)

    def journal_epoch(self) -> str:
        return journal.journal_epoch(self.database)

    # -- Resolves

    def ids(self, tenant: TenantId) -> TenantIds:
        return idsets.ids(self.database, tenant)

    # -- Shares

    def same_as(self, other: Store) -> bool:
        return sameness.same(self.database, _database(other))

    # -- Backs

    def read_base(self, tenant: TenantId, check: Check) -> AbstractContextManager[BaseReading]:
        return base.read_base(self.database, tenant, check, self.options.migration_version)

    # -- Previews

    def check_restore(
        self, tenant: TenantId, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> list[Finding]:
        return check.check_restore(self.database, tenant, shapes, facts, self.options.migrations)

    def open_preview(
        self, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> Preview:
        hook, version = self.options.migrations, self.options.migration_version
        return preview.open_preview(self.database, tenant, name, shapes, facts, hook, version)

    def previews(self) -> list[str]:
        return preview.previews(self.database)

    # -- ReservesIds

    def reserve_ids(self, set_name: str, column: str, count: int) -> int | None:
        return ids.reserve_ids(self.database, set_name, column, count)

    # -- Removes

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        return remove.remove(self.database, feed, check)

    # -- Erases

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        return erasurecheck.erasure_findings(
            self.database, tenant, self.options.physical, self.options.wal_archive_days
        )

    def bound(self, tenant: TenantId) -> Mapping[str, frozenset[str]]:
        return bound.bound(self.database, tenant)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.database, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.database, erasing, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:
        return settle.settle(self.database, erasing, sets, check, self.options.physical)

    def horizon(self) -> Horizon | None:
        days = self.options.wal_archive_days
        return Horizon(Level.EXPIRY_BOUND, days, "setting wal_archive_days") if days else None

    # -- Closes

    def close_writes(self, erasing: Erasing) -> None:
        close.close_writes(self.database, erasing)

    def reopen(self, erasing: Erasing) -> None:
        close.reopen(self.database, erasing)

    def closed(self, tenant: TenantId) -> bool:
        return close.closed(self.database, tenant)

    def forget(self, erasing: Erasing) -> None:
        close.forget(self.database, erasing)

    # -- Plants

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        return plant.plant(self.database, erasing, marker)

    # -- Searches

    #: A clean look has read everything that SQL shows; files of the server are not looked into.
    proves = Level.EXHAUSTIVE

    def verifier_findings(self) -> list[Finding]:
        return verifiercheck.verifier_findings(self.database)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return remaining.remaining(self.database, batch, check)

    def places(self) -> list[Place]:
        return self._eyes.places()

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return self._eyes.search(place, found, check)


def _database(store: Store) -> Database:
    """The other side of a pair; pairing by kind makes sure that it is one of ours."""
    if not isinstance(store, PostgresStore):
        raise TypeError(f"{store.name} is not a PostgreSQL store")
    return store.database
