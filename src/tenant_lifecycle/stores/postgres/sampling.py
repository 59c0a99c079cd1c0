"""Looking at a few rows of big tables: bounded samples, and what they say about a way to an owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import psycopg
from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, Root, Rule, Via
from tenant_lifecycle.model.proposal import Edge
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import Table

#: Rows looked at per question.
SAMPLE_ROWS = 1000
#: A table above this size is sampled by pages, a smaller one by a fixed shuffle of all rows.
_BIG = 32 * 1_048_576
_PAGES = 400
#: A question that takes longer stays unanswered.
_PATIENCE_MS = 10_000


def ask(conn: Connection, query: sql.Composable | str) -> list[tuple[object, ...]] | None:
    """The rows of a query, None if it took too long. Reads only."""
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION READ ONLY")
            conn.execute(f"SET LOCAL statement_timeout = {_PATIENCE_MS}".encode())
            composed = query if isinstance(query, sql.Composed) else sql.Composed([sql.SQL(str(query))])
            return conn.execute(composed).fetchall()
    except psycopg.errors.QueryCanceled:
        return None


def sample(table: Table, rows: int = SAMPLE_ROWS) -> sql.Composed:
    """A sub-query (without alias) over at most ``rows`` rows from all over the table; the same each time."""
    if table.bytes > _BIG:
        percent = min(100.0, 100.0 * _PAGES * 8192 / table.bytes)
        return sql.SQL("(SELECT * FROM {} TABLESAMPLE SYSTEM ({}) REPEATABLE (1) LIMIT {})").format(
            table_sql(table.name), sql.Literal(percent), sql.Literal(rows)
        )
    return sql.SQL("(SELECT * FROM {} x ORDER BY hashtext(x.ctid::text), x.tableoid LIMIT {})").format(
        table_sql(table.name), sql.Literal(rows)
    )


def owner_of(rules: Mapping[TableName, Rule], table: TableName, alias: str, depth: int = 0) -> sql.Composable:
    """Expression for the owner (text) of the row called ``alias``, by look-ups through the parents' keys.

    For few rows; for all rows of a table there is `every_owner`.
    """
    match rules.get(table):
        case Root(column) | Direct(column):
            return sql.SQL("{}::text").format(sql.Identifier(alias, column))
        case Via(hops):
            return sql.SQL("CASE {} END").format(
                sql.SQL(" ").join(
                    sql.SQL("WHEN num_nulls({}) = 0 THEN {}").format(
                        columns_sql(hop.columns, alias), over(rules, hop, alias, depth)
                    )
                    for hop in hops
                )
            )
    return sql.SQL("NULL::text")


def over(rules: Mapping[TableName, Rule], hop: Hop, alias: str, depth: int = 0) -> sql.Composable:
    """Expression for the owner that a hop leads to."""
    if hop.parent is None:
        return sql.SQL("{}::text").format(sql.Identifier(alias, hop.columns[0]))
    inner = f"o{depth}"
    return sql.SQL("(SELECT {} FROM {} {} WHERE {} LIMIT 1)").format(
        owner_of(rules, hop.parent, inner, depth + 1), table_sql(hop.parent), sql.Identifier(inner),
        _joined(hop, alias, inner),
    )  # fmt: skip


def measure(
    conn: Connection, table: Table, edge: Edge, rules: Mapping[TableName, Rule], witness: Hop | None = None
) -> Edge:
    """The edge with the numbers of a sample; ``witness`` is another way to the tenant, to compare with.

    Unchanged if the question took too long.
    """
    hop = edge.hop
    if hop.parent is None:
        root = next(name for name, rule in rules.items() if isinstance(rule, Root))
        rule = rules[root]
        assert isinstance(rule, Root)
        found: sql.Composable = sql.SQL("EXISTS (SELECT FROM {} p WHERE p.{}::text = t.{}::text)").format(
            table_sql(root), sql.Identifier(rule.column), sql.Identifier(hop.columns[0])
        )
    else:
        found = sql.SQL("EXISTS (SELECT FROM {} p WHERE {})").format(
            table_sql(hop.parent), _joined(hop, "t", "p")
        )
    other = over(rules, witness, "t") if witness is not None else sql.SQL("NULL::text")
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE present), count(*) FILTER (WHERE present AND found),"
        " count(*) FILTER (WHERE present AND mine IS NOT NULL AND other IS NOT NULL),"
        " count(*) FILTER (WHERE present AND mine = other)"
        " FROM (SELECT num_nulls({columns}) = 0 AS present, {found} AS found, {mine} AS mine, {other} AS other"
        "         FROM {sample} t) s"
    ).format(
        columns=columns_sql(hop.columns, "t"), found=found, mine=over(rules, hop, "t"), other=other,
        sample=sample(table),
    )  # fmt: skip
    rows = ask(conn, query)
    if not rows:
        return edge
    sampled, present, found_rows, compared, agreeing = (int(str(value)) for value in rows[0])
    return replace(
        edge, sampled=sampled, present=present, found=found_rows, compared=compared, agreeing=agreeing
    )


def _joined(hop: Hop, alias: str, parent: str) -> sql.Composable:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(parent, theirs), sql.Identifier(alias, mine))
        for mine, theirs in zip(hop.columns, hop.parent_columns, strict=True)
    )
