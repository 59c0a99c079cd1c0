"""What the catalogue declares about keys: foreign keys, and columns that are unique by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.rows import dict_row

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.tables import Table


@dataclass(frozen=True, slots=True)
class Reference:
    """One declared foreign key."""

    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]


_REFERENCES = """
SELECT con.conrelid::int8 AS tab, pn.nspname::text AS schema, pc.relname::text AS parent,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.conkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num) AS columns,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.confkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.num) AS parent_columns
  FROM pg_constraint con JOIN pg_class pc ON pc.oid = con.confrelid
  JOIN pg_namespace pn ON pn.oid = pc.relnamespace
 WHERE con.contype = 'f' AND con.conrelid = ANY (%(oids)s) AND NOT pc.relispartition
 ORDER BY 1, con.conname
"""

_UNIQUE = """
SELECT i.indrelid::int8 AS tab, a.attname::text AS col
  FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
 WHERE i.indrelid = ANY (%(oids)s) AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL
   AND i.indexprs IS NULL
"""


def read_references(
    conn: Connection, tables: Mapping[TableName, Table]
) -> Mapping[TableName, list[Reference]]:
    """Declared foreign keys by the table that has them."""
    names = {table.oid: name for name, table in tables.items()}
    found: dict[TableName, list[Reference]] = {}
    with conn.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_REFERENCES, {"oids": list(names)}):
            found.setdefault(names[row["tab"]], []).append(
                Reference(
                    tuple(row["columns"]), TableName(row["schema"], row["parent"]), tuple(row["parent_columns"])
                )
            )  # fmt: skip
    return found


def read_unique_columns(
    conn: Connection, tables: Mapping[TableName, Table]
) -> Mapping[TableName, frozenset[str]]:
    """Columns whose value tells a row from every other, by table."""
    names = {table.oid: name for name, table in tables.items()}
    found: dict[TableName, frozenset[str]] = {}
    with conn.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_UNIQUE, {"oids": list(names)}):
            name = names[row["tab"]]
            found[name] = found.get(name, frozenset()) | {str(row["col"])}
    return found
