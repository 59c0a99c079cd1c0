"""Putting the fence's triggers on a tenant's tables, and taking them away again.

One function per table, generated from its ownership rule; one statement trigger with transition tables for
each kind of change, on the table *and* on every partition, because a statement on a leaf fires only the
leaf's own. Locks that writers would feel are asked for with a short time-out, table by table, and retried.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import LiteralString, cast

from psycopg import sql

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap, Whole
from tenant_lifecycle.stores.postgres import journal, ours
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.locking import patiently
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.owners import deciding_columns, owners_of_row, owners_of_rows, rule_of
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA, Table

#: Trigger names sort after most of an application's own, so that its errors come before ours.
TRIGGERS: Mapping[str, LiteralString] = {
    "tenant_lifecycle_insert": "AFTER INSERT ON {table} REFERENCING NEW TABLE AS tl_new",
    "tenant_lifecycle_update": "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS tl_old NEW TABLE AS tl_new",
    "tenant_lifecycle_delete": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS tl_old",
    "tenant_lifecycle_truncate": "BEFORE TRUNCATE ON {table}",
}
_BODY: LiteralString = files(__package__).joinpath("fence_trigger.sql").read_text()


@dataclass(frozen=True, slots=True)
class Guarded:
    """One relation that has to carry the triggers."""

    relation: TableName
    #: The table (or partitioned root) whose rule decides.
    table: TableName


def guarded(resolved: ResolvedMap, tables: Mapping[TableName, Table]) -> list[Guarded]:
    """Every relation a tenant's rows can be written through: its tables and all their partitions."""
    return [
        Guarded(relation, name) for name in resolved.moved for relation in (name, *tables[name].partitions)
    ]


def install_functions(conn: Connection, resolved: ResolvedMap) -> None:
    """Create our schema, the fence's functions, and one trigger function per table; replace what differs."""
    with conn.transaction():
        # Two drivers that create the same thing at once would fail with "tuple concurrently updated".
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('tenant_lifecycle.install', 0))")
        ours.install(conn)
        conn.execute(files(__package__).joinpath("fence.sql").read_bytes())
        journal.install(conn)
        cursor = conn.execute(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = %s::regnamespace", (OUR_SCHEMA,)
        )
        present = {str(name): source for name, source in cursor.fetchall()}
        for table in resolved.moved:
            body = _body(resolved, table).as_string(conn)
            if present.get(_function_name(table)) != body:
                conn.execute(_function(table, body))


def _function_name(table: TableName) -> str:
    # A digest: names of tables may be too long for a part of a name, and may hold anything.
    return "guard_" + hashlib.sha256(f"{table.schema}\0{table.name}".encode()).hexdigest()[:24]


def _function(table: TableName, body: str) -> sql.Composed:
    """Runs as its creator, because the application's role may neither read parents nor know of us."""
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql VOLATILE SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp AS {body}"
    ).format(name=sql.Identifier(OUR_SCHEMA, _function_name(table)), body=sql.Literal(body))


def _body(resolved: ResolvedMap, table: TableName) -> sql.Composed:
    rule = rule_of(resolved, table)
    return sql.SQL(_BODY).format(
        inserted=owners_of_rows(resolved, table, sql.Identifier("tl_new")),
        deleted=owners_of_rows(resolved, table, sql.Identifier("tl_old")),
        table=table_sql(table),
        table_text=sql.Literal(str(table)),
        owners=owners_of_row(resolved, rule, "t"),
        may_own=sql.SQL("f.tenant = {}").format(sql.Literal(resolved.tenant))
        if isinstance(rule, Whole)
        else sql.SQL("true"),
    )


def missing(conn: Connection, wanted: Sequence[Guarded]) -> dict[Guarded, list[str]]:
    """Triggers that are not there or are switched off, by relation; empty when all is well."""
    cursor = conn.execute(
        "SELECT n.nspname, c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE t.tgname = ANY (%s) AND t.tgenabled IN ('O', 'A') AND p.pronamespace = %s::regnamespace",
        (list(TRIGGERS), OUR_SCHEMA),
    )
    present = {(str(schema), str(name), str(trigger)) for schema, name, trigger in cursor.fetchall()}
    lacking = {
        one: [t for t in TRIGGERS if (one.relation.schema, one.relation.name, t) not in present]
        for one in wanted
    }
    return {one: names for one, names in lacking.items() if names}


