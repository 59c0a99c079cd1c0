"""Whose rows a statement touched: ownership rules as SQL from a row to its owners.

The opposite direction of `owned`, which goes from a tenant to its rows. Triggers ask it for the rows of a
transition table, so it must be cheap for one row and bearable for a million: rows are first reduced to the
distinct values that decide, and each of those looks its parents up through an index (``OFFSET 0`` keeps the
planner, whose plan a session keeps, from preferring a scan of the parent because a first statement was big).
"""

from __future__ import annotations

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, ResolvedMap, Root, Rule, Shared, Via, Whole
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql

#: Name of the counter of equal rows; nobody's column is called so.
_ROWS = sql.Identifier("tenant_lifecycle rows")


def rule_of(resolved: ResolvedMap, table: TableName) -> Rule:
    """The rule of a table that takes part in a move."""
    return resolved.shared.get(table) or resolved.owned[table]


def owners_of_rows(resolved: ResolvedMap, table: TableName, rows: sql.Composable) -> sql.Composed:
    """SELECT of ``owner text, alone boolean, rows bigint``, one for each owner of a row of ``rows``.

    ``alone`` is false where all of the owner's rows in it are people whom other tenants share.
    """
    rule = rule_of(resolved, table)
    if isinstance(rule, Whole):
        return sql.SQL(
            "SELECT {tenant}::text AS owner, true AS alone, count(*) AS rows FROM {rows} HAVING count(*) > 0"
        ).format(tenant=sql.Literal(resolved.tenant), rows=rows)
    if isinstance(rule, Root | Direct):
        return sql.SQL(
            'SELECT (t.{c})::text COLLATE "default" AS owner, true AS alone, t.{n} AS rows FROM '
            "(SELECT {c}, count(*) AS {n} FROM {rows} WHERE {c} IS NOT NULL GROUP BY {c}) t"
        ).format(n=_ROWS, c=sql.Identifier(rule.column), rows=rows)
    return sql.SQL(
        "SELECT o.owner, bool_or(o.alone) AS alone, sum(t.{n})::bigint AS rows "
        "FROM (SELECT {columns}, count(*) AS {n} FROM {rows} GROUP BY {columns}) t "
        "CROSS JOIN LATERAL ({owners} OFFSET 0) o GROUP BY o.owner"
    ).format(
        n=_ROWS,
        columns=columns_sql(_deciding_columns(rule)),
        rows=rows,
        owners=owners_of_row(resolved, rule, "t"),
    )


def owners_of_row(resolved: ResolvedMap, rule: Rule, alias: str, depth: int = 0) -> sql.Composable:
    """SELECT of ``owner, alone`` for the one row called ``alias``; no rows if nobody owns it."""
    match rule:
        case Root(column) | Direct(column):
            return _named_in(alias, column)
        case Whole():
            return sql.SQL("SELECT {}::text AS owner, true AS alone").format(sql.Literal(resolved.tenant))
        case Via(hops):
            return sql.SQL(" UNION ALL ").join(
                _over_hop(resolved, hop, hops[:position], alias, depth) for position, hop in enumerate(hops)
            )
        case Shared(through, column, key):
            members = owners_of_row(resolved, resolved.owned[through], f"p{depth}", depth + 1)
            return sql.SQL(
                "SELECT m.owner, count(*) OVER () = 1 AS alone FROM (SELECT DISTINCT o.owner "
                "FROM {through} {p} CROSS JOIN LATERAL ({members}) o WHERE {p}.{column} = {alias}.{key}) m"
            ).format(
                through=table_sql(through),
                p=sql.Identifier(f"p{depth}"),
                members=members,
                column=sql.Identifier(column),
                alias=sql.Identifier(alias),
                key=sql.Identifier(key),
            )
    raise TypeError(f"no tenant owns rows under {rule!r}")


def _named_in(alias: str, column: str) -> sql.Composed:
    # The collation is said, or two columns with different ones could not be compared.
    return sql.SQL(
        'SELECT ({c})::text COLLATE "default" AS owner, true AS alone WHERE {c} IS NOT NULL'
    ).format(c=sql.Identifier(alias, column))


def _over_hop(
    resolved: ResolvedMap, hop: Hop, earlier: tuple[Hop, ...], alias: str, depth: int
) -> sql.Composed:
    """The owners over one hop, which applies only where every earlier hop has a NULL in its columns."""
    conditions: list[sql.Composable] = [
        sql.SQL("num_nulls({}) > 0").format(columns_sql(before.columns, alias)) for before in earlier
    ]
    if hop.parent is None:
        return sql.SQL(" AND ").join([_named_in(alias, hop.columns[0]), *conditions])
    parent = f"p{depth}"
    conditions += [
        sql.SQL("{} = {}").format(sql.Identifier(parent, theirs), sql.Identifier(alias, mine))
        for theirs, mine in zip(hop.parent_columns, hop.columns, strict=True)
    ]
    return sql.SQL(
        "SELECT {o}.owner, {o}.alone FROM {parent} {p} CROSS JOIN LATERAL ({owners}) {o} WHERE {conditions}"
    ).format(
        o=sql.Identifier(f"o{depth}"),
        parent=table_sql(hop.parent),
        p=sql.Identifier(parent),
        owners=owners_of_row(resolved, resolved.owned[hop.parent], parent, depth + 1),
        conditions=sql.SQL(" AND ").join(conditions),
    )


def _deciding_columns(rule: Rule) -> tuple[str, ...]:
    match rule:
        case Root(column) | Direct(column):
            return (column,)
        case Via(hops):
            return tuple(dict.fromkeys(column for hop in hops for column in hop.columns))
        case Shared(_, _, key):
            return (key,)
    raise TypeError(f"no column decides under {rule!r}")


def deciding_columns(resolved: ResolvedMap, table: TableName) -> tuple[str, ...]:
    """Columns of a table that hold a tenant's id as it is written: the root's, or a direct column's."""
    match rule_of(resolved, table):
        case Root(column) | Direct(column):
            return (column,)
        case Via(hops):
            return tuple(hop.columns[0] for hop in hops if hop.parent is None)
    return ()
