"""What a base says about the system it comes from: what decides whether, and how, it can be restored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.backup.rules import read_rules
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.tables import Table

#: Where Alembic keeps the version, if nothing else is configured.
ALEMBIC_VERSION = "SELECT version_num::text FROM public.alembic_version"

_SEQUENCES = """
SELECT DISTINCT s.oid::regclass::text, pg_sequence_last_value(s.oid::regclass)
  FROM (SELECT d.refobjid AS relation, d.objid AS oid FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
        UNION
        SELECT ad.adrelid, p.refobjid FROM pg_depend p JOIN pg_attrdef ad ON ad.oid = p.objid
         WHERE p.classid = 'pg_attrdef'::regclass AND p.refclassid = 'pg_class'::regclass) s
  JOIN pg_class c ON c.oid = s.oid AND c.relkind = 'S'
 WHERE s.relation = ANY (%s::oid[]) ORDER BY 1
"""


def read_facts(
    conn: Connection, tables: Mapping[TableName, Table], moved: Iterable[TableName], version_query: str | None
) -> dict[str, Any]:
    """JSON: ``server_version``, ``extensions``, ``sequences``, ``migration``, ``tables``, ``rules``.

    A sequence that never gave a number is None. ``tables`` has schema and name of each set, for a set's name may
    have more than one dot. Nothing of a row is in it.
    """
    names = list(moved)
    return {
        "server_version": _one(conn, "SELECT current_setting('server_version_num')::int"),
        "extensions": _pairs(conn, "SELECT extname::text, extversion FROM pg_extension ORDER BY 1"),
        "sequences": _pairs(conn, _SEQUENCES, [tables[name].oid for name in names]),
        "migration": migration_version(conn, version_query),
        "tables": {str(name): [name.schema, name.name] for name in names},
        "rules": read_rules(conn, names),
    }


def migration_version(conn: Connection, query: str | None) -> str | None:
    """What the application's migrations say of the schema; None if there is no such table or no row.

    Raises:
        psycopg.Error: a query that was configured does not work.
    """
    if query is None:
        if _one(conn, "SELECT to_regclass('public.alembic_version')") is None:
            return None
        query = ALEMBIC_VERSION
    with conn.transaction():
        row = conn.execute(query.encode()).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def _one(conn: Connection, query: str) -> Any:
    row = conn.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def _pairs(conn: Connection, query: str, *values: Any) -> dict[str, Any]:
    return {str(name): value for name, value in conn.execute(query.encode(), values or None)}
