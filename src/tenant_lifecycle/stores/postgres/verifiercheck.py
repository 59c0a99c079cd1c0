"""Whether a role is fit to verify: it sees everything, and can change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.facts import read_facts
from tenant_lifecycle.stores.postgres.preflight.pair import listed
from tenant_lifecycle.stores.postgres.servercheck import quoted
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse

_UNREADABLE = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1
"""
_WRITABLE = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1
"""
_CLOSED = """
SELECT datname::text FROM pg_database WHERE datallowconn AND NOT has_database_privilege(oid, 'CONNECT') ORDER BY 1
"""
_OBJECTS = """
SELECT EXISTS (SELECT FROM pg_largeobject_metadata) AND NOT has_table_privilege('pg_largeobject', 'SELECT')
"""


def verifier_findings(database: Database) -> list[Finding]:
    """Refusals for what these credentials cannot see, and for what they could change."""
    try:
        with database.session() as conn:
            facts = read_facts(conn)
            role = quoted(facts.role)
            found = [*_sees(conn, database.name, role), *_changes(conn, database.name, role, facts.superuser)]
            if not facts.bypasses_rls:
                found.append(
                    refuse(
                        database.name, "pg.verifier-row-security", f"row-level security may hide rows from role {role}",
                        f"ALTER ROLE {role} BYPASSRLS;",
                    )
                )  # fmt: skip
    except StoreError as exc:
        return [
            refuse(database.name, "pg.reachable", str(exc), exc.next_step or "check verify: of this store")
        ]
    return found or [
        fine(database.name, "pg.verifier", f"role {role} sees everything here and changes nothing")
    ]


def _names(conn: Connection, query: str) -> list[str]:
    return [str(name) for (name,) in conn.execute(query.encode())]


def _sees(conn: Connection, subject: str, role: str) -> Iterator[Finding]:
    if unreadable := _names(conn, _UNREADABLE):
        yield refuse(
            subject, "pg.verifier-blind", f"role {role} cannot read {listed(unreadable)}",
            f"GRANT pg_read_all_data TO {role};",
        )  # fmt: skip
    if closed := _names(conn, _CLOSED):
        yield refuse(
            subject, "pg.verifier-blind", f"role {role} may not connect to the databases {listed(closed)}",
            f"GRANT CONNECT ON DATABASE {quoted(closed[0])} TO {role};",
        )  # fmt: skip
    if conn.execute(_OBJECTS).fetchone() == (True,):
        yield refuse(
            subject, "pg.verifier-blind", f"role {role} cannot read large objects",
            f"GRANT SELECT ON pg_catalog.pg_largeobject TO {role};",
        )  # fmt: skip


def _changes(conn: Connection, subject: str, role: str, superuser: bool) -> Iterator[Finding]:
    if superuser:
        yield refuse(
            subject, "pg.verifier-writes", f"role {role} is a superuser: it could change what it verifies",
            "verify with a role of its own: CREATE ROLE ... LOGIN BYPASSRLS IN ROLE pg_read_all_data;",
        )  # fmt: skip
    elif writable := _names(conn, _WRITABLE):
        yield refuse(
            subject, "pg.verifier-writes", f"role {role} may change {listed(writable)}",
            f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {writable[0]} FROM {role};",
        )  # fmt: skip
