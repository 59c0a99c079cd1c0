"""Pre-flight: rows outside the tenant that its rows refer to must be on the target too.

Our sessions write as replicas, where the server does not check foreign keys; so it is done here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import Pair
from tenant_lifecycle.stores.postgres.preflight.staging import STAGED, staged_chunks
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse

_REFERENCES = """
SELECT con.conname::text AS name, con.conrelid::int8 AS tab, pn.nspname::text AS schema,
       pc.relname::text AS parent,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.conkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num) AS columns,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.confkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.num) AS parent_columns
  FROM pg_constraint con JOIN pg_class pc ON pc.oid = con.confrelid JOIN pg_namespace pn ON pn.oid = pc.relnamespace
 WHERE con.contype = 'f' AND con.conrelid = ANY (%(oids)s) AND con.confrelid <> ALL (%(oids)s)
 ORDER BY 2, 1
"""


def check_references(pair: Pair) -> Iterator[Finding]:
    """Foreign keys of moved tables into tables that do not move."""
    moved = {table.oid: table for table in pair.source.moved}
    with pair.source.conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_REFERENCES, {"oids": list(moved)}).fetchall()
    complete = True
    for row in rows:
        name, parent = moved[row["tab"]].name, TableName(row["schema"], row["parent"])
        missing = _missing(pair, name, parent, row)
        if missing:
            complete = False
            yield refuse(
                pair.target.name, "pg.reference-missing",
                f"{missing} rows of {parent} that rows of {name} refer to ({row['name']}) are not there",
                f"bring {parent} into line first; it is not moved with the tenant",
            )  # fmt: skip
    if complete:
        yield fine(pair.target.name, "pg.reference-missing", f"{len(rows)} references to unmoved tables hold")


def _missing(pair: Pair, name: TableName, parent: TableName, row: dict[str, Any]) -> int:
    columns, theirs = tuple(row["columns"]), tuple(row["parent_columns"])
    not_null = sql.SQL("num_nulls({}) = 0").format(columns_sql(columns, "t"))
    query = sql.SQL("SELECT DISTINCT {} FROM {} t WHERE {} AND {}").format(
        columns_sql(columns, "t"), table_sql(name), owned_rows(pair.source.resolved, name, "t"), not_null
    )
    twin = pair.target.tables.get(parent)
    if twin is None:
        found = pair.source.conn.execute(sql.SQL("SELECT count(*) FROM ({}) q").format(query)).fetchone()
        return int(str(found[0])) if found is not None else 0
    same = sql.SQL(" AND ").join(
        sql.SQL("s.{c} = p.{c}").format(c=sql.Identifier(column)) for column in theirs
    )
    lacking = sql.SQL("SELECT count(*) FROM {} s WHERE NOT EXISTS (SELECT FROM {} p WHERE {})").format(
        STAGED, table_sql(parent), same
    )
    missing = 0
    for _ in staged_chunks(pair.source.conn, query, pair.target.conn, twin, theirs, pair.limits.chunk_rows):
        count = pair.target.conn.execute(lacking).fetchone()
        missing += int(str(count[0])) if count is not None else 0
    return missing
