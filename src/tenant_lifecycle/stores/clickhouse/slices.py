"""What a manifest names here: slices, the rows of one partition that have one value in the deciding column.

Rows of a columnar store have no key, and a deletion rewrites whole parts; so what is frozen is where the tenant's
rows are and how many. A key is JSON: partition, value, rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.tablemap import OwnedTable, ResolvedTables
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.clickhouse.server import UNMASKED, Server, literal, name, quoted, rows

OURS = "tenant_lifecycle"
PLANTED = f"{OURS}.planted"
#: Tables that hold no rows of their own.
_VIEWS = ("View", "MaterializedView", "LiveView", "WindowView", "Distributed", "Merge", "Dictionary")
BATCH_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class Table:
    """One table with rows of its own."""

    name: str
    engine: str
    partition_key: str
    #: Average size of a row in bytes.
    row_bytes: float

    @property
    def can_delete(self) -> bool:
        return self.engine.endswith("MergeTree")


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of one partition with one value."""

    partition: str
    value: str
    rows: int

    def key(self) -> bytes:
        return json.dumps([self.partition, self.value, self.rows], ensure_ascii=False).encode()

    @classmethod
    def of(cls, key: bytes) -> Slice:
        partition, value, count = json.loads(key)
        return cls(str(partition), str(value), int(count))


@dataclass(frozen=True, slots=True)
class Map:
    """A server's tables under the rules of one store."""

    server: Server
    rules: KeyMap
    ids: IdSource

    def tables(self, client: Client) -> dict[str, Table]:
        """Tables with rows in the store's database, and our own."""
        query = (
            "SELECT database || '.' || name, engine, partition_key, coalesce(total_bytes / nullIf(total_rows, 0), 0) "
            "FROM system.tables WHERE (database = {database:String} OR (database = {ours:String} AND name = 'planted')) "
            "AND NOT has({views:Array(String)}, engine) AND NOT is_temporary ORDER BY 1"
        )
        found = rows(client, query, {"database": self.server.database, "ours": OURS, "views": list(_VIEWS)})
        return {str(n): Table(str(n), str(e), str(p), float(str(b))) for n, e, p, b in found}

    def resolve(self, tenant: TenantId, tables: dict[str, Table]) -> ResolvedTables:
        """The rules applied to them."""
        present = [one for one in tables if one != PLANTED]
        return self.rules.resolve_tables(tenant, self.ids(tenant), present)

    def rule_of(self, resolved: ResolvedTables, table: str) -> OwnedTable | None:
        """The rule of a table; None if its rows are nobody's."""
        if table == PLANTED:
            return OwnedTable("tenant", frozenset({resolved.tenant}))
        return resolved.owned.get(table)


def doomed(map_: Map, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """The tenant's slices; partitions that are the tenant's alone by their key are dropped, others rewritten."""
    with map_.server.session() as client:
        tables = map_.tables(client)
        resolved = map_.resolve(tenant, tables)
        for table in tables.values():
            check()
            rule = map_.rule_of(resolved, table.name)
            if rule is None or not rule.values:
                continue
            found = slices(client, table.name, rule.column, sorted(rule.values))
            method = Method.DROP if is_partitioned_by(table, rule.column) else Method.REWRITE
            for first in range(0, len(found), BATCH_KEYS):
                piece = found[first : first + BATCH_KEYS]
                size = int(sum(one.rows for one in piece) * table.row_bytes)
                yield Batch(table.name, method, tuple(one.key() for one in piece), size)


def is_partitioned_by(table: Table, column: str) -> bool:
    """Whether a partition can hold one value of the column only."""
    return table.partition_key in (column, name(column), f"({column})", f"tuple({column})")


def slices(client: Client, table: str, column: str, values: list[str]) -> list[Slice]:
    """Where rows with these values are, rows that are only hidden included."""
    found: list[Slice] = []
    query = (
        f"SELECT _partition_id, toString({name(column)}) AS v, count() FROM {quoted(table)} "
        f"WHERE has({{values:Array(String)}}, toString({name(column)})) GROUP BY 1, 2 ORDER BY 1, 2"
    )
    # Parameters travel in an address, which may not be long.
    for first in range(0, len(values), 200):
        answer = rows(client, query, {"values": values[first : first + 200]}, UNMASKED)
        found += [Slice(str(partition), str(value), int(str(count))) for partition, value, count in answer]
    return found


def drop_partition(table: str, partition: str) -> str:
    """The statement that drops a partition, by the server's own name for it."""
    return f"ALTER TABLE {quoted(table)} DROP PARTITION ID {literal(partition)}"
