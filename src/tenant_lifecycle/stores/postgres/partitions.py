"""Partitions that hold one tenant's rows and can hold nobody else's: they are dropped instead of emptied."""

from __future__ import annotations

from dataclasses import dataclass

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, ResolvedMap, Root
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.tables import Table


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, right under its table."""

    name: TableName
    oid: int


#: Bounds are compared as the server prints them, quoted by the server itself; unquoted only where they are numbers,
#: or the id ``NULL`` would spell the partition of nobody. A bound that is printed in another way (an escape string)
#: is not recognised, and then rows are deleted, which is as right and only slower.
_ALONE = """
SELECT n.nspname::text, c.relname::text, c.oid::int8
  FROM pg_partitioned_table p JOIN pg_inherits i ON i.inhparent = p.partrelid
  JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] AND a.attname = %(column)s
 WHERE p.partrelid = %(root)s AND p.partstrat = 'l' AND p.partnatts = 1 AND c.relkind = 'r'
   AND pg_get_expr(c.relpartbound, c.oid) = format('FOR VALUES IN (%%s)',
           CASE WHEN %(tenant)s ~ '^[0-9]+$' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
                THEN %(tenant)s ELSE quote_literal(%(tenant)s) END)
 ORDER BY 1, 2
"""


def of_one_tenant(conn: Connection, resolved: ResolvedMap, table: Table) -> list[Partition]:
    """Partitions whose bound is the tenant's id in the column that decides, and nothing else."""
    rule = resolved.owned.get(table.name)
    if table.kind != "p" or not isinstance(rule, Root | Direct):
        return []
    values = {"root": table.oid, "column": rule.column, "tenant": resolved.tenant}
    found = conn.execute(_ALONE, values).fetchall()
    return [Partition(TableName(str(schema), str(name)), int(str(oid))) for schema, name, oid in found]
