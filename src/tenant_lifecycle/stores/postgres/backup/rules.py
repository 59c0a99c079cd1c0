"""Keys, defaults, checks, indexes and references of tables: kept with a base, so that migrations find them.

A preview is made of columns and a key, which is all that loading and comparing needs. Migrations expect the rest
as well: they drop a constraint by its name, or fill a column by its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.backup.register import PreviewSet, Registered
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql

_RULES = """
WITH wanted AS (SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  JOIN unnest(%(schemas)s::text[], %(names)s::text[]) w(s, t) ON w.s = n.nspname AND w.t = c.relname)
SELECT w.nspname::text || '.' || w.relname AS set, 'constraint' AS kind, con.conname::text AS name,
       con.contype::text AS type, CASE WHEN con.contype <> 'f' THEN pg_get_constraintdef(con.oid) END AS definition,
       fk.nspname::text || '.' || fk.relname AS parent,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.conkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num) AS columns,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.confkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.num) AS parent_columns,
       CASE con.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT'
                            WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END AS on_delete
  FROM wanted w JOIN pg_constraint con ON con.conrelid = w.oid LEFT JOIN wanted fk ON fk.oid = con.confrelid
 WHERE con.conparentid = 0 AND (con.contype IN ('p', 'u', 'c') OR (con.contype = 'f' AND fk.oid IS NOT NULL))
UNION ALL
SELECT w.nspname::text || '.' || w.relname, 'index', ic.relname::text, CASE WHEN i.indisunique THEN 'u' ELSE '' END,
       substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*$'), NULL, NULL, NULL, NULL
  FROM wanted w JOIN pg_index i ON i.indrelid = w.oid JOIN pg_class ic ON ic.oid = i.indexrelid
 WHERE i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = w.oid
                                       AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT w.nspname::text || '.' || w.relname, 'default', a.attname::text, '', pg_get_expr(ad.adbin, ad.adrelid),
       NULL, NULL, NULL, NULL
  FROM wanted w JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
 ORDER BY 1, 2, 3
"""


def read_rules(conn: Connection, names: Sequence[TableName]) -> list[dict[str, Any]]:
    """As JSON, in a stable order; references only where the parent is among the tables."""
    parameters = {"schemas": [name.schema for name in names], "names": [name.name for name in names]}
    with conn.cursor(row_factory=dict_row) as cursor:
        return [dict(row) for row in cursor.execute(_RULES, parameters)]


def give_rules(conn: Connection, store: str, preview: Registered) -> None:
    """Add to a preview's tables what the base's had, references last; in the caller's transaction.

    Raises:
        StoreRejected: a rule needs something that is not here any more, or the rows break it.
    """
    rules = sorted(preview.facts.get("rules", ()), key=lambda rule: rule["type"] == "f")
    for rule in rules:
        one = preview.sets.get(rule["set"])
        if one is None or rule["type"] == "p":
            continue
        try:
            with conn.transaction():
                conn.execute(_statement(preview, one, rule))
        except psycopg.Error as exc:
            raise StoreRejected(
                f"{store}: the backup's {rule['kind']} {rule['name']} of {rule['set']} cannot be made on preview {preview.name} "
                f"(SQLSTATE {exc.sqlstate})",
                store=store,
                next_step="create the function or the type that it needs, and try again",
            ) from None


def _statement(preview: Registered, one: PreviewSet, rule: dict[str, Any]) -> sql.Composed:
    table, name = table_sql(one.table), sql.Identifier(rule["name"])
    if rule["kind"] == "default":
        return sql.SQL("ALTER TABLE {} ALTER {} SET DEFAULT {}").format(
            table, name, sql.SQL(rule["definition"])
        )
    if rule["kind"] == "index":
        return sql.SQL("CREATE {}INDEX {} ON {} {}").format(
            sql.SQL("UNIQUE " if rule["type"] == "u" else ""), name, table, sql.SQL(rule["definition"])
        )
    if rule["type"] != "f":
        return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, name, sql.SQL(rule["definition"]))
    # NOT VALID: what a row refers to may be somebody's who is not in this backup.
    return sql.SQL(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} NOT VALID"
    ).format(
        table,
        name,
        columns_sql(tuple(rule["columns"])),
        table_sql(preview.sets[rule["parent"]].table),
        columns_sql(tuple(rule["parent_columns"])),
        sql.SQL(rule["on_delete"]),
    )
