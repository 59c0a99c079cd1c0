"""A tenant's rows in analytics: counted, frozen into a manifest, deleted by it, and asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.errors import StoreRejected, UnmappedData
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.tablemap import OwnedTable, ResolvedTables, TableRule
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.duckdb.keys import BATCH_KEYS, numbered, still_there
from tenant_lifecycle.stores.erasing import Erased, Refused

#: An item is there and is not the tenant's any more.
OWNER_CHANGED = "OWNER_CHANGED"
_OURS = TableRule("tenant")


class Layout(Protocol):
    """A database file, or a folder of Parquet files."""

    @property
    def store(self) -> str: ...
    def sets(self) -> list[str]: ...
    def table_of(self, set_name: str) -> str: ...
    def columns(self, set_name: str) -> list[str]: ...
    def count(self, set_name: str, rule: OwnedTable) -> int: ...
    def digests(self, set_name: str, rule: OwnedTable) -> Iterator[str]: ...
    def there(self, set_name: str, keys: tuple[bytes, ...]) -> Counter[str]: ...
    def delete(self, set_name: str, rule: OwnedTable, keys: tuple[bytes, ...]) -> int: ...
    def plant(self, tenant: str, marker: str) -> int: ...
    def settle(self, sets: list[str]) -> tuple[list[str], list[str]]: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """One store's rows under its rules."""

    layout: Layout
    rules: KeyMap
    ids: IdSource
    #: Name of the set that holds our markers.
    planted: str
    method: Method

    def resolve(self, tenant: TenantId) -> ResolvedTables:
        """The rules applied to the tables that exist now."""
        tables = {self.layout.table_of(one) for one in self.layout.sets() if one != self.planted}
        return self.rules.resolve_tables(tenant, self.ids(tenant), sorted(tables))

    def rule_of(self, resolved: ResolvedTables, set_name: str) -> OwnedTable | None:
        """The rule of a set; None if its rows are nobody's."""
        if set_name == self.planted:
            return _OURS.resolve(resolved.tenant, {})
        return resolved.owned.get(self.layout.table_of(set_name))

    def sizes(self, tenant: TenantId) -> list[SetSize]:
        """Rows of the tenant by set, counted.

        Raises:
            UnmappedData: a table has no rule.
        """
        resolved = self.resolve(tenant)
        if resolved.unmapped:
            raise UnmappedData(
                f"{self.layout.store}: no rule in ownership.yaml for {', '.join(sorted(resolved.unmapped))}",
                next_step="add them under stores, to tables or to global",
            )
        found = ((one, self.rule_of(resolved, one)) for one in self.layout.sets())
        return [
            SetSize(one, self.layout.count(one, rule), 0, True) for one, rule in found if rule is not None
        ]

    def doomed(self, tenant: TenantId, check: Check, batch_keys: int = BATCH_KEYS) -> Iterator[Batch]:
        """The tenant's rows, set by set; writes must be over, for each set is a snapshot of its own."""
        resolved = self.resolve(tenant)
        for set_name in self.layout.sets():
            check()
            rule = self.rule_of(resolved, set_name)
            if rule is not None and rule.values:
                yield from self._batches(set_name, rule, batch_keys)

    def _batches(self, set_name: str, rule: OwnedTable, batch_keys: int) -> Iterator[Batch]:
        piece: list[bytes] = []
        for key in numbered(self.layout.digests(set_name, rule)):
            piece.append(key)
            if len(piece) == batch_keys:
                yield Batch(set_name, self.method, tuple(piece))
                piece = []
        if piece:
            yield Batch(set_name, self.method, tuple(piece))

    def erase(self, tenant: TenantId, batch: Batch, check: Check) -> Erased:
        """Delete the batch's rows, those that still are the tenant's."""
        check()
        if batch.set not in self.layout.sets():
            return Erased(0, len(batch.keys))
        rule = self.rule_of(self.resolve(tenant), batch.set)
        if rule is None:
            raise StoreRejected(
                f"{self.layout.store}: {batch.set} has no rule any more",
                store=self.layout.store,
                next_step="the ownership map changed; plan the erasure again",
            )
        deleted = self.layout.delete(batch.set, rule, batch.keys)
        kept = self.remaining(batch) if deleted < len(batch.keys) else frozenset()
        return Erased(
            deleted,
            len(batch.keys) - deleted - len(kept),
            tuple(Refused(key, OWNER_CHANGED) for key in sorted(kept)),
        )

    def remaining(self, batch: Batch) -> frozenset[bytes]:
        """Keys of the batch whose rows are there."""
        return still_there(batch.keys, self.layout.there(batch.set, batch.keys))
