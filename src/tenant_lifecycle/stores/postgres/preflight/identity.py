"""Pre-flight: whether the change stream can tell the rows of a table apart, and sees all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import PIECES, Pair, Side, size_text
from tenant_lifecycle.stores.postgres.servercheck import quoted
from tenant_lifecycle.stores.postgres.tables import Table
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

_IDENTITY = f"""
WITH {PIECES}
SELECT p.root::int8 AS root, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       c.relpersistence::text AS persistence, c.relreplident::text AS identity,
       (SELECT i.indimmediate FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS key_immediate,
       (SELECT ic.relname::text FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
           AND i.indpred IS NULL AND i.indexprs IS NULL
           AND NOT EXISTS (SELECT FROM pg_attribute a, generate_series(0, i.indnkeyatts - 1) k
                            WHERE a.attrelid = c.oid AND a.attnum = i.indkey[k] AND NOT a.attnotnull)
         ORDER BY i.indnkeyatts, ic.relname LIMIT 1) AS candidate,
       EXISTS (SELECT FROM pg_inherits h JOIN pg_class child ON child.oid = h.inhrelid
                WHERE h.inhparent = c.oid AND NOT child.relispartition) AS inherited,
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid AND NOT c.relispartition) AS inherits
  FROM pieces p JOIN pg_class c ON c.oid = p.rel JOIN pg_namespace n ON n.oid = c.relnamespace
 ORDER BY p.root, c.oid
"""  # noqa: S608 - composed of constants

_PUBLISHED = """
SELECT DISTINCT schemaname::text AS schema, tablename::text AS name, pubname::text AS publication,
       rowfilter IS NOT NULL AS filtered
  FROM pg_publication_tables WHERE pubname NOT LIKE 'tl\\_%%'
   AND (schemaname, tablename) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[]))
 ORDER BY 1, 2, 3
