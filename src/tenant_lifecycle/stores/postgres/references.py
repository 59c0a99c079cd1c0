"""What the catalogue declares about keys: foreign keys, and columns that are unique by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
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


_DECLARED = """
SELECT con.conname::text, cn.nspname::text, cc.relname::text, pn.nspname::text, pc.relname::text,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.conkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num),
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.confkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.num)
  FROM pg_constraint con JOIN pg_class cc ON cc.oid = con.conrelid JOIN pg_namespace cn ON cn.oid = cc.relnamespace
  JOIN pg_class pc ON pc.oid = con.confrelid JOIN pg_namespace pn ON pn.oid = pc.relnamespace
 WHERE con.contype = 'f' AND con.conparentid = 0 AND (con.confrelid = ANY (%(parents)s::regclass[]) OR con.conrelid = ANY (%(children)s::regclass[]))
 ORDER BY 2, 3, 1
"""


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared foreign key, from the side of what it refers to."""

    name: str
    child: TableName
    child_columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]


def references_to(conn: Connection, parents: Iterable[TableName]) -> list[Declared]:
    """Declared foreign keys that refer to these tables."""
    return _declared(conn, parents, ())


def references_of(conn: Connection, tables: Iterable[TableName]) -> list[Declared]:
    """Declared foreign keys that refer to these tables, or from them."""
    names = list(tables)
    return _declared(conn, names, names)


def _declared(
    conn: Connection, parents: Iterable[TableName], children: Iterable[TableName]
) -> list[Declared]:
    names = {
        "parents": [table_sql(name).as_string(conn) for name in parents],
        "children": [table_sql(name).as_string(conn) for name in children],
    }
    return [
        Declared(str(name), TableName(str(cs), str(ct)), tuple(cast("list[str]", columns)),
                 TableName(str(ps), str(pt)), tuple(cast("list[str]", theirs)))
        for name, cs, ct, ps, pt, columns, theirs in conn.execute(_DECLARED, names)
    ]  # fmt: skip


def dangling(conn: Connection, parents: Iterable[TableName]) -> list[str]:
    """Foreign keys to these tables that no longer hold, one sentence each: nobody checked them meanwhile."""
    found = []
    for reference in references_to(conn, parents):
        same = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("p", theirs), sql.Identifier("c", mine))
            for mine, theirs in zip(reference.child_columns, reference.parent_columns, strict=True)
        )
        query = sql.SQL(
            "SELECT count(*) FROM {child} c WHERE num_nulls({columns}) = 0 "
            "AND NOT EXISTS (SELECT FROM {parent} p WHERE {same})"
        ).format(
            child=table_sql(reference.child),
            columns=columns_sql(reference.child_columns, "c"),
            parent=table_sql(reference.parent),
            same=same,
        )
        (count,) = conn.execute(query).fetchone() or (0,)
        if count:
            found.append(
                f"{count} rows of {reference.child} refer over {reference.name} to rows that are gone"
            )
    return found
