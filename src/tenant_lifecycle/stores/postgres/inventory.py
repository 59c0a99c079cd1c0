"""Who is here, and how much of it: tenants, and their rows table by table."""

from __future__ import annotations

import re

import psycopg
from psycopg import sql

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Root
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

#: A count of a table with more rows than this is estimated unless an exact one is asked for.
COUNTED_ROWS = 200_000
#: Most tenants that are listed.
MOST_TENANTS = 10_000


def tenants(database: Database) -> list[TenantId]:
    """Ids of the tenants here: rows of the root table, and schemas after the template."""
    found: set[str] = set()
    with database.session() as conn:
        root = database.map.root
        if root is not None and root in read_tables(conn):
            rule = database.map.tables[root]
            assert isinstance(rule, Root)
            query = sql.SQL("SELECT {}::text FROM {} ORDER BY 1 LIMIT {}").format(
                sql.Identifier(rule.column), table_sql(root), sql.Literal(MOST_TENANTS)
            )
            found |= {str(id) for (id,) in conn.execute(query)}
        if database.map.schema_template is not None:
            pattern = re.escape(database.map.schema_template).replace(re.escape("{tenant}"), "(.+)")
            schemas = conn.execute("SELECT nspname FROM pg_namespace").fetchall()
            found |= {match[1] for (name,) in schemas if (match := re.fullmatch(pattern, str(name)))}
    return [TenantId(id) for id in sorted(found)][:MOST_TENANTS]


def holds(database: Database, tenant: TenantId) -> bool:
    """Whether the tenant's root row or schema is here; a per-tenant database holds whoever it is opened for."""
    with database.session() as conn:
        tables = read_tables(conn)
        resolved = database.map.resolve(tenant, frozenset(tables))
        root = database.map.root
        if root is not None and root in tables:
            query = sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(
                table_sql(root), owned_rows(resolved, root, "t")
            )
            try:
                return bool((conn.execute(query).fetchone() or (False,))[0])
            except psycopg.DataError:
                # Not even of the type of the id column, so nobody's id.
                return False
        return any(table not in database.map.tables for table in resolved.owned)


def inventory(database: Database, tenant: TenantId, *, exact: bool) -> list[SetSize]:
    """Rows and bytes of the tenant, table by table; counts of big tables are the planner's unless ``exact``.

    Bytes are always estimated: the tenant's share of the table, indexes and TOAST included.

    Raises:
        UnmappedData: a table has no rule.
    """
    with database.session() as conn:
        tables = read_tables(conn)
        resolved = database.map.resolve(tenant, frozenset(tables))
        if resolved.unmapped:
            names = ", ".join(str(name) for name in sorted(resolved.unmapped))
            raise UnmappedData(
                f"{database.name}: no rule in ownership.yaml for {names}",
                next_step="tenantctl map discover proposes rules",
            )
        return [_size(conn, tables[name], owned_rows(resolved, name, "t"), exact) for name in resolved.moved]


def _size(conn: Connection, table: Table, condition: sql.Composable, exact: bool) -> SetSize:
    counted = exact or 0 <= table.estimated_rows <= COUNTED_ROWS
    rows = _count(conn, table.name, condition) if counted else _estimate(conn, table.name, condition)
    share = rows / max(table.estimated_rows, rows, 1)
    return SetSize(str(table.name), rows, int(table.bytes * share), counted)


def _count(conn: Connection, table: TableName, condition: sql.Composable) -> int:
    query = sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(table_sql(table), condition)
    (rows,) = conn.execute(query).fetchone() or (0,)
    return int(str(rows))


def _estimate(conn: Connection, table: TableName, condition: sql.Composable) -> int:
    query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {} t WHERE {}").format(table_sql(table), condition)
    (plan,) = conn.execute(query).fetchone() or ([],)
    assert isinstance(plan, list)
    return int(plan[0]["Plan"]["Plan Rows"])
