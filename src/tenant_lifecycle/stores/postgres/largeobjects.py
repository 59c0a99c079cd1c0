"""Large objects that only a tenant's rows name.

A large object belongs to nobody by itself: a column of type ``oid`` or ``lo`` says whose it is. One that a row of
somebody else names too is not the tenant's alone, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import Column, Table


def doomed_objects(
    conn: Connection, resolved: ResolvedMap, tables: Mapping[TableName, Table], among: list[int] | None = None
) -> list[int]:
    """Numbers of the large objects, in order, that rows of the tenant name and no other row does.

    ``among``: only these are asked about.
    """
    naming = [
        (table, column) for table in tables.values() for column in table.columns if names_objects(column)
    ]
    mine = [_named(resolved, table, column, mine=True) for table, column in naming if _owned(resolved, table)]
    if not mine:
        return []
    others = [_named(resolved, table, column, mine=False) for table, column in naming]
    query = sql.SQL(
        "SELECT m.oid::int8 FROM pg_largeobject_metadata m WHERE m.oid IN ({mine}) AND m.oid NOT IN ({others}) "
        "AND ({among}::oid[] IS NULL OR m.oid = ANY ({among}::oid[])) ORDER BY 1"
    ).format(
        mine=sql.SQL(" UNION ALL ").join(mine),
        others=sql.SQL(" UNION ALL ").join(others),
        among=sql.Literal(among),
    )
    return [int(str(oid)) for (oid,) in conn.execute(query)]


def names_objects(column: Column) -> bool:
    """Whether a column's values can be large objects."""
    return column.type in ("oid", "lo") or column.type.endswith(".lo")


def _owned(resolved: ResolvedMap, table: Table) -> bool:
    return table.name in resolved.owned or table.name in resolved.shared


def _named(resolved: ResolvedMap, table: Table, column: Column, *, mine: bool) -> sql.Composable:
    """SELECT of the numbers that rows of the tenant, or all the others', name in a column."""
    name = table.name
    if not _owned(resolved, table):
        condition: sql.Composable = sql.SQL("false")
    elif name in resolved.shared:
        condition = exclusive_people(resolved, name, "t")
    else:
        condition = owned_rows(resolved, name, "t")
    if not mine:
        condition = sql.SQL("({}) IS NOT TRUE").format(condition)
    return sql.SQL("SELECT t.{c}::oid FROM {t} t WHERE t.{c} IS NOT NULL AND {condition}").format(
        c=sql.Identifier(column.name), t=table_sql(name), condition=condition
    )


def unlink(conn: Connection, objects: list[int]) -> int:
    """Delete large objects that are there; returns how many."""
    # The list comes from `doomed_objects`. A condition beside lo_unlink might be evaluated after it.
    (count,) = conn.execute("SELECT count(lo_unlink(o)) FROM unnest(%s::oid[]) o", (objects,)).fetchone() or (
        0,
    )
    return int(str(count))
