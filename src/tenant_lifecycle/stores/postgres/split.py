"""Cutting a tenant's rows into parts of a copy: ranges of the key, remembered in the target.

Bounds are text as the source prints it, kept in ``copy_part.bounds`` and cast back by the source: exact for
every type, and compared by the source alone, so collations of the target do not matter. The first range is
open below and the last one above, so that together they hold every row, also those that come later.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from psycopg import sql
from psycopg.types.json import Jsonb

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Feed, Part
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.ours import Writer, install, register_lane
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

#: A part ends at whichever comes first.
ROWS_PER_PART = 50_000
BYTES_PER_PART = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Range:
    """Keys after ``after`` up to and with ``upto``; None is open. Values are text, one per key column."""

    table: TableName
    after: tuple[str, ...] | None
    upto: tuple[str, ...] | None
    #: Owned rows when the table was cut.
    rows: int = 0


def split(
    source: Database,
    target: Database,
    feed: Feed,
    rows_per_part: int = ROWS_PER_PART,
    bytes_per_part: int = BYTES_PER_PART,
) -> list[Part]:
    """Cut every table of the tenant; later calls return the same parts with what is done.

    Raises:
        Fenced: a newer driver was here.
    """
    resolved = source.resolve(feed.tenant)
    with target.session() as conn:
        install(conn)
        register_lane(conn, Writer(feed.name, feed.tenant, feed.token), "split")
        parts = _remembered(conn, feed, resolved)
    if parts:
        return parts
    ranges = _cut_all(source, feed, rows_per_part, bytes_per_part)
    with target.session() as conn:
        with conn.transaction():
            # Two drivers may have cut at once, at different bounds: the first to come here is right.
            conn.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('tenant_lifecycle.split/' || %s, 0))",
                (feed.name,),
            )
            if not _remembered(conn, feed, resolved):
                _remember(conn, feed, ranges)
        return _remembered(conn, feed, resolved)


def _cut_all(source: Database, feed: Feed, rows_per_part: int, bytes_per_part: int) -> list[Range]:
    with source.session() as conn:
        tables = read_tables(conn)
        resolved = source.map.resolve(feed.tenant, frozenset(tables))
        ranges: list[Range] = []
        for name in resolved.moved:
            width = _width(conn, resolved, tables[name])
            ranges += _cut(conn, resolved, tables[name], max(1, min(rows_per_part, bytes_per_part // width)))
        return ranges


def _width(conn: Connection, resolved: ResolvedMap, table: Table) -> int:
    """Average bytes of a row of the tenant as stored, TOAST included, from a few hundred of them."""
    query = sql.SQL(
        "SELECT avg({sizes})::int8 FROM (SELECT * FROM {table} t WHERE {owned} LIMIT 300) t"
    ).format(
        sizes=sql.SQL(" + ").join(
            sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier("t", column.name))
            for column in table.copied_columns
        ),
        table=table_sql(table.name),
        owned=owned_rows(resolved, table.name, "t"),
    )
    (width,) = conn.execute(query).fetchone() or (None,)
    return max(1, cast("int", width or 1))


def _cut(conn: Connection, resolved: ResolvedMap, table: Table, step: int) -> list[Range]:
    """Ranges of about ``step`` owned rows; one open range for a table without a key."""
    owned = owned_rows(resolved, table.name, "t")
    if not table.key:
        query = sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(table_sql(table.name), owned)
        (count,) = conn.execute(query).fetchone() or (0,)
        return [Range(table.name, None, None, cast("int", count))]
    key = columns_sql(table.key, "t")
    # Every step-th row's key, and the last row's number: one pass over the owned keys.
    query = sql.SQL(
        "SELECT n, ARRAY[{texts}] FROM (SELECT {key}, row_number() OVER (ORDER BY {key}) AS {n}, "
        "lead(true) OVER (ORDER BY {key}) IS NULL AS {last} FROM {table} t WHERE {owned}) "
        "AS t ({names}, n, last) WHERE n % {step} = 0 OR last ORDER BY n"
    ).format(
        texts=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("t", c)) for c in table.key),
        key=key,
        n=sql.Identifier("tenant_lifecycle n"),
        last=sql.Identifier("tenant_lifecycle last"),
        table=table_sql(table.name),
        owned=owned,
        names=columns_sql(table.key),
        step=sql.Literal(step),
    )
    found = [(cast("int", n), tuple(cast("list[str]", bound))) for n, bound in conn.execute(query)]
    total = found[-1][0] if found else 0
    # A last part much smaller than the others is not worth one; neither is an empty one.
    bounds = [bound for n, bound in found if n % step == 0 and total - n >= step // 4 and n < total]
    edges: list[tuple[str, ...] | None] = [None, *bounds, None]
    ranges = [Range(table.name, after, upto, step) for after, upto in pairwise(edges)]
    ranges[-1] = Range(table.name, ranges[-1].after, None, total - step * (len(ranges) - 1))
    return ranges


def _remember(conn: Connection, feed: Feed, ranges: list[Range]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO tenant_lifecycle.copy_part (feed, part, schema_name, table_name, bounds, rows) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (
                    feed.name,
                    f"{number:06d}",
                    one.table.schema,
                    one.table.name,
                    Jsonb({"after": one.after, "upto": one.upto}),
                    one.rows,
                )
                for number, one in enumerate(ranges)
            ],
        )


def _remembered(conn: Connection, feed: Feed, resolved: ResolvedMap) -> list[Part]:
    rows = conn.execute(
        "SELECT part, schema_name, table_name, coalesce(rows, 0), done_at IS NOT NULL "
        "FROM tenant_lifecycle.copy_part WHERE feed = %s ORDER BY part",
        (feed.name,),
    ).fetchall()
    return [
        Part(
            name=str(part),
            set=str(TableName(str(schema), str(name))),
            items=cast("int", items),
            done=bool(done),
            level=resolved.level(TableName(str(schema), str(name))),
        )
        for part, schema, name, items, done in rows
    ]


def condition(table: Table, one: Range, alias: str) -> sql.Composable:
    """The condition for "the key of row ``alias`` lies in the range"."""
    conditions: list[sql.Composable] = []
    for bound, operator in ((one.after, sql.SQL(">")), (one.upto, sql.SQL("<="))):
        if bound is not None:
            values: list[sql.Composable] = [
                # The type's name is the catalogue's own, quoted by the server.
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(table.column(column).type))
                for column, value in zip(table.key, bound, strict=True)
            ]
            conditions.append(
                sql.SQL("({}) {} ({})").format(
                    columns_sql(table.key, alias), operator, sql.SQL(", ").join(values)
                )
            )
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("TRUE")
