"""The source's part of a feed: a publication of whole tables and a logical slot that keeps what changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg
from psycopg import sql

from tenant_lifecycle.errors import SourceChanged, StoreBusy, StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import knownids, ours
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA, Table, read_tables

#: How long to wait for transactions that were open before the slot.
SLOT_WAIT_S = 10.0
_LOCK_WAIT_S = 3.0
_OURS = (TableName(OUR_SCHEMA, "applied"), TableName(OUR_SCHEMA, "canary"))


def create_feed(database: Database, target: Database, feed: Feed, wait_s: float = SLOT_WAIT_S) -> None:
    """Make the source keep the tenant's changes from now on. Idempotent.

    Raises:
        StoreBusy: transactions that were open already, or locks, took longer than ``wait_s``; says whose.
        StoreRejected: a setting, a privilege, a free slot or a replica identity is missing.
        SourceChanged: the feed exists for another set of tables.
    """
    for side in (database, target):
        with side.session() as conn:
            ours.install(conn)
    with database.session() as conn:
        tables = read_tables(conn)
        moved = database.map.resolve(feed.tenant, frozenset(tables)).moved
        _refuse_without_identity(database.name, [tables[name] for name in moved])
        exists = feed_exists(database, feed)
        if not exists:
            drop_slot(conn, feed.name)
        _publish(conn, database.name, feed, (*moved, *_OURS), may_change=not exists)
        if not exists:
            create_slot(conn, database.name, feed.name, wait_s)


def _refuse_without_identity(store: str, tables: list[Table]) -> None:
    """To publish such a table would make its owners' UPDATEs and DELETEs fail."""
    without = [str(table.name) for table in tables if not table.identity_columns]
    if without:
        raise StoreRejected(
            f"{store}: no replica identity on {', '.join(without)}: publishing would break updates there",
            store=store,
            next_step="add a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL",
        )


@contextmanager
def limits(conn: Connection, statement_s: float) -> Iterator[None]:
    """Inside, no lock is waited for longer than `_LOCK_WAIT_S`, and no statement runs longer than ``statement_s``."""
    conn.execute(
        f"SET lock_timeout = {int(_LOCK_WAIT_S * 1000)}; SET statement_timeout = {int(statement_s * 1000)}"
    )
    try:
        yield
    finally:
        conn.execute("SET lock_timeout = 0; SET statement_timeout = 0")


def _publish(
    conn: Connection, store: str, feed: Feed, tables: tuple[TableName, ...], *, may_change: bool
) -> None:
    name = sql.Identifier(feed.name)
    found = {
        TableName(str(schema), str(table))
        for schema, table in conn.execute(
            "SELECT n.nspname, c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid "
            "JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE p.pubname = %s",
            (feed.name,),
        ).fetchall()
    }
    if found == set(tables):
        return
    if found and not may_change:
        other = sorted(map(str, found ^ set(tables)))
        raise SourceChanged(
            f"{store}: the feed exists for other tables; different: {', '.join(other)}",
            store=store,
            next_step="abort the move and start it again",
        )
    with limits(conn, 60), conn.transaction():
        conn.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(name))
        conn.execute(
            sql.SQL(
                "CREATE PUBLICATION {} FOR TABLE {} WITH (publish = 'insert,update,delete,truncate', "
                "publish_via_partition_root = true)"
            ).format(name, sql.SQL(", ").join(table_sql(table) for table in tables))
        )


def create_slot(conn: Connection, store: str, name: str, wait_s: float) -> None:
    """Make a logical slot.

    Raises:
        StoreBusy: open transactions held it up for longer than ``wait_s``; says whose.
        StoreRejected: a setting, a privilege or a free slot is missing.
    """
    try:
        with limits(conn, wait_s):
            conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    except pg.QueryCanceled as exc:
        raise StoreBusy(
            f"{store}: after {wait_s:g} s the slot still waits for open transactions of {_blockers(conn)}",
            store=store,
            next_step="end those transactions, or wait: it is tried again",
        ) from exc
    except psycopg.Error as exc:
        raise _rejected(exc, store) from exc


