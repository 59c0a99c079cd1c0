"""Deleting a tenant's slices: a partition of its own is dropped, others are written anew without it.

The text of a mutation stays on disk and in ``system.mutations``. So it names a table of ours in memory, where the
values are while it runs, and never a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.clickhouse.server import WAITING, name, quoted, rows
from tenant_lifecycle.stores.clickhouse.slices import (
    OURS,
    Map,
    Slice,
    drop_partition,
    is_partitioned_by,
    slices,
)
from tenant_lifecycle.stores.erasing import Erased, Refused

#: An item is there and is not the tenant's any more.
OWNER_CHANGED = "OWNER_CHANGED"


def erase(map_: Map, tenant: TenantId, batch: Batch, check: Check) -> Erased:
    """Delete the rows of the batch's slices, those that still are the tenant's."""
    check()
    with map_.server.session() as client:
        table = map_.tables(client).get(batch.set)
        if table is None:
            return Erased(0, len(batch.keys))
        rule = map_.rule_of(map_.resolve(tenant, {batch.set: table}), batch.set)
        if rule is None:
            raise StoreRejected(
                f"{map_.server.name}: {batch.set} has no rule any more",
                store=map_.server.name,
                next_step="the ownership map changed; plan the erasure again",
            )
        wanted = {(one.partition, one.value): key for key in batch.keys for one in [Slice.of(key)]}
        values = sorted({value for _, value in wanted})
        there = {(one.partition, one.value) for one in slices(client, table.name, rule.column, values)}
        present = {where: key for where, key in wanted.items() if where in there}
        mine = {where for where in present if where[1] in rule.values}
        if batch.method is Method.DROP and is_partitioned_by(table, rule.column):
            for partition in sorted({partition for partition, _ in mine}):
                check()
                client.command(drop_partition(table.name, partition), settings=WAITING)
        elif mine:
            _rewrite(client, map_, table.name, rule.column, sorted({value for _, value in mine}))
    refused = tuple(Refused(key, OWNER_CHANGED) for where, key in present.items() if where not in mine)
    return Erased(len(mine), len(batch.keys) - len(present), refused)


def _rewrite(client: Client, map_: Map, table: str, column: str, values: Sequence[str]) -> None:
    engine = rows(
        client, "SELECT engine FROM system.tables WHERE database || '.' || name = {t:String}", {"t": table}
    )
    if str(engine[0][0]).startswith("Replicated"):
        # Another replica would look into a table in memory of its own, which is empty.
        raise StoreRejected(
            f"{map_.server.name}: {table} is replicated and not partitioned by {column}; its mutation would have to name "
            "the tenant in a text that stays",
            store=map_.server.name,
            next_step=f"partition it by {column}, or delete by hand and wait for the mutation's text to be removed",
        )
    with _named(client, values) as doomed_values:
        client.command(
            f"ALTER TABLE {quoted(table)} DELETE WHERE toString({name(column)}) IN (SELECT value FROM {doomed_values})",
            settings=WAITING,
        )


@contextmanager
def _named(client: Client, values: Sequence[str]) -> Iterator[str]:
    """A table in memory with the values, gone afterwards."""
    table = f"{OURS}.doomed"
    client.command(f"CREATE DATABASE IF NOT EXISTS {OURS}")
    client.command(f"DROP TABLE IF EXISTS {table} SYNC")
    client.command(f"CREATE TABLE {table} (value String) ENGINE = Memory")
    try:
        for first in range(0, len(values), 200):
            client.command(
                f"INSERT INTO {table} SELECT arrayJoin({{values:Array(String)}})",
                parameters={"values": list(values[first : first + 200])},
            )
        yield table
    finally:
        client.command(f"DROP TABLE IF EXISTS {table} SYNC")
