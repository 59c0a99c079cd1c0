"""Texts of statements that ``pg_stat_statements`` keeps: utility statements stand there with their literals."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.connection import Connection


def reset_statements(conn: Connection, tenant: TenantId) -> int:
    """Forget texts of this database in which the tenant's id stands; returns how many.

    They are looked through here and not in the server, where the question would be one of them. What this role may
    not see or reset stays; the search for residue looks at it again.
    """
    place = conn.execute(
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'pg_stat_statements'"
    ).fetchone()
    if place is None or not tenant:
        return 0
    schema = str(place[0])
    texts = sql.SQL(
        "SELECT userid::int8, dbid::int8, queryid, query FROM {} "
        "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).format(sql.Identifier(schema, "pg_stat_statements"))
    reset = sql.SQL("SELECT {}(%s::int8::oid, %s::int8::oid, %s)").format(
        sql.Identifier(schema, "pg_stat_statements_reset")
    )
    try:
        found = [row for row in conn.execute(texts).fetchall() if tenant in str(row[3])]
        for user, database, query, _ in found:
            conn.execute(reset, (user, database, query))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState):
        return 0
    return len(found)
