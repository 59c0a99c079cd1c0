"""Everything of a tenant in one database, frozen: read as one snapshot, in the order in which it has to go.

Large objects first, while rows still say whose they are; then rows, children before parents, people before the
memberships that name them, the root last; then a schema that was the tenant's alone. What is the tenant's alone as
a whole (a partition for one tenant, tables of its schema) is dropped, and its keys are listed all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import ResolvedMap, Whole
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres import erasable
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER
from tenant_lifecycle.stores.postgres.largeobjects import doomed_objects
from tenant_lifecycle.stores.postgres.owned import columns_sql, exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.partitions import of_one_tenant
from tenant_lifecycle.stores.postgres.remove import deletion_order
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

BATCH_KEYS = 5_000


@dataclass(frozen=True, slots=True)
class _Reading:
    """One snapshot of one database, with the map applied to it."""

    conn: Connection
    resolved: ResolvedMap
    batch_keys: int
    check: Check

    def batches(self, set_name: str, method: Method, keys: Iterable[bytes]) -> Iterator[Batch]:
        """The keys in pieces of bounded size."""
        piece: list[bytes] = []
        for key in keys:
            piece.append(key)
            if len(piece) == self.batch_keys:
                self.check()
                yield Batch(set_name, method, tuple(piece))
                piece = []
        if piece:
            yield Batch(set_name, method, tuple(piece))


def doomed(
    database: Database, tenant: TenantId, check: Check, batch_keys: int = BATCH_KEYS
) -> Iterator[Batch]:
    """Everything of the tenant here; memory is bounded by one batch. Changes nothing.

    The snapshot stays open while the caller takes its time: what others delete meanwhile stays on disk.
    """
    with translating(database.name), database.connect("erasure manifest") as conn, conn.transaction():
        conn.execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            "SET LOCAL idle_in_transaction_session_timeout = '10min'"
        )
        tables = read_tables(conn)
        resolved = database.map.resolve(tenant, frozenset(tables))
        reading = _Reading(conn, resolved, batch_keys, check)
        objects = doomed_objects(conn, resolved, tables)
        yield from reading.batches(erasable.LARGE_OBJECTS, Method.DELETE, map(erasable.object_key, objects))
        yield from reading.batches(erasable.PLANTED, Method.DELETE, _planted(conn, tenant))
        for name in deletion_order(resolved):
            check()
            yield from _rows(reading, tables[name])
        schema = own_schema(conn, database, resolved)
        if schema is not None:
            yield Batch(erasable.set_of_schema(schema), Method.DROP, (schema.encode(),))


def own_schema(conn: Connection, database: Database, resolved: ResolvedMap) -> str | None:
    """The schema that is the tenant's alone with everything in it, if it is there."""
    template = database.map.schema_template
    if template is None:
        return None
    schema = template.replace("{tenant}", resolved.tenant)
    others = [
        name for name in (*resolved.ignored, *resolved.unmapped, *resolved.shared) if name.schema == schema
    ]
    others += [n for n, rule in resolved.owned.items() if n.schema == schema and not isinstance(rule, Whole)]
    there = conn.execute("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", (schema,)).fetchone()
    return schema if there == (True,) and not others else None


def _rows(reading: _Reading, table: Table) -> Iterator[Batch]:
    """A table's rows: partitions that are dropped first, then what is deleted."""
    resolved, name = reading.resolved, table.name
    if isinstance(resolved.owned.get(name), Whole):
        keys = _keys(reading, table, name, sql.SQL("true"))
        yield from reading.batches(erasable.set_of(name), Method.DROP, keys)
        return
    condition = (
        exclusive_people(resolved, name, "t") if name in resolved.shared else owned_rows(resolved, name, "t")
    )
    alone = of_one_tenant(reading.conn, resolved, table)
    for partition in alone:
        keys = _keys(reading, table, partition.name, sql.SQL("true"))
        yield from reading.batches(erasable.set_of(name, partition.name), Method.DROP, keys)
    if alone:
        condition = sql.SQL("({}) AND t.tableoid <> ALL ({}::oid[])").format(
            condition, sql.Literal([partition.oid for partition in alone])
        )
    keys = _keys(reading, table, name, condition)
    yield from reading.batches(erasable.set_of(name), Method.DELETE, keys)


def _keys(reading: _Reading, table: Table, relation: TableName, condition: sql.Composable) -> Iterator[bytes]:
    if not table.key:
        yield from _keyless(reading.conn, relation, condition)
        return
    query = sql.SQL("COPY (SELECT {} FROM {} t WHERE {}) TO STDOUT (FORMAT BINARY)").format(
        columns_sql(table.key, "t"), table_sql(relation), condition
    )
    with reading.conn.cursor().copy(query) as stream:
        for message in stream:
            row = bytes(message).removeprefix(COPY_HEADER)
            if row and row != COPY_TRAILER:
                yield row


def _keyless(conn: Connection, relation: TableName, condition: sql.Composable) -> Iterator[bytes]:
    query = sql.SQL(
        "SELECT d.digest, row_number() OVER (PARTITION BY d.digest) "
        "FROM (SELECT {} AS digest FROM {} t WHERE {}) d ORDER BY 1, 2"
    ).format(erasable.row_digest("t"), table_sql(relation), condition)
    with conn.cursor(name="tl_keyless") as cursor:
        cursor.itersize = BATCH_KEYS
        for digest, number in cursor.execute(query):
            assert isinstance(digest, bytes) and isinstance(number, int)
            yield erasable.keyless_key(digest, number)


def _planted(conn: Connection, tenant: TenantId) -> Iterator[bytes]:
    if conn.execute("SELECT to_regclass('tenant_lifecycle.planted')").fetchone() == (None,):
        return
    query = "SELECT id FROM tenant_lifecycle.planted WHERE tenant = %s ORDER BY id"
    for (number,) in conn.execute(query, (tenant,)):
        assert isinstance(number, int)
        yield erasable.object_key(number)
