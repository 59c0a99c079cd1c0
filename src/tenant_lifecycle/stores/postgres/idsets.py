"""The ids that other stores' templates are filled with, and the keys that rows name: read in one snapshot.

While a move runs, those of rows that were deleted meanwhile as well; see `knownids`.
"""

from __future__ import annotations

from psycopg import sql

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import IdSet, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres import knownids
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables


def ids(database: Database, tenant: TenantId) -> TenantIds:
    """All id sets, and all columns that name keys, of one tenant; every value as text, NULLs left out.

    What a move has to know of deleted rows is remembered by this call.

    Raises:
        StoreRejected: a set's table is not owned by tenants, or has no such column.
    """
    named = {
        family.named_in
        for key_map in database.map.keys.values()
        for family in key_map.families.values()
        if family.named_in is not None
    }
    if not database.map.ids and not named:
        return TenantIds()
    wanted = named | set(database.map.ids.values())
    with database.session() as conn:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            resolved = database.map.resolve(tenant, frozenset(read_tables(conn)))
            now = {id_set: _values(conn, database.name, resolved, id_set) for id_set in wanted}
            before = knownids.read(conn, tenant)
            known = _with_departed(conn, now, before or {})
        if before is not None:
            knownids.remember(conn, tenant, now, before)
    return TenantIds(
        {name: known[id_set] for name, id_set in database.map.ids.items()},
        {id_set: known[id_set] for id_set in named},
    )


def _with_departed(conn: Connection, now: knownids.Values, before: knownids.Values) -> knownids.Values:
    return {
        id_set: values | knownids.still_theirs(conn, id_set, before.get(id_set, frozenset()) - values)
        for id_set, values in now.items()
    }


def _values(conn: Connection, store: str, resolved: ResolvedMap, id_set: IdSet) -> frozenset[str]:
    if id_set.table not in resolved.moved:
        raise StoreRejected(
            f"{store}: ids are read from {id_set.table}, which no tenant owns or which is not there",
            store=store,
            next_step="correct the section ids, or named_in, of ownership.yaml",
        )
    columns = {row[0] for row in conn.execute(_COLUMNS, (id_set.table.schema, id_set.table.name)).fetchall()}
    if id_set.column not in columns:
        raise StoreRejected(
            f"{store}: {id_set.table} has no column {id_set.column!r}, which ids are read from",
            store=store,
            next_step="correct the section ids, or named_in, of ownership.yaml",
        )
    query = sql.SQL(
        "SELECT DISTINCT t.{column}::text FROM {table} t WHERE {owned} AND t.{column} IS NOT NULL"
    ).format(
        column=sql.Identifier(id_set.column),
        table=table_sql(id_set.table),
        owned=owned_rows(resolved, id_set.table, "t"),
    )
    return frozenset(str(value) for (value,) in conn.execute(query))


_COLUMNS = """
SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
