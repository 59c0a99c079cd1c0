"""Whether every foreign key that a promotion could have broken still holds; triggers, which check them, were off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.references import Declared, references_of
from tenant_lifecycle.stores.postgres.tables import Table


def refuse_broken_references(
    conn: Connection,
    resolved: ResolvedMap,
    staged: Sequence[tuple[TableName, sql.Identifier]],
    tables: Mapping[TableName, Table],
    check: Check,
) -> None:
    """``staged`` has the tables that were written, each with what its rows were before that are gone or changed.

    Raises:
        PreconditionRefused: names every foreign key that would not hold, and whose rows are in the way.
    """
    said: list[str] = []
    written = {table for table, _ in staged}
    for reference in references_of(conn, written):
        check()
        if reference.child in written:
            said += _orphans(conn, resolved, reference)
        for table, before in staged:
            if table == reference.parent and reference.child in tables:
                said += _left_behind(conn, resolved, reference, before)
    if said:
        raise PreconditionRefused(
            f"{'; '.join(dict.fromkeys(said))}; nothing was changed",
            next_step="restore the tables together, or remove the rows that refer to what a restore takes away",
        )


def _orphans(conn: Connection, resolved: ResolvedMap, reference: Declared) -> Iterator[str]:
    """Rows of the tenant, as restored, that refer to nothing."""
    query = _dangling(reference, sql.SQL("{}").format(owned_rows(resolved, reference.child, "c")))
    if count := fetch(conn, query)[0][0]:
        yield f"{count} rows of {reference.child} would refer to rows of {reference.parent} that are not there ({reference.name})"


def _left_behind(
    conn: Connection, resolved: ResolvedMap, reference: Declared, before: sql.Identifier
) -> Iterator[str]:
    """Rows of anybody that referred to what is gone."""
    referred = sql.SQL("({}) IN (SELECT {} FROM {} s)").format(
        columns_sql(reference.child_columns, "c"), columns_sql(reference.parent_columns, "s"), before
    )
    if not (count := fetch(conn, _dangling(reference, referred))[0][0]):
        return
    mine = 0
    if reference.child in resolved.moved:
        own = owned_rows(resolved, reference.child, "c")
        mine = fetch(conn, _dangling(reference, sql.SQL("{} AND {}").format(referred, own)))[0][0]
    whose = "" if mine == count else f", {count - mine} of them not the tenant's,"
    yield f"{count} rows of {reference.child}{whose} would refer to rows of {reference.parent} that are not there ({reference.name})"


def _dangling(reference: Declared, condition: sql.Composable) -> sql.Composed:
    same = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("r", theirs), sql.Identifier("c", mine))
        for mine, theirs in zip(reference.child_columns, reference.parent_columns, strict=True)
    )
    return sql.SQL(
        "SELECT count(*) FROM {child} c WHERE {condition} AND num_nulls({columns}) = 0 "
        "AND NOT EXISTS (SELECT FROM {parent} r WHERE {same})"
    ).format(
        child=table_sql(reference.child),
        condition=condition,
        columns=columns_sql(reference.child_columns, "c"),
        parent=table_sql(reference.parent),
        same=same,
    )
