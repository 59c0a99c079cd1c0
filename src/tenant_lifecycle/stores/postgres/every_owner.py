"""Ownership the other way round: for every row, the tenant that it belongs to.

`owned.owned_rows` asks "is it this tenant's?"; here all tenants are asked for at once, in joins that read
each table once. A test holds both to the same answer.
"""

from __future__ import annotations

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, ResolvedMap, Root, Via, Whole
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql

#: Column with the owner of a row, as text; NULL if nobody.
OWNER = sql.Identifier("tl_owner")


def rows_with_owner(
    resolved: ResolvedMap, table: TableName, columns: tuple[str, ...] = (), limit: int | None = None
) -> sql.Composed:
    """Query over ``columns`` of the table's rows with `OWNER`, for each hop of its rule ``tl_hop<n>``, and
    ``tableoid`` and ``ctid``.

    A row appears more than once if its parent is not unique. ``limit`` bounds the rows that are read of the
    table itself, not of its parents.
    """
    rule = resolved.owned[table]
    hops = rule.hops if isinstance(rule, Via) else ()
    joins = [_join(resolved, hop, number) for number, hop in enumerate(hops)]
    match rule:
        case Root(column) | Direct(column):
            owner: sql.Composable = sql.SQL("{}::text").format(sql.Identifier("t", column))
        case Whole():
            owner = sql.Literal(resolved.tenant)
        case _:
            owner = _first_hop(hops)
    found = [
        sql.SQL("{} AS {}").format(_hop_owner(hop, number), sql.Identifier(f"tl_hop{number}"))
        for number, hop in enumerate(hops)
    ]
    selected = [sql.SQL("t.tableoid, t.ctid"), *(sql.Identifier("t", column) for column in columns), *found]
    source: sql.Composable = table_sql(table)
    if limit is not None:
        source = sql.SQL("(SELECT tableoid, ctid, * FROM {} LIMIT {})").format(source, sql.Literal(limit))
    return sql.SQL("SELECT {}, {} AS {} FROM {} t {}").format(
        sql.SQL(", ").join(selected), owner, OWNER, source, sql.SQL(" ").join(joins)
    )


def _join(resolved: ResolvedMap, hop: Hop, number: int) -> sql.Composable:
    if hop.parent is None:
        return sql.SQL("")
    alias = f"h{number}"
    same = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", mine), sql.Identifier(alias, theirs))
        for mine, theirs in zip(hop.columns, hop.parent_columns, strict=True)
    )
    # DISTINCT: parents that lead to one owner are one way to it.
    return sql.SQL("LEFT JOIN (SELECT DISTINCT {}, {} FROM ({}) p) {} ON {}").format(
        columns_sql(hop.parent_columns), OWNER, rows_with_owner(resolved, hop.parent, hop.parent_columns),
        sql.Identifier(alias), same,
    )  # fmt: skip


def _hop_owner(hop: Hop, number: int) -> sql.Composable:
    if hop.parent is None:
        return sql.SQL("{}::text").format(sql.Identifier("t", hop.columns[0]))
    return sql.SQL("{}.{}").format(sql.Identifier(f"h{number}"), OWNER)


def _first_hop(hops: tuple[Hop, ...]) -> sql.Composable:
    """The first hop whose columns are all NOT NULL decides, as in `owned`."""
    cases = [
        sql.SQL("WHEN num_nulls({}) = 0 THEN {}").format(
            columns_sql(hop.columns, "t"), _hop_owner(hop, number)
        )
        for number, hop in enumerate(hops)
    ]
    return sql.SQL("CASE {} END").format(sql.SQL(" ").join(cases))
