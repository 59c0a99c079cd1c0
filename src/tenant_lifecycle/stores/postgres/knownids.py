"""Ids that the tenant had while a move ran: a key of a row that was deleted meanwhile is still the tenant's.

Kept in the database that the rows were in, because a driver that was killed remembers nothing. An id that another
tenant has by now is theirs. What is not known: an id whose row was made and deleted while no driver looked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from psycopg import sql

from tenant_lifecycle.model.keymap import IdSet
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import table_sql

Values = Mapping[IdSet, frozenset[str]]
_INSTALLED = "SELECT to_regclass('tenant_lifecycle.known_id') IS NOT NULL"
_REMEMBER = """
INSERT INTO tenant_lifecycle.known_id (tenant, schema_name, table_name, column_name, value)
SELECT %(tenant)s, %(schema)s, %(table)s, %(column)s, v.value FROM unnest(%(values)s::text[]) v(value)
 WHERE EXISTS (SELECT FROM tenant_lifecycle.journaled j WHERE j.tenant = %(tenant)s)
   AND NOT EXISTS (SELECT FROM tenant_lifecycle.known_id k WHERE k.tenant = %(tenant)s AND k.schema_name = %(schema)s
                      AND k.table_name = %(table)s AND k.column_name = %(column)s AND k.value = v.value)
"""
_TYPE = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"


def read(conn: Connection, tenant: TenantId) -> Values | None:
    """What was remembered; None: this database remembers nothing."""
    if conn.execute(_INSTALLED).fetchone() != (True,):
        return None
    rows = conn.execute(
        "SELECT schema_name, table_name, column_name, value FROM tenant_lifecycle.known_id WHERE tenant = %s",
        (tenant,),
    )
    found: dict[IdSet, set[str]] = defaultdict(set)
    for schema, table, column, value in rows:
        found[IdSet(TableName(str(schema), str(table)), str(column))].add(str(value))
    return {id_set: frozenset(values) for id_set, values in found.items()}


def still_theirs(conn: Connection, id_set: IdSet, departed: frozenset[str]) -> frozenset[str]:
    """Of ids without a row of the tenant's, those that no row has."""
    if not departed:
        return departed
    table = table_sql(id_set.table)
    (kind,) = conn.execute(_TYPE, (table.as_string(conn), id_set.column)).fetchone() or ("text",)
    # Compared as what the column is, so that its index is used.
    query = sql.SQL(
        "SELECT DISTINCT t.{column}::text FROM {table} t WHERE t.{column} = ANY (%s::text[]::{kind}[])"
    )
    taken = conn.execute(
        query.format(column=sql.Identifier(id_set.column), table=table, kind=sql.SQL(str(kind))),
        (sorted(departed),),
    )
    return departed - {str(value) for (value,) in taken}


def remember(conn: Connection, tenant: TenantId, now: Values, before: Values) -> None:
    """Keep ids that are new, if a move of the tenant runs."""
    for id_set, values in now.items():
        new = values - before.get(id_set, frozenset())
        if new:
            conn.execute(
                _REMEMBER,
                {
                    "tenant": tenant,
                    "schema": id_set.table.schema,
                    "table": id_set.table.name,
                    "column": id_set.column,
                    "values": sorted(new),
                },
            )


def forget(conn: Connection, tenant: TenantId) -> None:
    """After the tenant's last move here; while another one runs, nothing is forgotten."""
    if conn.execute(_INSTALLED).fetchone() == (True,):
        conn.execute(
            "DELETE FROM tenant_lifecycle.known_id WHERE tenant = %(tenant)s "
            "AND NOT EXISTS (SELECT FROM tenant_lifecycle.journaled j WHERE j.tenant = %(tenant)s)",
            {"tenant": tenant},
        )