def _rejected(exc: psycopg.Error, store: str) -> StoreRejected:
    said = str(exc).strip().splitlines()[0]
    match exc:
        case pg.ObjectNotInPrerequisiteState():
            return StoreRejected(
                f"{store}: {said}", store=store, next_step="set wal_level = logical and restart the server"
            )
        case pg.ConfigurationLimitExceeded():
            return StoreRejected(
                f"{store}: {said}",
                store=store,
                next_step="drop slots that nobody uses, or raise max_replication_slots",
            )
        case pg.InsufficientPrivilege():
            return StoreRejected(
                f"{store}: {said}", store=store, next_step="ALTER ROLE ... REPLICATION for our role"
            )
    return StoreRejected(f"{store}: {said}", store=store)


def _blockers(conn: Connection) -> str:
    """Sessions that hold a slot up: everything on the server that has written and not ended."""
    rows = conn.execute(
        "SELECT format('pid %s (%s, %s, open for %s s)', pid, usename, coalesce(nullif(application_name, ''), "
        "'unnamed'), round(extract(epoch FROM clock_timestamp() - xact_start))) FROM pg_stat_activity "
        "WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() "
        "UNION ALL SELECT format('prepared transaction %s (%s)', gid, owner) FROM pg_prepared_xacts LIMIT 10"
    ).fetchall()
    return ", ".join(str(row[0]) for row in rows) or "sessions that have ended just now"


def drop_feed(database: Database, feed: Feed, wait_s: float = 10.0) -> None:
    """Remove slot and publication, whatever is left of them; ends the session that streams from our slot.

    Raises:
        StoreBusy: the session that streams did not end in time.
    """
    drop_both(database, feed.name, wait_s)


def drop_both(database: Database, name: str, wait_s: float = 10.0) -> None:
    """Remove the slot and the publication of that name, after ending the session that streams.

    Raises:
        StoreBusy: it did not end in time.
    """
    with database.session() as conn:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                drop_slot(conn, name)
                return
            except pg.ObjectInUse as exc:
                if time.monotonic() > deadline:
                    raise StoreBusy(
                        f"{database.name}: slot {name} is still in use", store=database.name
                    ) from exc
                time.sleep(0.05)


def drop_slot(conn: Connection, name: str) -> None:
    """Drop a slot and the publication of that name, if they are there.

    Raises:
        psycopg.errors.ObjectInUse: the session that streams has not ended yet.
    """
    conn.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
        "WHERE slot_name = %s AND active_pid IS NOT NULL",
        (name,),
    )
    conn.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
        (name,),
    )
    with limits(conn, 60):
        conn.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))


def feed_exists(database: Database, feed: Feed) -> bool:
    """Whether the source still has everything since the feed was created."""
    with database.session() as conn:
        row = conn.execute(
            "SELECT coalesce(wal_status, '') <> 'lost' AND to_jsonb(s) ->> 'invalidation_reason' IS NULL "
            "AND plugin = 'pgoutput' AND database = current_database() "
            "AND EXISTS (SELECT FROM pg_publication WHERE pubname = slot_name) "
            "FROM pg_replication_slots s WHERE slot_name = %s",
            (feed.name,),
        ).fetchone()
    return row is not None and bool(row[0])


def forget_feed(target: Database, feed: Feed) -> None:
    """Delete what the target remembers of a feed that ended for good; safe to repeat.

    With the tenant's last feed, ids of deleted rows are forgotten as well. A driver from before is no longer
    refused by its token; it finds no parts, and `remove` refuses where the tenant is written.
    """
    with target.session() as conn:
        knownids.forget(conn, feed.tenant)
        if conn.execute("SELECT to_regclass('tenant_lifecycle.departed')").fetchone() == (None,):
            return
        for table in ("applied", "copy_part", "pending_key", "departed", "copied_until"):
            conn.execute(
                sql.SQL("DELETE FROM tenant_lifecycle.{} WHERE feed = %s").format(sql.Identifier(table)),
                (feed.name,),
            )
