"""What a server, a database and our role in it are: read in one go, judged elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import dict_row

from tenant_lifecycle.stores.postgres.connection import SESSION, Connection


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at a server through one session of ours."""

    #: As ``server_version_num``: 160004.
    version: int
    database: str
    role: str
    now: datetime
    standby: bool
    #: The session's ``transaction_read_only``: the server, database or role refuses writes by default.
    read_only: bool
    wal_level: str
    slots: int
    slots_used: int
    senders: int
    senders_used: int
    connections: int
    connections_used: int
    #: Megabytes; -1: no limit.
    slot_wal_keep_mb: int
    #: Seconds until an unused slot is invalidated; 0: never (and before version 18).
    slot_idle_timeout_s: int
    superuser: bool
    may_replicate: bool
    bypasses_rls: bool
    may_create: bool
    may_use_temporary: bool
    sees_others: bool
    #: Physical standbys that stream from here.
    standbys: int
    encoding: str
    collate: str
    ctype: str
    #: 'c' of the system's library, 'i' ICU, 'b' built in.
    locale_provider: str
    collation_version: str | None
    #: Version of the library now in use; differs from ``collation_version`` after an upgrade of it.
    actual_collation_version: str | None
    #: Roles (or "the server") whose sessions begin with triggers off: the fence would not see them.
    writers_without_triggers: tuple[str, ...]
    #: Settings of ours that do not hold in this session, with what holds instead.
    lost_settings: Mapping[str, str] = field(default_factory=dict)
    #: Time limits that would end our sessions in the middle: name -> milliseconds.
    session_limits: Mapping[str, int] = field(default_factory=dict)
    #: Installed extensions and their versions.
    extensions: Mapping[str, str] = field(default_factory=dict)
    #: Extensions that could be installed and the version that would be.
    available: Mapping[str, str] = field(default_factory=dict)

    @property
    def major(self) -> int:
        return self.version // 10_000

    @property
    def version_text(self) -> str:
        return f"{self.major}.{self.version % 10_000}"


_FACTS = """
SELECT current_setting('server_version_num')::int AS version, current_database()::text AS database,
       current_user::text AS role, clock_timestamp() AS now, pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only')::bool AS read_only,
       current_setting('wal_level') AS wal_level,
       current_setting('max_replication_slots')::int AS slots,
       (SELECT count(*) FROM pg_replication_slots) AS slots_used,
       current_setting('max_wal_senders')::int AS senders,
       (SELECT count(*) FROM pg_stat_replication) AS senders_used,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           AS connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections_used,
       (SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS slot_wal_keep_mb,
       coalesce((SELECT setting::int FROM pg_settings WHERE name = 'idle_replication_slot_timeout'), 0)
           AS slot_idle_timeout_s,
       r.rolsuper AS superuser,
       r.rolsuper OR r.rolreplication OR EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'rds_replication'
           AND pg_has_role(r.oid, m.oid, 'MEMBER')) AS may_replicate,
       r.rolsuper OR r.rolbypassrls AS bypasses_rls,
       has_database_privilege(d.oid, 'CREATE') AS may_create,
       has_database_privilege(d.oid, 'TEMP') AS may_use_temporary,
       pg_has_role('pg_read_all_stats', 'USAGE') AS sees_others,
       (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND active) AS standbys,
       pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate AS collate, d.datctype AS ctype,
       d.datlocprovider::text AS locale_provider, d.datcollversion AS collation_version,
       pg_database_collation_actual_version(d.oid) AS actual_collation_version
  FROM pg_roles r, pg_database d
 WHERE r.rolname = current_user AND d.datname = current_database()
"""

_WITHOUT_TRIGGERS = """
SELECT coalesce(r.rolname, 'every role in this database')::text
  FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
 WHERE 'session_replication_role=replica' = ANY (s.setconfig)
   AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
UNION ALL
SELECT 'the server''s configuration' FROM pg_settings
 WHERE name = 'session_replication_role' AND boot_val <> reset_val AND source = 'configuration file'
 ORDER BY 1
"""

_LIMITS = ("transaction_timeout", "idle_session_timeout")


def read_facts(conn: Connection) -> Facts:
    """Ask the server everything of `Facts` through this session."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_FACTS).fetchone()
        assert row is not None, "a session has a role and a database"
        without_triggers = [str(r["coalesce"]) for r in cursor.execute(_WITHOUT_TRIGGERS).fetchall()]
        names = sorted({*SESSION, *_LIMITS} - {"application_name"})
        settings = {
            str(r["name"]): str(r["setting"])
            for r in cursor.execute(
                "SELECT name, setting FROM pg_settings WHERE lower(name) = ANY (%s)", (names,)
            )
        }
        extensions = cursor.execute("SELECT extname::text AS name, extversion AS version FROM pg_extension")
        installed = {str(r["name"]): str(r["version"]) for r in extensions}
        offered = cursor.execute("SELECT name::text, default_version AS version FROM pg_available_extensions")
        available = {str(r["name"]): str(r["version"]) for r in offered}
    # A session over a local socket has no keep-alives to set.
    wanted = {name.lower(): value for name, value in SESSION.items() if not name.startswith("tcp_")}
    lost = {
        name: value
        for name, value in settings.items()
        if name.lower() in wanted and value != wanted[name.lower()]
    }
    return Facts(
        **row,
        writers_without_triggers=tuple(without_triggers),
        lost_settings=lost,
        session_limits={name: int(settings[name]) for name in _LIMITS if int(settings.get(name, "0"))},
        extensions=installed,
        available=available,
    )
