"""Whether a base can be loaded here: every reason why not, before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, refusals, unanswered
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.backup import register
from tenant_lifecycle.stores.postgres.backup.hooks import Hook
from tenant_lifecycle.stores.postgres.backup.matched import mismatches
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.facts import read_facts
from tenant_lifecycle.stores.postgres.probe import may_switch_triggers_off
from tenant_lifecycle.stores.postgres.tables import read_tables
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn


def check_restore(
    database: Database,
    tenant: TenantId,
    shapes: Mapping[str, Shape],
    facts: Mapping[str, Any],
    hook: Hook | None = None,
) -> list[Finding]:
    """Refusals: ``pg.unmapped``, ``pg.column-mismatch``, ``pg.rights``, ``pg.replica-role``; warnings: ``pg.version``. Changes nothing."""
    try:
        with database.session() as conn, translating(database.name):
            found = [
                *_columns(conn, database, tenant, shapes, facts, hook),
                *_versions(conn, database.name, facts),
                *_rights(conn, database.name),
            ]
    except StoreError as exc:
        return [unanswered("pg.unanswered", exc)]
    return found or [fine(database.name, "pg.restorable", f"{len(shapes)} tables fit")]


def _columns(
    conn: Connection,
    database: Database,
    tenant: TenantId,
    shapes: Mapping[str, Shape],
    facts: Mapping[str, Any],
    hook: Hook | None,
) -> Iterator[Finding]:
    tables = read_tables(conn)
    resolved = database.map.resolve(tenant, frozenset(tables))
    for name in sorted(resolved.unmapped):
        text = f"no rule of the ownership map mentions {name}"
        yield refuse(database.name, "pg.unmapped", text, "add a rule for it")
    wanted = register.Registered("check", tenant, facts, register.place_sets("check", shapes, facts), "")
    for finding in mismatches(wanted, resolved, tables):
        if hook is None:
            step = "restore a backup of this schema's version, or configure migrations for this store"
            yield refuse(database.name, finding.code, finding.message, step)
        else:
            yield warn(
                database.name, finding.code, f"{finding.message}; migrations will be run on the preview"
            )


def _versions(conn: Connection, store: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    (version,) = conn.execute("SELECT current_setting('server_version_num')::int").fetchone() or (0,)
    here, there = int(str(version)) // 10_000, int(facts.get("server_version", 0)) // 10_000
    if there > here:
        text = f"the backup is from PostgreSQL {there}, and this server is {here}"
        yield warn(
            store,
            "pg.version",
            text,
            "values of types that are new there will be refused when they are loaded",
        )
    rows = conn.execute("SELECT extname, extversion FROM pg_extension").fetchall()
    installed = {str(name): str(number) for name, number in rows}
    for name, number in sorted(facts.get("extensions", {}).items()):
        if name not in installed:
            text = f"extension {name} {number} of the backup is not installed here"
            yield warn(store, "pg.version", text, f"CREATE EXTENSION {name}, if a column needs it")


def _rights(conn: Connection, store: str) -> Iterator[Finding]:
    role = read_facts(conn)
    if role.standby or role.read_only:
        yield refuse(store, "pg.rights", "the server accepts no writes", "point the DSN at the primary")
    if not role.may_create:
        step = "GRANT CREATE ON DATABASE to the role of this store"
        yield refuse(store, "pg.rights", f"role {role.role} may not create the schema of a preview", step)
    yield from refusals(list(may_switch_triggers_off(conn, role, store)))
