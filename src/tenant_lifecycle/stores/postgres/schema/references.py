"""Whether everything the tenant's rows on the target refer to is there.

Copy and apply write with triggers off, and foreign keys are triggers: so they are checked afterwards, as a gate.
"""

from __future__ import annotations

from psycopg import sql

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse

_KEYS = """
SELECT con.conname::text, n.nspname::text, c.relname::text, pn.nspname::text, pc.relname::text,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.conkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num),
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.confkey) WITH ORDINALITY k(num, ord)
          JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.num),
       con.confmatchtype = 'f'
  FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class pc ON pc.oid = con.confrelid JOIN pg_namespace pn ON pn.oid = pc.relnamespace
 WHERE con.contype = 'f' AND con.conparentid = 0 ORDER BY 2, 3, 1
"""


def validate_references(target: Database, tenant: TenantId) -> list[Finding]:
    """A refusal for each foreign key of a moved table that rows of the tenant violate here."""
    resolved = target.resolve(tenant)
    moved = set(resolved.moved)
    findings: list[Finding] = []
    checked = 0
    with target.session() as conn:
        for name, schema, table, parent_schema, parent, columns, theirs, full in fetch(conn, _KEYS):
            child = TableName(schema, table)
            if child not in moved:
                continue
            checked += 1
            owned = owned_rows(resolved, child, "t")
            there = TableName(parent_schema, parent)
            orphans = _orphans(conn, owned, child, there, (tuple(columns), tuple(theirs)), full)
            if orphans:
                text = f"{orphans} row(s) of {child} refer to rows of {there} that are not there ({name})"
                step = f"bring {there} into line on both sides, then verify again"
                findings.append(refuse(target.name, "schema.reference-violated", text, step))
    return findings or [fine(target.name, "schema.reference-violated", f"{checked} foreign keys hold")]


def _orphans(
    conn: Connection,
    owned: sql.Composable,
    child: TableName,
    parent: TableName,
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    full: bool,
) -> int:
    """Rows whose reference leads nowhere; a key with a NULL in it refers to nothing (MATCH FULL: only if all are)."""
    refers = sql.SQL("num_nulls({}) < {}" if full else "num_nulls({}) = {}").format(
        columns_sql(columns[0], "t"), sql.Literal(len(columns[0]) if full else 0)
    )
    same = sql.SQL(" AND ").join(
        [
            sql.SQL("{} = {}").format(sql.Identifier("r", theirs), sql.Identifier("t", mine))
            for mine, theirs in zip(*columns, strict=True)
        ]
    )
    query = sql.SQL(
        "SELECT count(*) FROM {child} t WHERE {owned} AND {refers} AND NOT EXISTS (SELECT FROM {parent} r WHERE {same})"
    ).format(child=table_sql(child), owned=owned, refers=refers, parent=table_sql(parent), same=same)
    return int(fetch(conn, query)[0][0])
