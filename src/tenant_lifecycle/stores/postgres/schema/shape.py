"""One digest for the shape of a tenant's tables, equal on every server where their rows fit alike.

It covers what `compare` refuses over: columns and their types, NOT NULL, generation expressions, keys, unique
and check rules, partitions with their bounds, labels of enums. Names of constraints, indexes and partitions,
defaults, and everything else that only warns, are left out. It is asked for again and again during a move to
notice DDL, so it is one query.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.schema.differences import plain
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA, PREVIEW_MARK

_NAMES = """
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', $1)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                      AND d.deptype = 'e')
   AND NOT EXISTS (SELECT FROM pg_description d WHERE d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass
                      AND starts_with(d.description, $2))
"""

_SHAPE = """
WITH roots AS (
    SELECT c.oid, c.relkind, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN unnest($1::text[], $2::text[]) wanted(s, t) ON wanted.s = n.nspname AND wanted.t = c.relname
), relations AS (
    SELECT r.name AS root, coalesce(t.relid::oid, r.oid) AS oid, t.parentrelid::oid AS parent, coalesce(t.level, 0) AS level
      FROM roots r LEFT JOIN LATERAL pg_partition_tree(r.oid) t ON r.relkind = 'p'
)
SELECT r.root, r.oid::int8, r.parent::int8, pg_get_expr(c.relpartbound, c.oid),
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
       CASE WHEN r.parent IS NULL THEN (
          SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
                 CASE WHEN a.attgenerated <> '' THEN pg_get_expr(ad.adbin, ad.adrelid) END,
                 (SELECT json_agg(e.enumlabel ORDER BY e.enumlabel COLLATE "C") FROM pg_enum e
                   WHERE e.enumtypid = coalesce(nullif(ty.typelem, 0), ty.oid)))
                 ORDER BY a.attname COLLATE "C")
            FROM pg_attribute a JOIN pg_type ty ON ty.oid = a.atttypid
            LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
           WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped) END,
       (SELECT json_agg(pg_get_constraintdef(k.oid)) FROM pg_constraint k
         WHERE k.conrelid = r.oid AND k.contype IN ('p', 'u', 'x', 'c') AND k.conparentid = 0 AND k.coninhcount = 0),
       (SELECT json_agg(json_build_array(pg_get_indexdef(i.indexrelid),
               format('CREATE UNIQUE INDEX %I ON ', ic.relname), format('%I.%I ', n.nspname, c.relname)))
          FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid AND NOT ic.relispartition
           AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')))
  FROM relations r JOIN pg_class c ON c.oid = r.oid ORDER BY r.level
"""


def shape(database: Database, tenant: TenantId) -> str:
    """SHA-256 of the shape of the tenant's tables, lower-case hex; the same on both sides of a pair that
    `compare` does not refuse."""
    with database.session() as conn:
        names = frozenset(
            TableName(*row) for row in fetch(conn, _NAMES, [OUR_SCHEMA, PREVIEW_MARK], prepare=True)
        )
        moved = database.map.resolve(tenant, names).moved
        lines = shape_lines(conn, moved)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def shape_lines(conn: Connection, tables: tuple[TableName, ...]) -> list[str]:
    """What the digest is made over: one line for each table or partition, sorted."""
    parameters = [[t.schema for t in tables], [t.name for t in tables]]
    paths: dict[int, tuple[str, ...]] = {}
    lines = []
    for root, oid, parent, bound, key, columns, rules, uniques in fetch(
        conn, _SHAPE, parameters, prepare=True
    ):
        # Partitions go by the bounds that lead to them, for their names are free.
        paths[oid] = () if parent is None else (*paths[parent], bound or "")
        described = {
            "table": root,
            "path": paths[oid],
            "key": plain(key),
            "columns": [[*column[:4], plain(column[4]), column[5]] for column in columns or ()],
            "rules": sorted(plain(rule) for rule in rules or ()),
            "unique": sorted(_content(unique) for unique in uniques or ()),
        }
        lines.append(json.dumps(described, sort_keys=True, ensure_ascii=True))
    return sorted(lines)


def _content(unique: list[Any]) -> str:
    """A unique index without its name and its table's."""
    definition, head, place = unique
    return plain(definition.removeprefix(head).removeprefix("ONLY ").removeprefix(place))