"""


def check_identity(pair: Pair) -> Iterator[Finding]:
    """Replica identity and the kind of every moved table, on both sides: both are sources of a feed."""
    for side in pair.sides:
        tables = {table.oid: table for table in side.moved}
        with side.conn.cursor(row_factory=dict_row) as cursor:
            pieces = cursor.execute(_IDENTITY, {"oids": list(tables)}).fetchall()
        found = [finding for piece in pieces for finding in _piece(side, tables[piece["root"]], piece)]
        yield from found
        if not found:
            yield fine(side.name, "pg.replica-identity", f"{len(tables)} tables can be followed row by row")


def _piece(side: Side, table: Table, piece: dict[str, Any]) -> Iterator[Finding]:
    name = TableName(piece["schema"], piece["name"])
    alter = f"ALTER TABLE {quoted(name.schema)}.{quoted(name.name)}"
    if piece["persistence"] == "u":
        yield refuse(
            side.name, "pg.unlogged", f"table {name} is unlogged: its changes are in no change log",
            f"{alter} SET LOGGED;",
        )  # fmt: skip
    if piece["kind"] == "f":
        yield refuse(
            side.name, "pg.foreign-partition", f"{name} is a foreign table inside {table.name}",
            f"detach it: ALTER TABLE {table.name} DETACH PARTITION {name};",
        )  # fmt: skip
    if piece["inherited"] or piece["inherits"]:
        yield refuse(
            side.name, "pg.inheritance", f"table {name} takes part in table inheritance; rows would move twice",
            f"{alter} NO INHERIT ...;  or use partitions instead",
        )  # fmt: skip
    if piece["kind"] != "f":
        yield from _identity(side, table, name, piece, alter)


def _identity(
    side: Side, table: Table, name: TableName, piece: dict[str, Any], alter: str
) -> Iterator[Finding]:
    index = piece["candidate"]
    better = f"{alter} REPLICA IDENTITY " + (f"USING INDEX {quoted(index)};" if index else "FULL;")
    match piece["identity"]:
        case "n":
            yield refuse(
                side.name, "pg.replica-identity-nothing",
                f"table {name} has REPLICA IDENTITY NOTHING: its updates and deletes cannot be followed", better,
            )  # fmt: skip
        case "d" if piece["key_immediate"] is None:
            yield refuse(
                side.name, "pg.replica-identity",
                f"table {name} has neither a primary key nor a replica identity; publishing it would make"
                " every UPDATE and DELETE in it fail", better,
            )  # fmt: skip
        case "d" if not piece["key_immediate"]:
            yield refuse(
                side.name, "pg.replica-identity-deferrable",
                f"the primary key of table {name} is deferrable and does not identify rows in a change log",
                f"make the key NOT DEFERRABLE, or {better}",
            )  # fmt: skip
        case "i" if table.primary_key and not set(table.primary_key) <= set(table.identity_columns):
            yield refuse(
                side.name, "pg.replica-identity-key",
                f"the replica identity of table {name} is an index without its primary key; a delete would"
                " not say which row", f"{alter} REPLICA IDENTITY DEFAULT;",
            )  # fmt: skip
        case other if other != table.replica_identity:
            yield refuse(
                side.name, "pg.replica-identity-partition",
                f"{name} and {table.name}, which it is a part of, have different replica identities",
                f"{alter} REPLICA IDENTITY ...;  as {table.name} has it",
            )  # fmt: skip


def check_keyless(pair: Pair) -> Iterator[Finding]:
    """Tables without any key are copied whole and followed as multisets, which is slow when they are big."""
    for table in pair.source.moved:
        if not table.key and table.replica_identity == "f":
            yield warn(
                pair.source.name, "pg.keyless",
                f"table {table.name} has no key: its rows are copied in one transaction ({size_text(table.bytes)}"
                " to be read) and changes to it are applied one by one",
                "a primary key makes the move of this table faster",
            )  # fmt: skip


def check_publications(pair: Pair) -> Iterator[Finding]:
    """Other people's publications that make writes to owned tables fail, and those that only filter.

    The server itself is asked: planning an UPDATE or DELETE runs its check without touching a row.
    """
    for side in pair.sides:
        pieces = [name for table in side.moved for name in (table.name, *table.partitions)]
        with side.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                _PUBLISHED,
                {"schemas": [name.schema for name in pieces], "names": [name.name for name in pieces]},
            ).fetchall()
        for name in dict.fromkeys(TableName(row["schema"], row["name"]) for row in rows):
            mine = [row for row in rows if TableName(row["schema"], row["name"]) == name]
            publications = ", ".join(row["publication"] for row in mine)
            if said := _writes_fail(side, name):
                yield refuse(
                    side.name, "pg.publication-filter",
                    f"publication {publications} makes writes to table {name} fail: {said}",
                    f"ALTER PUBLICATION ... DROP TABLE {name};  or widen the table's replica identity",
                )  # fmt: skip
            elif any(row["filtered"] for row in mine):
                yield warn(
                    side.name, "pg.publication-filter",
                    f"publication {publications} filters the rows of table {name}",
                    "its subscribers see the tenant's rows here only until the move",
                )  # fmt: skip


def _writes_fail(side: Side, name: TableName) -> str:
    """What the server says against an UPDATE or DELETE in the table; empty if nothing."""
    table = side.tables.get(name)
    column = (
        next((c for c in table.columns if not c.generated and c.identity != "a"), None) if table else None
    )
    statements = [sql.SQL("EXPLAIN DELETE FROM {}").format(table_sql(name))]
    if column is not None:
        statements.append(
            sql.SQL("EXPLAIN UPDATE {} SET {column} = {column}").format(
                table_sql(name), column=sql.Identifier(column.name)
            )
        )
    for statement in statements:
        try:
            side.conn.execute(statement)
        except (psycopg.errors.InvalidColumnReference, psycopg.errors.ObjectNotInPrerequisiteState) as exc:
            return exc.diag.message_primary or str(exc)
    return ""
