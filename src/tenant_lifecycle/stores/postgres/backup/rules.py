"""Keys, defaults, checks, indexes and references of tables: kept with a base, so that migrations find them.

A preview is made of columns and a key, which is all that loading and comparing needs. Migrations expect the rest
as well: they drop a constraint by its name, or fill a column by its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection

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
