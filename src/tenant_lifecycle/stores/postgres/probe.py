"""Whether a server can do what this product needs: one finding per need, with the SQL that mends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, unanswered
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.facts import Facts, read_facts
from tenant_lifecycle.stores.postgres.servercheck import check_server, quoted
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

#: A clock that is off by more than this misleads people who compare logs; fences use the database's own.
CLOCK_SKEW_S = 1.0


def probe(database: Database) -> list[Finding]:
    """Everything this product needs from the server behind ``database``; never raises for what it finds."""
    subject = database.name
    try:
        with database.session() as conn:
            before = time.time()
            facts = read_facts(conn)
            skew = facts.now.timestamp() - (before + time.time()) / 2
            return [
                fine(subject, "pg.reachable", f"answers as role {facts.role} in database {facts.database}"),
                *check_server(facts, subject),
                *may_switch_triggers_off(conn, facts, subject),
                *_row_security(facts, subject),
                *_clock(skew, facts.now, subject),
                _vector(facts, subject),
            ]
    except StoreError as exc:
        return [unanswered("pg.reachable", exc)]


def may_switch_triggers_off(conn: Connection, facts: Facts, subject: str) -> Iterator[Finding]:
    """Try ``session_replication_role``; a grant may come from the server or from a managed service's own way."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        yield refuse(
            subject, "pg.replica-role",
            f"role {facts.role} may not set session_replication_role, so triggers would run twice",
            f"GRANT SET ON PARAMETER session_replication_role TO {quoted(facts.role)};",
        )  # fmt: skip
    except psycopg.errors.ReadOnlySqlTransaction:
        return
    else:
        yield fine(subject, "pg.replica-role", "session_replication_role may be set")


def _row_security(facts: Facts, subject: str) -> Iterator[Finding]:
    if facts.bypasses_rls:
        yield fine(subject, "pg.row-security", f"row-level security hides nothing from role {facts.role}")
    else:
        yield warn(
            subject, "pg.row-security",
            f"role {facts.role} is subject to row-level security where it is not the table's owner",
            f"ALTER ROLE {quoted(facts.role)} BYPASSRLS;",
        )  # fmt: skip


def _clock(skew: float, now: datetime, subject: str) -> Iterator[Finding]:
    if abs(skew) > CLOCK_SKEW_S:
        yield warn(
            subject, "pg.clock",
            f"its clock ({now.astimezone(UTC):%H:%M:%S} UTC) is {abs(skew):.1f} s "
            f"{'ahead of' if skew > 0 else 'behind'} this machine's",
            "synchronise both with NTP",
        )  # fmt: skip
    else:
        yield fine(subject, "pg.clock", f"its clock agrees with this machine's within {abs(skew):.2f} s")


def _vector(facts: Facts, subject: str) -> Finding:
    if version := facts.extensions.get("vector"):
        return fine(subject, "pg.extension", f"extension vector {version} is installed")
    if version := facts.available.get("vector"):
        return fine(subject, "pg.extension", f"extension vector {version} can be installed")
    return warn(
        subject, "pg.extension", "extension vector is not there; tenants with vectors cannot move here",
        "install pgvector on the server",
    )  # fmt: skip
