"""Deleting the items of a manifest: by key, only those that still are the tenant's, and as ours.

Triggers and rules of the application do not fire, so that none of them writes the deleted row elsewhere; foreign
keys are not checked either, which is why `erasurecheck` refuses while rows of others refer to the tenant's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import sql

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.ownership import ResolvedMap, Whole
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erased, Erasing, Refused
from tenant_lifecycle.stores.postgres import erasable, largeobjects
from tenant_lifecycle.stores.postgres.close import LANE, take_over
from tenant_lifecycle.stores.postgres.comparison import Side
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.dependents import refuse_outside_dependents
from tenant_lifecycle.stores.postgres.erasable import RowSet
from tenant_lifecycle.stores.postgres.fingerprints import read_forms
from tenant_lifecycle.stores.postgres.keyarrays import key_arrays, key_fields, key_matches, keys_sql
from tenant_lifecycle.stores.postgres.locking import patiently
from tenant_lifecycle.stores.postgres.ours import Writer, writing
from tenant_lifecycle.stores.postgres.owned import exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.partitions import of_one_tenant
from tenant_lifecycle.stores.postgres.rawsql import cursor_of, fetch
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

#: How long the lock of a relation that is dropped is asked for.
DROP_BUDGET_S = 30.0
#: The item is there and is not the tenant's any more: deleting it would take something from somebody else.
OWNER_CHANGED = "OWNER_CHANGED"


def erase(database: Database, erasing: Erasing, batch: Batch, check: Check) -> Erased:
    """Delete the batch's items in one transaction, or drop what they are all of.

    Raises:
        Fenced: a newer driver was here.
        StoreBusy: a lock was not free; nothing of the batch is deleted.
    """
    check()
    with database.session() as conn:
        writer = take_over(conn, erasing)
        if batch.set == erasable.PLANTED:
            return _planted(conn, writer, erasing, batch)
        schema = erasable.schema_of(batch.set)
        if schema is not None:
            return _schema(conn, database, schema, batch)
        tables = read_tables(conn)
        resolved = database.map.resolve(erasing.tenant, frozenset(tables))
        if batch.set == erasable.LARGE_OBJECTS:
            with writing(conn, writer, LANE):
                found = largeobjects.doomed_objects(
                    conn, resolved, tables, [erasable.object_number(key) for key in batch.keys]
                )
                deleted = largeobjects.unlink(conn, found)
            return Erased(deleted, len(batch.keys) - deleted)
        rows = erasable.row_sets(tables).get(batch.set)
        if rows is None:
            # The relation is gone: dropped by an earlier batch of the set, or by somebody else.
            return Erased(0, len(batch.keys))
        if batch.method is Method.DROP:
            return _drop(conn, database, resolved, rows, batch)
        if not rows.table.key:
            return _keyless(conn, writer, resolved, rows.table, batch)
        return _rows(conn, writer, resolved, rows.table, batch)


def _rows(conn: Connection, writer: Writer, resolved: ResolvedMap, table: Table, batch: Batch) -> Erased:
    side = _side(conn, resolved, table)
    arrays = key_arrays(side, key_fields(batch.keys, len(table.key)))
    delete = sql.SQL("DELETE FROM {table} t USING {keys} WHERE {same} AND ({owned})").format(
        table=table_sql(table.name), keys=keys_sql(side), same=key_matches(side, "t"), owned=side.owned
    )
    with writing(conn, writer, LANE):
        with cursor_of(conn) as cursor:
            deleted = cursor.execute(delete, arrays).rowcount
        if deleted == len(batch.keys):
            return Erased(deleted, 0)
        still = sql.SQL("SELECT k.i FROM {keys} JOIN {table} t ON {same}").format(
            keys=keys_sql(side), table=table_sql(table.name), same=key_matches(side, "t")
        )
        kept = fetch(conn, still, arrays)
    refused = tuple(Refused(batch.keys[number - 1], OWNER_CHANGED) for (number,) in kept)
    return Erased(deleted, len(batch.keys) - deleted - len(refused), refused)


def _side(conn: Connection, resolved: ResolvedMap, table: Table) -> Side:
    forms = read_forms(conn, [table])[table.oid]
    return Side(table, tuple(forms[name] for name in table.key), (), _owned(resolved, table), None)


def _owned(resolved: ResolvedMap, table: Table) -> sql.Composable:
    if table.name in resolved.shared:
        return exclusive_people(resolved, table.name, "t")
    if table.name in resolved.owned:
        return owned_rows(resolved, table.name, "t")
    return sql.SQL("false")


def _keyless(conn: Connection, writer: Writer, resolved: ResolvedMap, table: Table, batch: Batch) -> Erased:
    """Delete as many of the rows with each digest as the batch has keys of it."""
    delete = sql.SQL(
        "DELETE FROM {table} d USING (SELECT t.tableoid AS part, t.ctid AS place, {digest} AS digest, "
        "row_number() OVER (PARTITION BY {digest}) AS number FROM {table} t WHERE ({owned}) "
        "AND {digest} = ANY ($1::bytea[])) r "
        "JOIN (SELECT w AS digest, count(*) AS wanted FROM unnest($1::bytea[]) w GROUP BY w) w "
        "ON w.digest = r.digest AND r.number <= w.wanted WHERE d.tableoid = r.part AND d.ctid = r.place"
    ).format(table=table_sql(table.name), digest=erasable.row_digest("t"), owned=_owned(resolved, table))
    digests: Sequence[bytes] = [erasable.keyless_digest(key) for key in batch.keys]
    with writing(conn, writer, LANE):
        with cursor_of(conn) as cursor:
            deleted = cursor.execute(delete, [digests]).rowcount
    return Erased(deleted, len(batch.keys) - deleted)


def _drop(conn: Connection, database: Database, resolved: ResolvedMap, rows: RowSet, batch: Batch) -> Erased:
    """Drop the relation that the batch's items are in; batches that follow find it gone."""
    name = rows.table.name
    if rows.partition is None:
        alone = isinstance(resolved.owned.get(name), Whole)
        refuse_outside_dependents(conn, database, name)
    else:
        alone = rows.partition in [one.name for one in of_one_tenant(conn, resolved, rows.table)]
    if not alone:
        raise StoreRejected(
            f"{database.name}: {rows.relation} is not the tenant's alone any more",
            store=database.name,
            next_step="the table or the ownership map changed; plan the erasure again",
        )
    # CASCADE takes constraints and views inside the tenant's own schema; those outside were refused.
    drop = "DROP TABLE IF EXISTS {}" if rows.partition else "DROP TABLE IF EXISTS {} CASCADE"
    patiently(
        conn, database.name, rows.relation,
        [sql.SQL(drop).format(table_sql(rows.relation))],
        time.monotonic() + DROP_BUDGET_S,
    )  # fmt: skip
    return Erased(len(batch.keys), 0)


def _schema(conn: Connection, database: Database, schema: str, batch: Batch) -> Erased:
    """Drop what is left of a tenant's schema: functions, types, views, and tables that were empty."""
    there = conn.execute("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", (schema,)).fetchone()
    if there != (True,):
        return Erased(0, len(batch.keys))
    refuse_outside_dependents(conn, database, schema)
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '2s'")
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    return Erased(len(batch.keys), 0)


def _planted(conn: Connection, writer: Writer, erasing: Erasing, batch: Batch) -> Erased:
    with writing(conn, writer, LANE):
        deleted = conn.execute(
            "DELETE FROM tenant_lifecycle.planted WHERE tenant = %s AND id = ANY (%s)",
            (erasing.tenant, [erasable.object_number(key) for key in batch.keys]),
        ).rowcount
    return Erased(deleted, len(batch.keys) - deleted)
