"""Judging a server: from what it says of itself to findings, each with the SQL that mends it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.facts import Facts
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

#: Versions this product is tested with.
OLDEST, NEWEST = 15, 18
#: Less room for a lagging slot than this does not bear a restart of ours.
SMALLEST_SLOT_WAL_MB = 256
#: Sessions one move opens at most: 16 copy workers, two feeds with their appliers, a few short ones.
SESSIONS_NEEDED = 24


def quoted(name: str) -> str:
    """An identifier for SQL that a person may paste."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def check_server(facts: Facts, subject: str, *, slots_needed: int = 2) -> list[Finding]:
    """Everything about a server that does not depend on a tenant; it must serve both directions."""
    return [
        *_version(facts, subject),
        *_writable(facts, subject),
        *_change_log(facts, subject, slots_needed),
        *_slot_life(facts, subject),
        *_privileges(facts, subject),
        *_sessions(facts, subject),
        *_fence_bypass(facts, subject),
    ]


def _version(facts: Facts, subject: str) -> Iterator[Finding]:
    if facts.major < OLDEST:
        yield refuse(
            subject, "pg.version",
            f"PostgreSQL {facts.version_text} is too old; supported are {OLDEST} to {NEWEST}",
            f"upgrade the server to PostgreSQL {OLDEST} or newer",
        )  # fmt: skip
    elif facts.major > NEWEST:
        yield warn(
            subject, "pg.version", f"PostgreSQL {facts.version_text} is newer than the tested {NEWEST}",
            "try a small tenant first",
        )  # fmt: skip
    else:
        yield fine(subject, "pg.version", f"PostgreSQL {facts.version_text}")


def _writable(facts: Facts, subject: str) -> Iterator[Finding]:
    if facts.standby:
        yield refuse(
            subject, "pg.standby", "this server is a standby and accepts no writes",
            "point the DSN at the primary, or add target_session_attrs=read-write to it",
        )  # fmt: skip
    elif facts.read_only:
        yield refuse(
            subject, "pg.read-only", "transactions are read-only by default (default_transaction_read_only)",
            f"ALTER ROLE {quoted(facts.role)} SET default_transaction_read_only = off;",
        )  # fmt: skip
    else:
        yield fine(subject, "pg.read-only", "a primary that accepts writes")


def _change_log(facts: Facts, subject: str, slots_needed: int) -> Iterator[Finding]:
    if facts.wal_level != "logical":
        yield refuse(
            subject, "pg.wal-level", f"wal_level is {facts.wal_level}; changes can be followed with logical only",
            "ALTER SYSTEM SET wal_level = logical; then restart the server",
        )  # fmt: skip
    else:
        yield fine(subject, "pg.wal-level", "wal_level is logical")
    for code, what, setting, most, used in (
        ("pg.slots", "replication slots", "max_replication_slots", facts.slots, facts.slots_used),
        ("pg.wal-senders", "WAL senders", "max_wal_senders", facts.senders, facts.senders_used),
    ):
        if most - used < slots_needed:
            yield refuse(
                subject, code, f"{used} of {most} {what} are in use, a move needs {slots_needed} more",
                f"ALTER SYSTEM SET {setting} = {used + slots_needed + 4}; then restart the server,"
                " or drop slots that nobody uses (pg_replication_slots, not active)",
            )  # fmt: skip
        else:
            yield fine(subject, code, f"{most - used} of {most} {what} are free")


def _slot_life(facts: Facts, subject: str) -> Iterator[Finding]:
    keep = facts.slot_wal_keep_mb
    if 0 <= keep < SMALLEST_SLOT_WAL_MB:
        yield refuse(
            subject, "pg.slot-wal-keep",
            f"max_slot_wal_keep_size is {keep} MB: a short pause of ours would lose the change feed",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf();",
        )  # fmt: skip
    else:
        limit = "without limit" if keep < 0 else f"up to {keep} MB"
        yield fine(subject, "pg.slot-wal-keep", f"slots keep WAL {limit}")
    if 0 < facts.slot_idle_timeout_s < 3600:
        yield warn(
            subject, "pg.slot-idle-timeout",
            f"idle_replication_slot_timeout is {facts.slot_idle_timeout_s} s: a longer pause loses the feed",
            "ALTER SYSTEM SET idle_replication_slot_timeout = '1d'; SELECT pg_reload_conf();",
        )  # fmt: skip
    if facts.standbys and facts.major < 17:
        yield warn(
            subject, "pg.failover",
            f"a failover to one of {facts.standbys} standbys loses the change feed (before version 17)",
            "after a failover during the move, the copy begins again",
        )  # fmt: skip


def _privileges(facts: Facts, subject: str) -> Iterator[Finding]:
    role, database = quoted(facts.role), quoted(facts.database)
    for granted, code, may, lacks, grant in (
        (facts.may_replicate, "pg.replication-privilege", "may replicate", "must not replicate",
         f"ALTER ROLE {role} REPLICATION;  (Amazon RDS: GRANT rds_replication TO {role};)"),
        (facts.may_create, "pg.create-privilege", "may create schemas and publications", "cannot create a schema or publication in the database",
         f"GRANT CREATE ON DATABASE {database} TO {role};"),
        (facts.may_use_temporary, "pg.temporary-privilege", "may create temporary tables", "cannot create temporary tables",
         f"GRANT TEMPORARY ON DATABASE {database} TO {role};"),
    ):  # fmt: skip
        if granted:
            yield fine(subject, code, f"role {facts.role} {may}")
        else:
            yield refuse(subject, code, f"role {facts.role} {lacks}", grant)
    if not facts.sees_others:
        yield warn(
            subject, "pg.activity-visibility",
            f"role {facts.role} does not see other roles' transactions, so it cannot say who blocks a move",
            f"GRANT pg_read_all_stats TO {role};",
        )  # fmt: skip


def _sessions(facts: Facts, subject: str) -> Iterator[Finding]:
    if facts.lost_settings:
        lost = ", ".join(f"{name} is {value!r}" for name, value in sorted(facts.lost_settings.items()))
        step = "connect to the server itself, not through a pooler that drops start-up options"
        yield refuse(subject, "pg.session-settings", f"our session's settings do not hold: {lost}", step)
    else:
        yield fine(subject, "pg.session-settings", "our session's settings hold")
    if limit := facts.session_limits.get("transaction_timeout"):
        yield refuse(
            subject, "pg.transaction-timeout", f"transaction_timeout ends our transactions after {limit} ms",
            f"ALTER ROLE {quoted(facts.role)} SET transaction_timeout = 0;",
        )  # fmt: skip
    if limit := facts.session_limits.get("idle_session_timeout"):
        yield warn(
            subject, "pg.idle-session-timeout",
            f"idle_session_timeout closes our idle sessions after {limit} ms, a flip may have to connect anew",
            f"ALTER ROLE {quoted(facts.role)} SET idle_session_timeout = 0;",
        )  # fmt: skip
    free = facts.connections - facts.connections_used
    if free < SESSIONS_NEEDED:
        yield warn(
            subject, "pg.connections",
            f"{free} of {facts.connections} connections are free; a move opens up to {SESSIONS_NEEDED}",
            "copy with fewer workers, or raise max_connections",
        )  # fmt: skip


def _fence_bypass(facts: Facts, subject: str) -> Iterator[Finding]:
    for who in facts.writers_without_triggers:
        yield refuse(
            subject, "pg.fence-bypass",
            f"session_replication_role is replica by default for {who}: the fence would not see those writes",
            "ALTER ROLE ... RESET session_replication_role; and let those sessions connect again",
        )  # fmt: skip
