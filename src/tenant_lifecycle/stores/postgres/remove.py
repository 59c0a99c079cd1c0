"""Taking a tenant's rows away again, as ours: children first, in small transactions, the root last.

Written to be killed anywhere and called again: what is left is found by the same ownership rules, so whatever
a rule needs to find its rows (parents, memberships) is deleted only after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from psycopg import sql

from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap, Root
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.ours import Writer, install, register_lane, writing
from tenant_lifecycle.stores.postgres.owned import exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

BATCH_ROWS = 5_000
_LANE = "remove"


def remove(database: Database, feed: Feed, check: Check, batch_rows: int = BATCH_ROWS) -> Mapping[str, int]:
    """Delete the tenant's rows here; returns counts by table of what this call deleted.

    People whom other tenants share stay. Call it only where the tenant's writes are refused.

    Raises:
        Fenced: a newer driver was here.
        InvariantViolated: the tenant is written here; nothing more was deleted.
    """
    writer = Writer(feed.name, feed.tenant, feed.token)
    with translating(database.name), database.connect("remove") as conn:
        install(conn)
        register_lane(conn, writer, _LANE)
        tables = read_tables(conn)
        resolved = database.map.resolve(feed.tenant, frozenset(tables))
        deleted: dict[str, int] = {}
        for name in deletion_order(resolved):
            count = 0
            # Until a look finds nothing: a row may have changed its place between being seen and deleted.
            while round_ := _delete_all(conn, writer, resolved, tables[name], check, batch_rows):
                count += round_
            deleted[str(name)] = count
        return deleted


def deletion_order(resolved: ResolvedMap) -> list[TableName]:
    """Children before parents, people before the memberships that say whose they are, the root last."""
    order: list[TableName] = []
    owned = [name for name in reversed(resolved.moved) if name not in resolved.shared]
    for name in sorted(owned, key=lambda name: isinstance(resolved.owned[name], Root)):
        order += [people for people, rule in resolved.shared.items() if rule.through == name]
        order.append(name)
    return order


def _delete_all(
    conn: Connection, writer: Writer, resolved: ResolvedMap, table: Table, check: Check, batch_rows: int
) -> int:
    """One look at the table and the deletion of what it showed, batch by batch."""
    check()
    condition = (
        exclusive_people(resolved, table.name, "t")
        if table.name in resolved.shared
        else owned_rows(resolved, table.name, "t")
    )
    # Without a key, rows are known by their place, and a place may have been given to somebody else's row.
    names = table.key or ("tableoid", "ctid")
    again = sql.SQL("TRUE") if table.key else condition
    found = _stage(conn, table.name, names, condition)
    delete = sql.SQL(
        "DELETE FROM {table} t USING pg_temp.tl_doomed d WHERE d.tl_n > {first} AND d.tl_n <= {last} AND {same} AND {again}"
    )
    same = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("d", f"k{position}"))
        for position, name in enumerate(names)
    )
    count = 0
    for first in range(0, found, batch_rows):
        check()
        with writing(conn, writer, _LANE) as written_here:
            if written_here:
                raise InvariantViolated(
                    "nothing was deleted: this database is the tenant's writer",
                    next_step="look at tenant_lifecycle.fence in both databases",
                )
            count += conn.execute(
                delete.format(
                    table=table_sql(table.name),
                    first=sql.Literal(first),
                    last=sql.Literal(first + batch_rows),
                    same=same,
                    again=again,
                )
            ).rowcount
    return count


def _stage(conn: Connection, table: TableName, names: Iterable[str], condition: sql.Composable) -> int:
    """Put the keys of the rows to be deleted, numbered, into a temporary table; return how many."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.Identifier("t", name), sql.Identifier(f"k{position}"))
        for position, name in enumerate(names)
    )
    conn.execute("DROP TABLE IF EXISTS pg_temp.tl_doomed")
    conn.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE tl_doomed AS SELECT row_number() OVER () AS tl_n, {} FROM {} t WHERE {}"
        ).format(columns, table_sql(table), condition)
    )
    conn.execute("CREATE INDEX ON pg_temp.tl_doomed (tl_n)")
    conn.execute("ANALYZE pg_temp.tl_doomed")
    (count,) = conn.execute("SELECT count(*) FROM pg_temp.tl_doomed").fetchone() or (0,)
    return cast("int", count)
