"""What outside a tenant's schema depends on something inside it, and would go with it."""

from __future__ import annotations

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database

_OUTSIDE = """
WITH inside AS (
    SELECT c.oid, c.relnamespace FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND (%(table)s::text IS NULL OR c.relname = %(table)s)),
depending AS (
    SELECT w.ev_class AS oid FROM inside i
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = i.oid
                      AND d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite w ON w.oid = d.objid
    UNION SELECT k.conrelid FROM inside i JOIN pg_constraint k ON k.confrelid = i.oid AND k.contype = 'f'
    UNION SELECT h.inhrelid FROM inside i JOIN pg_inherits h ON h.inhparent = i.oid
    UNION SELECT c.oid FROM pg_namespace n JOIN pg_type t ON t.typnamespace = n.oid AND n.nspname = %(schema)s
            JOIN pg_attribute a ON a.atttypid = t.oid AND NOT a.attisdropped JOIN pg_class c ON c.oid = a.attrelid
           WHERE %(table)s::text IS NULL AND c.relkind IN ('r', 'p', 'm', 'v'))
SELECT DISTINCT n.nspname || '.' || c.relname FROM depending d JOIN pg_class c ON c.oid = d.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname <> %(schema)s ORDER BY 1
"""


def outside_dependents(conn: Connection, of: TableName | str) -> list[str]:
    """Relations of other schemas that a DROP ... CASCADE of a table, or of a schema, would change or take."""
    schema, table = (of.schema, of.name) if isinstance(of, TableName) else (of, None)
    return [str(name) for (name,) in conn.execute(_OUTSIDE, {"schema": schema, "table": table})]


def refuse_outside_dependents(conn: Connection, database: Database, of: TableName | str) -> None:
    """Raise unless nothing outside depends on it. A tenant's own database has no outside.

    Raises:
        StoreRejected: with what depends on it.
    """
    if database.map.per_database:
        return
    if outside := outside_dependents(conn, of):
        raise StoreRejected(
            f"{database.name}: dropping {of} would take from {', '.join(outside[:5])}",
            store=database.name,
            next_step="let those views, references or columns go first; they are in other schemas",
        )
