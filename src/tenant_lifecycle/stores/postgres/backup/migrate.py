"""Bringing a preview to the schema that the live tables have, by the application's own migrations.

A base is restored into tables of its own time. If the live ones have changed since, the migrations that changed them
are run on the preview, and then both have one shape, or the difference is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused, StoreRejected
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.backup import register
from tenant_lifecycle.stores.postgres.backup.facts import migration_version
from tenant_lifecycle.stores.postgres.backup.hooks import Hook, HookKind, Run, run_files, run_program
from tenant_lifecycle.stores.postgres.backup.matched import mismatches, refuse_unloaded
from tenant_lifecycle.stores.postgres.backup.register import PreviewSet, Registered
from tenant_lifecycle.stores.postgres.backup.rules import give_rules
from tenant_lifecycle.stores.postgres.backup.shapes import shape_of
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import Table, read_table, read_tables

#: How the side tables begin that keep what a migration drops.
ORPHANED = "_orphaned_"


def migrate(
    database: Database, name: str, hook: Hook | None, version_query: str | None, check: Check
) -> Mapping[str, Shape]:
    """Run the migrations if the preview's shapes are not the live ones; return its shapes. Safe to repeat.

    Columns that the live tables do not have any more are kept, with the key, in ``_orphaned_<table>`` in the
    preview's schema, until it is discarded.

    Raises:
        PreconditionRefused: there is no hook, or what it did does not lead to the live shapes; names the columns.
        StoreRejected: a migration does not work, or touches what is live.
    """
    conn = database.connect("migrate a preview")
    try:
        with translating(database.name):
            preview = register.get(conn, database.name, name)
            refuse_unloaded(conn, preview, list(preview.sets))
            tables = read_tables(conn)
            resolved = database.map.resolve(preview.tenant, frozenset(tables))
            if mismatches(preview, resolved, tables):
                if hook is None:
                    raise _refusal(preview, resolved, tables)
                _prepare(conn, database.name, preview, tables)
                _run(conn, database, preview, hook, version_query, check)
                preview = register.get(conn, database.name, name)
                if mismatches(preview, resolved, tables):
                    raise _refusal(preview, resolved, tables)
            return {one.set: one.shape for one in preview.sets.values()}
    finally:
        conn.close()


def _refusal(
    preview: Registered, resolved: ResolvedMap, tables: Mapping[TableName, Table]
) -> PreconditionRefused:
    findings = mismatches(preview, resolved, tables)
    return PreconditionRefused(
        f"preview {preview.name} does not fit the live tables: {'; '.join(one.message for one in findings)}",
        findings=findings,
        next_step="configure migrations that lead from the backup's schema to this one",
    )


def _prepare(conn: Connection, store: str, preview: Registered, tables: Mapping[TableName, Table]) -> None:
    """Rules of the base's time, and side tables for what is going to be dropped; once."""
    with conn.transaction():
        ruled = conn.execute(
            "UPDATE tenant_lifecycle.preview SET ruled = true WHERE name = %s AND NOT ruled", (preview.name,)
        )
        if ruled.rowcount:
            for one in preview.sets.values():
                # A table that a migration creates is logged, and may refer to such ones only.
                conn.execute(sql.SQL("ALTER TABLE {} SET LOGGED").format(table_sql(one.table)))
            give_rules(conn, store, preview)
            for one in preview.sets.values():
                _keep_dropped(conn, one, tables.get(one.live))


def _keep_dropped(conn: Connection, one: PreviewSet, live: Table | None) -> None:
    there = {column.name for column in live.columns} if live is not None else set[str]()
    dropped = [column.name for column in one.shape.columns if column.name not in there]
    if not dropped:
        return
    side = sql.Identifier(one.table.schema, f"{ORPHANED}{one.table.name}"[:63])
    kept = columns_sql((*one.shape.key, *(name for name in dropped if name not in one.shape.key)))
    conn.execute(sql.SQL("CREATE TABLE {} AS SELECT {} FROM {}").format(side, kept, table_sql(one.table)))


def _run(
    conn: Connection,
    database: Database,
    preview: Registered,
    hook: Hook,
    version_query: str | None,
    check: Check,
) -> None:
    run = Run(
        database.name,
        database.dsn,
        register.schema_name(preview.name),
        _only_schema(database.name, preview),
        preview.facts.get("migration"),
        migration_version(conn, version_query),
    )
    if hook.kind is HookKind.SQL:
        with conn.transaction():
            run_files(conn, run, Path(hook.what), check)
            _read_again(conn, database, preview)
        return
    if hook.kind is HookKind.ALEMBIC and run.before is not None:
        _say_version(conn, run.schema, run.before)
    run_program(hook, run, check)
    with conn.transaction():
        _read_again(conn, database, preview)


def _only_schema(store: str, preview: Registered) -> str:
    schemas = sorted({one.live.schema for one in preview.sets.values()})
    if len(schemas) != 1:
        raise StoreRejected(
            f"{store}: migrations can be run on tables of one schema, and those of the backup are in {', '.join(schemas)}",
            store=store,
            next_step="bring the live tables to the backup's shape, restore, and migrate them",
        )
    return schemas[0]


def _say_version(conn: Connection, schema: str, version: str) -> None:
    """Alembic reads from this table where it is; a preview's own is found first."""
    table = sql.Identifier(schema, "alembic_version")
    with conn.transaction():
        conn.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} (version_num varchar(32) PRIMARY KEY)").format(table)
        )
        conn.execute(
            sql.SQL("INSERT INTO {t} SELECT {v} WHERE NOT EXISTS (SELECT FROM {t})").format(
                t=table, v=sql.Literal(version)
            )
        )


def _read_again(conn: Connection, database: Database, preview: Registered) -> None:
    """What the preview's sets are now: tables that are called like the tenant's live ones."""
    schema = register.schema_name(preview.name)
    live_schema = next(iter(preview.sets.values())).live.schema
    rows = conn.execute(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p')",
        (sql.Identifier(schema).as_string(conn),),
    ).fetchall()
    present = {str(name) for (name,) in rows}
    resolved = database.map.resolve(preview.tenant, frozenset(read_tables(conn)))
    sets: dict[str, PreviewSet] = {}
    for live in resolved.moved:
        if live.schema == live_schema and live.name in present:
            table = TableName(schema, live.name)
            shape = shape_of(read_table(conn, table), str(live))
            sets[shape.set] = PreviewSet(shape, live, table, _count(conn, table))
    register.replace_sets(conn, preview.name, sets)


def _count(conn: Connection, table: TableName) -> Any:
    (count,) = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table_sql(table))).fetchone() or (0,)
    return count
