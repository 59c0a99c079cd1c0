"""Conditions that keep the applier's hands off rows that are not the tenant's, as SQL over the target.

A row here is called ``tl_t``. Residents of the target may have rows whose keys equal keys of the stream (both
sides count their own numbers), and neighbours of the tenant delete rows whose keys say nothing about owners.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.feed.layout import Layout, plain_types
from tenant_lifecycle.stores.postgres.feed.owner import Edge
from tenant_lifecycle.stores.postgres.feed.rules import hops_of
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql

TARGET = "tl_t"


def equal(left: Sequence[str], left_alias: str, right: Sequence[str], right_alias: str) -> sql.Composed:
    """Pairwise equality of columns."""
    pairs = [
        sql.SQL("{} = {}").format(sql.Identifier(left_alias, a), sql.Identifier(right_alias, b))
        for a, b in zip(left, right, strict=True)
    ]
    return sql.SQL(" AND ").join(pairs)


def mine(resolved: ResolvedMap, layout: Layout) -> sql.Composable:
    """The row is the tenant's; of shared people, only those whom no other tenant's membership names."""
    owned = owned_rows(resolved, layout.name, TARGET)
    shared = resolved.shared.get(layout.name)
    if shared is None:
        return owned
    return sql.SQL("({} AND NOT EXISTS (SELECT FROM {} m WHERE m.{} = {} AND ({}) IS NOT TRUE))").format(
        owned,
        table_sql(shared.through),
        sql.Identifier(shared.column),
        sql.Identifier(TARGET, shared.key),
        owned_rows(resolved, shared.through, "m"),
    )


def target_is_not_writer(tenant: str) -> sql.Composed:
    """False while the target is the tenant's writer: then a delete in the stream can only be a neighbour's.

    It is part of the statement that deletes, so that both see the same moment.
    """
    return sql.SQL(
        "NOT EXISTS (SELECT FROM tenant_lifecycle.fence f WHERE f.tenant = {} AND f.state IN ('ACTIVE', 'FENCED'))"
    ).format(sql.Literal(tenant))


def deciding(resolved: ResolvedMap, layout: Layout) -> tuple[str, ...]:
    """Columns that say whose a row is: while they stay the same, the owner does."""
    rule = resolved.shared.get(layout.name) or resolved.owned[layout.name]
    return tuple(dict.fromkeys(c for hop in hops_of(rule) for c in hop.columns))


def _departed_key(alias: str, columns: Sequence[str], types: Sequence[str]) -> sql.Composed:
    """Digest of a parent's key: the table of departed parents keeps nothing personal."""
    values = sql.SQL(", ").join(
        sql.SQL("{}::{}").format(sql.Identifier(alias, c), sql.SQL(t))
        for c, t in zip(columns, types, strict=True)
    )
    return sql.SQL("sha256(record_send(ROW({})))").format(values)


def note_departed(
    feed: str, layout: Layout, down: Sequence[Edge], rows: str, columns: Sequence[str]
) -> sql.Composed | None:
    """INSERT that remembers the keys of parents in ``rows`` (a relation with ``columns``); None if nobody needs it."""
    sets = [
        names for names in dict.fromkeys(edge.parent_columns for edge in down) if set(names) <= set(columns)
    ]
    if not sets:
        return None
    values = [
        sql.SQL("({}, {})").format(
            sql.Literal(",".join(names)), _departed_key(rows, names, plain_types(layout, names))
        )
        for names in sets
    ]
    return sql.SQL(
        "INSERT INTO tenant_lifecycle.departed (feed, schema_name, table_name, column_names, key) "
        "SELECT {feed}, {schema}, {table}, v.n, v.k FROM {rows} CROSS JOIN LATERAL (VALUES {values}) v (n, k) "
    ).format(
        feed=sql.Literal(feed),
        schema=sql.Literal(layout.name.schema),
        table=sql.Literal(layout.name.name),
        rows=sql.Identifier(rows),
        values=sql.SQL(", ").join(values),
    )


def departed(feed: str, up: Sequence[Edge]) -> sql.Composed | None:
    """The row's parent was the tenant's and is gone; None if the table has no parents."""
    options: list[sql.Composable] = []
    earlier: list[sql.Composable] = []
    for edge in up:
        parent = edge.parent
        key = _departed_key(TARGET, edge.child_columns, plain_types(parent, edge.parent_columns))
        options.append(
            sql.SQL(
                "({earlier} EXISTS (SELECT FROM tenant_lifecycle.departed d WHERE d.feed = {feed} AND "
                "d.schema_name = {schema} AND d.table_name = {table} AND d.column_names = {columns} AND d.key = {key}) "
                "AND NOT EXISTS (SELECT FROM {parent} tl_p WHERE {same}))"
            ).format(
                earlier=sql.SQL("").join(earlier),
                feed=sql.Literal(feed),
                schema=sql.Literal(parent.name.schema),
                table=sql.Literal(parent.name.name),
                columns=sql.Literal(",".join(edge.parent_columns)),
                key=key,
                parent=table_sql(parent.name),
                same=equal(edge.parent_columns, "tl_p", edge.child_columns, TARGET),
            )
        )
        earlier.append(sql.SQL("num_nulls({}) > 0 AND ").format(columns_sql(edge.child_columns, TARGET)))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(options)) if options else None
