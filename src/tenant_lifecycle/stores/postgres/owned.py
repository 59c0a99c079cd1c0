"""Ownership as SQL: the condition that is true for exactly the rows of one tenant.

Everything that reads, digests, counts or fences a tenant's rows takes its WHERE clause from here, so that
there is one meaning of "the tenant's rows". Values are quoted by the driver, never pasted.
"""

from __future__ import annotations

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, ResolvedMap, Root, Rule, Shared, Via, Whole


def table_sql(name: TableName) -> sql.Identifier:
    """The table's qualified, quoted name."""
    return sql.Identifier(name.schema, name.name)


def columns_sql(names: tuple[str, ...], alias: str | None = None) -> sql.Composed:
    """Comma-separated quoted columns, each behind ``alias`` if one is given."""
    return sql.SQL(", ").join(sql.Identifier(alias, n) if alias else sql.Identifier(n) for n in names)


def owned_rows(resolved: ResolvedMap, table: TableName, alias: str) -> sql.Composable:
    """The condition, over a row called ``alias``, for "this row is the tenant's (shared people included)".

    Sub-queries are uncorrelated ``IN``: the planner makes semi-joins or hashed sub-plans of them.
    The tenant stands in it as a literal, because COPY takes no parameters.
    """
    rule: Rule = resolved.shared.get(table) or resolved.owned[table]
    return _condition(resolved, rule, alias, depth=0)


def exclusive_people(resolved: ResolvedMap, table: TableName, alias: str) -> sql.Composable:
    """The condition for rows of a shared table that belong to this tenant and to no other."""
    return sql.SQL("({owned} AND {no_others})").format(
        owned=owned_rows(resolved, table, alias), no_others=no_other_tenants(resolved, table, alias)
    )


def no_other_tenants(resolved: ResolvedMap, table: TableName, alias: str) -> sql.Composable:
    """The condition for rows of a shared table that belong to no other tenant: to this one, or to nobody."""
    rule = resolved.shared[table]
    # NOT EXISTS and not NOT IN: one membership without a person would make NOT IN true for nobody, and a
    # list of all other tenants' members that outgrows work_mem would be searched once for each person.
    return sql.SQL("NOT EXISTS (SELECT FROM {through} x0 WHERE {column} = {key} AND NOT ({mine}))").format(
        column=sql.Identifier("x0", rule.column),
        key=sql.Identifier(alias, rule.key),
        through=table_sql(rule.through),
        mine=_condition(resolved, resolved.owned[rule.through], "x0", depth=1),
    )


def _condition(resolved: ResolvedMap, rule: Rule, alias: str, depth: int) -> sql.Composable:
    match rule:
        case Root(column) | Direct(column):
            return sql.SQL("{} = {}").format(sql.Identifier(alias, column), sql.Literal(resolved.tenant))
        case Whole():
            return sql.SQL("TRUE")
        case Via(hops):
            return _over_hops(resolved, hops, alias, depth)
        case Shared(through, column, key):
            members = _condition(resolved, resolved.owned[through], f"p{depth}", depth + 1)
            return _member_of(alias, (key,), through, (column,), members, depth)
    raise TypeError(f"no tenant owns rows under {rule!r}")


def _over_hops(resolved: ResolvedMap, hops: tuple[Hop, ...], alias: str, depth: int) -> sql.Composable:
    """First hop whose columns are NOT NULL decides; a hop behind another applies only where that is NULL."""
    options: list[sql.Composable] = []
    for position, hop in enumerate(hops):
        earlier = [
            sql.SQL("({}) IS NULL").format(
                sql.SQL(", ").join(sql.Identifier(alias, c) for c in previous.columns)
            )
            if len(previous.columns) == 1
            else sql.SQL("num_nulls({}) > 0").format(columns_sql(previous.columns, alias))
            for previous in hops[:position]
        ]
        options.append(sql.SQL(" AND ").join([*earlier, _over_hop(resolved, hop, alias, depth)]))
    return options[0] if len(options) == 1 else sql.SQL("(({}))").format(sql.SQL(") OR (").join(options))


def _over_hop(resolved: ResolvedMap, hop: Hop, alias: str, depth: int) -> sql.Composable:
    if hop.parent is None:
        return sql.SQL("{} = {}").format(sql.Identifier(alias, hop.columns[0]), sql.Literal(resolved.tenant))
    parent_rule = resolved.owned[hop.parent]
    owned_parents = _condition(resolved, parent_rule, f"p{depth}", depth + 1)
    return _member_of(alias, hop.columns, hop.parent, hop.parent_columns, owned_parents, depth)


def _member_of(
    alias: str,
    columns: tuple[str, ...],
    parent: TableName,
    parent_columns: tuple[str, ...],
    condition: sql.Composable,
    depth: int,
) -> sql.Composable:
    inner = f"p{depth}"
    return sql.SQL("({mine}) IN (SELECT {theirs} FROM {parent} {inner} WHERE {condition})").format(
        mine=columns_sql(columns, alias),
        theirs=columns_sql(parent_columns, inner),
        parent=table_sql(parent),
        inner=sql.Identifier(inner),
        condition=condition,
    )