def create(conn: Connection, store: str, wanted: Sequence[Guarded], budget_s: float) -> None:
    """Create the triggers that are missing.

    Raises:
        StoreBusy: a table's lock was not free within the budget; what was created stays, call again.
    """
    give_up = time.monotonic() + budget_s
    for one, names in missing(conn, wanted).items():
        statements = [
            sql.SQL("CREATE OR REPLACE TRIGGER {name} ").format(name=sql.Identifier(name))
            + sql.SQL(TRIGGERS[name]).format(table=table_sql(one.relation))
            + sql.SQL(" FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
                sql.Identifier(OUR_SCHEMA, _function_name(one.table))
            )
            for name in names
        ]
        patiently(conn, store, one.relation, statements, give_up)


def drop(conn: Connection, store: str, schema: str | None, budget_s: float) -> None:
    """Drop every trigger and trigger function of ours, or those of one schema's tables only."""
    give_up = time.monotonic() + budget_s
    cursor = conn.execute(
        "SELECT n.nspname, c.relname, array_agg(t.tgname::text) FROM pg_trigger t "
        "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE t.tgname = ANY (%(names)s) AND p.pronamespace = %(ours)s::regnamespace "
        "AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s) GROUP BY 1, 2 ORDER BY 1, 2",
        {"names": list(TRIGGERS), "ours": OUR_SCHEMA, "schema": schema},
    )
    for schema_name, name, triggers in cursor.fetchall():
        relation = TableName(str(schema_name), str(name))
        statements = [
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(trigger), table_sql(relation))
            for trigger in cast("list[str]", triggers)
        ]
        patiently(conn, store, relation, statements, give_up)
    _drop_unused_functions(conn)


def _drop_unused_functions(conn: Connection) -> None:
    unused = conn.execute(
        "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = %s::regnamespace AND p.proname ~ '^guard_' "
        "AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)",
        (OUR_SCHEMA,),
    ).fetchall()
    for (name,) in unused:
        conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}()").format(sql.Identifier(OUR_SCHEMA, str(name))))


def refuse_unfit(conn: Connection, store: str, resolved: ResolvedMap) -> None:
    """Refuse what the triggers could not see: rows hidden from us, or a tenant's id in a second spelling.

    Raises:
        StoreRejected: with the table and what to do.
    """
    for table in resolved.moved:
        _refuse_hidden_rows(conn, store, table)
        for column in deciding_columns(resolved, table):
            _refuse_other_spelling(conn, store, resolved.tenant, table, column)


def _refuse_hidden_rows(conn: Connection, store: str, table: TableName) -> None:
    name = table_sql(table).as_string(conn)
    (hidden,) = conn.execute("SELECT row_security_active(%s::regclass)", (name,)).fetchone() or (False,)
    if hidden:
        raise StoreRejected(
            f"{store}: row security hides rows of {table} from us, so the fence could not tell whose they are",
            store=store,
            next_step="give this role BYPASSRLS",
        )


def _refuse_other_spelling(conn: Connection, store: str, tenant: str, table: TableName, column: str) -> None:
    """The fence knows tenants by text: ``column::text`` must be what the callers write, and nothing else."""
    described = conn.execute(
        "SELECT format_type(a.atttypid, a.atttypmod), coalesce(k.collisdeterministic, true) "
        "FROM pg_attribute a LEFT JOIN pg_collation k ON k.oid = a.attcollation "
        "WHERE a.attrelid = %s::regclass AND a.attname = %s AND NOT a.attisdropped",
        (table_sql(table).as_string(conn), column),
    ).fetchone()
    if described is None:
        raise StoreRejected(
            f"{store}: table {table} has no column {column}",
            store=store,
            next_step="correct the ownership map",
        )
    type_name, deterministic = cast("tuple[LiteralString, bool]", described)
    if not deterministic:
        raise StoreRejected(
            f"{store}: column {column} of {table} holds one tenant in several spellings (its collation)",
            store=store,
            next_step="give the column a deterministic collation",
        )
    # The type's name is the catalogue's own, quoted by the server.
    (same,) = conn.execute(
        sql.SQL("SELECT CAST({id} AS {type})::text = {id}").format(
            id=sql.Literal(tenant), type=sql.SQL(type_name)
        )
    ).fetchone() or (False,)
    if not same:
        raise StoreRejected(
            f"{store}: column {column} of {table} would spell the tenant's id in another way",
            store=store,
            next_step="use the id exactly as the database prints it",
        )
