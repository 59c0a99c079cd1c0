"""Comparing the tenant's tables on both sides: reads both catalogues, judges, changes nothing."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.schema.catalogue import read_shape
from tenant_lifecycle.stores.postgres.schema.described import Needed, SchemaShape
from tenant_lifecycle.stores.postgres.schema.differences import Both, table_differences
from tenant_lifecycle.stores.postgres.schema.surroundings import surrounding_differences
from tenant_lifecycle.stores.postgres.verdicts import fine


def compare(source: Database, target: Database, tenant: TenantId) -> list[Finding]:
    """Every difference between the shapes of the tenant's tables; codes begin with ``schema.``.

    A refusal means that rows would not fit, now or on the way back. If there is none, `create_missing` makes
    the target's shape equal to the source's.
    """
    return findings_of(read_both(source, target, tenant))


def findings_of(both: Both) -> list[Finding]:
    """The findings, and one that says so if nothing differs. Pure."""
    found = [*surrounding_differences(both), *table_differences(both)]
    if not found:
        found.append(
            fine(both.subject, "schema.equal", f"{len(both.source.roots)} tables have the same shape")
        )
    return found


def read_both(source: Database, target: Database, tenant: TenantId) -> Both:
    """Both shapes, with what else decides."""
    moved = source.resolve(tenant).moved
    with source.session() as conn:
        here = read_shape(conn, moved)
    surplus = tuple(name for name in target.resolve(tenant).moved if name not in here.relations)
    with target.session() as conn:
        there = read_shape(conn, moved, like=here)
        [(major, role)] = fetch(
            conn, "SELECT current_setting('server_version_num')::int / 10000, current_user::text"
        )
        return Both(
            source=here,
            target=there,
            subject=target.name,
            empty=frozenset(root.name for root in there.roots if _is_empty(conn, root.name)),
            roles=frozenset(name for (name,) in fetch(conn, "SELECT rolname::text FROM pg_roles")),
            role=role,
            major=major,
            lacking=tuple(need.identity for need in here.needed if not _exists(conn, need)),
            schemas=frozenset(name for (name,) in fetch(conn, "SELECT nspname::text FROM pg_namespace")),
            present=_present(conn, here),
            surplus=surplus,
        )


def _is_empty(conn: Connection, table: TableName) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table_sql(table))
    return not fetch(conn, query)[0][0]


def _present(conn: Connection, here: SchemaShape) -> frozenset[TableName]:
    """Tables of the target that foreign keys of the source refer to."""
    wanted = {
        rule.refers_to
        for relation in here.relations.values()
        for rule in relation.constraints
        if rule.refers_to is not None
    }
    rows = fetch(
        conn,
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p')",
    )
    return frozenset(TableName(*row) for row in rows) & wanted


def _exists(conn: Connection, need: Needed) -> bool:
    """Whether an object of that address is there. The session is in no transaction, so an error costs nothing."""
    try:
        fetch(
            conn,
            "SELECT pg_get_object_address($1, $2::text[], $3::text[])",
            [need.kind, list(need.names), list(need.arguments)],
        )
    except psycopg.ProgrammingError:
        return False
    return True
