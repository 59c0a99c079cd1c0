"""Statistics of tables that have become empty: ANALYZE finds no rows there and leaves the old values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import table_sql

#: The table, its indexes on expressions, and for a partitioned one what was summed up over its partitions.
_KEPT = """
SELECT EXISTS (SELECT FROM pg_statistic s WHERE s.starelid IN (
           SELECT %(table)s::regclass::oid UNION SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s::regclass))
       OR EXISTS (SELECT FROM pg_statistic_ext e JOIN pg_statistic_ext_data d ON d.stxoid = e.oid
                   WHERE e.stxrelid = %(table)s::regclass)
"""
_KEPT_SEEN = """
SELECT EXISTS (SELECT FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename
                 JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
                WHERE c.oid = %(table)s::regclass
                   OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s::regclass))
       OR EXISTS (SELECT FROM pg_stats_ext e JOIN pg_class c ON c.relname = e.tablename
                    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = e.schemaname
                   WHERE c.oid = %(table)s::regclass)
"""
_CLEAR = """
DELETE FROM pg_statistic WHERE starelid IN (
    SELECT %(table)s::regclass::oid UNION SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s::regclass)
"""
_CLEAR_EXTENDED = """
DELETE FROM pg_statistic_ext_data WHERE stxoid IN (
    SELECT oid FROM pg_statistic_ext WHERE stxrelid = %(table)s::regclass)
"""
_CLEAR_18 = """
SELECT pg_clear_attribute_stats(n.nspname::text, c.relname::text, a.attname::text, i)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped,
       (VALUES (false), (true)) v(i)
 WHERE c.oid = %(table)s::regclass OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s::regclass)
"""


def clear_statistics(conn: Connection, relations: Sequence[TableName]) -> Iterator[str]:
    """Clear what the planner remembers of tables without rows; yields the name of each.

    Raises:
        InsufficientPrivilege: only a superuser may, or from version 18 the owner (not extended statistics).
    """
    superuser = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
        True,
    )
    for name in relations:
        table = {"table": table_sql(name).as_string(conn)}
        empty = sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(table_sql(name))
        kept = _KEPT if superuser else _KEPT_SEEN
        if conn.execute(empty).fetchone() != (True,) or conn.execute(kept, table).fetchone() != (True,):
            continue
        if superuser:
            conn.execute(_CLEAR, table)
            conn.execute(_CLEAR_EXTENDED, table)
        elif conn.info.server_version >= 180000:
            conn.execute(_CLEAR_18, table)
        if superuser or conn.info.server_version >= 180000:
            yield str(name)
        if not superuser and conn.execute(kept, table).fetchone() == (True,):
            conn.execute(_CLEAR, table)  # says that it is not allowed
