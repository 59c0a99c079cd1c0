"""Reading a base: every row of one tenant, table by table, in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.backup.facts import read_facts
from tenant_lifecycle.stores.postgres.backup.form import in_key_order, items_of
from tenant_lifecycle.stores.postgres.backup.room import take_room
from tenant_lifecycle.stores.postgres.backup.shapes import refuse_uncoverable, refuse_unmapped, shapes_of
from tenant_lifecycle.stores.postgres.backup.snapshot import seeing_one_moment
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.copy import CHECK_EVERY_BYTES, read_blocks
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables


@dataclass(slots=True)
class Reading:
    """A base that is being read; see `stores.backing.BaseReading`.

    One set at a time: an iterator of `items` has to be read to its end, or the base ends with it.
    """

    at_us: int
    snapshot: Snapshot | None
    shapes: Mapping[str, Shape]
    facts: Mapping[str, Any]
    _store: str = field(repr=False)
    _conn: Connection = field(repr=False)
    _resolved: ResolvedMap = field(repr=False)
    _names: Mapping[str, TableName] = field(repr=False)
    _check: Check = field(repr=False)

    def items(self, set_name: str) -> Iterator[Item]:
        """Every row, ordered by key bytes (by content, where there is no key)."""
        if set_name not in self.shapes:
            raise UsageError(f"{self._store} has no set {set_name}", next_step="ask for one of its shapes")
        name = self._names[set_name]
        shape = self.shapes[set_name]
        rows = select_rows(shape, table_sql(name), owned_rows(self._resolved, name, "t"))
        return items_of(shape, checked(read_blocks(self._store, self._conn, rows), self._check))


@contextmanager
def read_base(
    database: Database, tenant: TenantId, check: Check, version_query: str | None = None
) -> Iterator[Reading]:
    """Everything of the tenant as it was when this was entered; writes go on, and wait for nothing of ours.

    Raises:
        UnmappedData: a table has no rule.
        StoreRejected: a table is unlogged, names large objects, or row security hides rows.
        StoreBusy: see `seeing_one_moment`.
    """
    with seeing_one_moment(database) as (conn, moment):
        with translating(database.name):
            take_room(conn)
            tables = read_tables(conn)
            resolved = database.map.resolve(tenant, frozenset(tables))
            refuse_unmapped(database.name, resolved)
            refuse_uncoverable(database.name, resolved, tables)
            facts = read_facts(conn, tables, resolved.moved, version_query)
        yield Reading(
            at_us=moment.at_us,
            snapshot=moment.snapshot,
            shapes=shapes_of(resolved, tables),
            facts=facts,
            _store=database.name,
            _conn=conn,
            _resolved=resolved,
            _names={str(name): name for name in resolved.moved},
            _check=check,
        )


def select_rows(shape: Shape, relation: sql.Composable, condition: sql.Composable) -> sql.Composed:
    """COPY of the rows ``t`` of a relation as lines, in key order."""
    return sql.SQL(
        "COPY (SELECT {columns} FROM {relation} t WHERE {condition} ORDER BY {order}) TO STDOUT"
    ).format(
        columns=columns_sql(tuple(column.name for column in shape.columns), "t"),
        relation=relation,
        condition=condition,
        order=in_key_order(shape, "t"),
    )


def checked(blocks: Iterator[bytes], check: Check) -> Iterator[bytes]:
    """The same blocks; ``check`` is asked now and then."""
    unchecked = 0
    for block in blocks:
        yield block
        unchecked += len(block)
        if unchecked >= CHECK_EVERY_BYTES:
            unchecked = 0
            check()
