"""The database's part of an archive: one publication of all tenants' tables, and one slot that keeps what changes."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.archive.rules import Rules, compile_rules
from tenant_lifecycle.stores.postgres.backup.shapes import uncoverable
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed import slots
from tenant_lifecycle.stores.postgres.feed.layout import Layout, read_layouts
from tenant_lifecycle.stores.postgres.feed.position import from_lsn
from tenant_lifecycle.stores.postgres.inventory import tenants
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

#: Names slot and publication.
PREFIX = "tl_archive_"
_SLOT = """
SELECT confirmed_flush_lsn::text, coalesce(wal_status, '') = 'lost'
       OR coalesce(to_jsonb(s) ->> 'invalidation_reason', '') <> '', active
  FROM pg_replication_slots s WHERE slot_name = %s AND plugin = 'pgoutput' AND database = current_database()
"""


def slot_name(name: str) -> str:
    """Of the archive called ``name``."""
    return PREFIX + name


def create(database: Database, name: str) -> int:
    """Publish the tables and make the slot; its position. Idempotent; a slot that has lost changes is made anew.

    Raises:
        StoreBusy: open transactions or locks held it up; says whose.
        StoreRejected: a setting, a privilege or a free slot is missing.
    """
    with database.session() as conn:
        publish(conn, database, name, archived(conn, database).rules)
        found = conn.execute(_SLOT, (slot_name(name),)).fetchone()
        if found is not None and found[1]:
            conn.execute("SELECT pg_drop_replication_slot(%s)", (slot_name(name),))
            found = None
        if found is None:
            slots.create_slot(conn, database.name, slot_name(name), slots.SLOT_WAIT_S)
            found = conn.execute(_SLOT, (slot_name(name),)).fetchone()
    assert found is not None, "it was just made"
    return from_lsn(str(found[0]))


class Archived:
    """The tables of a database as an archive sees them."""

    def __init__(
        self, rules: Rules, layouts: Mapping[TableName, Layout], tables: Mapping[TableName, Table]
    ) -> None:
        self.rules = rules
        self.layouts = layouts
        self.tables = tables


def archived(conn: Connection, database: Database) -> Archived:
    """Read the catalogue, and compile the ownership map over it."""
    tables = read_tables(conn)
    layouts = {layout.name: layout for layout in read_layouts(conn, tables, sorted(tables))}
    everybody = tuple(sorted(tenants(database))) if database.map.per_database else ()
    return Archived(compile_rules(database.name, database.map, layouts, everybody), layouts, tables)


def publish(conn: Connection, database: Database, name: str, rules: Rules) -> bool:
    """Make the publication exactly the archived tables; True if it changed.

    Raises:
        StoreBusy: a lock could not be had.
    """
    publication = sql.Identifier(slot_name(name))
    there = conn.execute("SELECT FROM pg_publication WHERE pubname = %s", (slot_name(name),)).fetchone()
    found = {
        TableName(str(schema), str(table))
        for schema, table in conn.execute(
            "SELECT n.nspname, c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid "
            "JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s",
            (slot_name(name),),
        )
    }
    wanted = sorted(rules.tables)
    if there is not None and found == set(wanted):
        return False
    tables = sql.SQL(", ").join(table_sql(table) for table in wanted)
    with translating(database.name), slots.limits(conn, 60):
        if there is None:
            conn.execute(
                sql.SQL(
                    "CREATE PUBLICATION {} {} WITH (publish = 'insert,update,delete,truncate', "
                    "publish_via_partition_root = true)"
                ).format(publication, sql.SQL("FOR TABLE {}").format(tables) if wanted else sql.SQL(""))
            )
        elif wanted:
            conn.execute(sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(publication, tables))
    return True


def uncovered(database: Database) -> dict[str, str]:
    """Sets of tenants whose changes are not archived, and why."""
    with database.session() as conn:
        seen = archived(conn, database)
        reasons = dict(seen.rules.uncovered)
        for tenant in tenants(database)[:1]:
            resolved = database.map.resolve(tenant, frozenset(seen.tables))
            reasons.update(uncoverable(resolved, seen.tables))
    return reasons


def confirmed(conn: Connection, name: str) -> int | None:
    """How far the slot was told to forget; None: it is gone, or has lost what it should have kept."""
    found = conn.execute(_SLOT, (slot_name(name),)).fetchone()
    return None if found is None or found[1] else from_lsn(str(found[0]))


def held(conn: Connection, name: str) -> tuple[int, int | None]:
    """Bytes of log kept for the slot, and how many the server keeps at most (None: as long as there is room)."""
    row = conn.execute(
        "SELECT (pg_current_wal_lsn() - restart_lsn)::int8, "
        "pg_size_bytes(nullif(current_setting('max_slot_wal_keep_size'), '-1')) "
        "FROM pg_replication_slots WHERE slot_name = %s",
        (slot_name(name),),
    ).fetchone()
    if row is None or row[0] is None:
        return 0, None
    return int(str(row[0])), None if row[1] is None else int(str(row[1]))


def drop(database: Database, name: str) -> None:
    """Remove slot and publication; ends the session that streams. Safe to repeat."""
    slots.drop_both(database, slot_name(name))
