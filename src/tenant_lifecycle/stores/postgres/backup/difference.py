"""How a preview differs from the live tenant: counted in the database, row by row, by the bytes of the rows."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from tenant_lifecycle.stores.backing import SetDiff
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.backup import register
from tenant_lifecycle.stores.postgres.backup.matched import Matched, match
from tenant_lifecycle.stores.postgres.backup.room import take_room
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.tables import read_tables


def diff(database: Database, name: str, examples: int, check: Check) -> list[SetDiff]:
    """Of every set, in one snapshot. Changes nothing.

    Raises:
        PreconditionRefused: the live tables have another shape.
    """
    with database.session() as conn, translating(database.name), conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        take_room(conn)
        return list(_each(conn, database, name, examples, check))


def _each(conn: Connection, database: Database, name: str, examples: int, check: Check) -> Iterator[SetDiff]:
    preview = register.get(conn, database.name, name)
    tables = read_tables(conn)
    resolved = database.map.resolve(preview.tenant, frozenset(tables))
    for one in match(preview, resolved, tables).values():
        check()
        yield difference(conn, one, examples)


def difference(conn: Connection, one: Matched, examples: int = 0) -> SetDiff:
    """Of one set, as the transaction sees it."""
    if not one.shape.key:
        return _of_multisets(conn, one)
    both = _both(one)
    restored, live, changed, equal = fetch(conn, sql.SQL("SELECT {} FROM {}").format(_COUNTS, both))[0]
    found = SetDiff(one.set, restored, live, changed, equal)
    if not examples or not (restored or live or changed):
        return found
    shown = sql.SQL("SELECT {} FROM {} WHERE {} IS NOT TRUE ORDER BY 1 LIMIT {}").format(
        _key_text(one), both, sql.Identifier("tl equal"), sql.Literal(examples)
    )
    return SetDiff(one.set, restored, live, changed, equal, tuple(text for (text,) in fetch(conn, shown)))


_COUNTS = sql.SQL(
    'count(*) FILTER (WHERE "tl live" IS NULL), count(*) FILTER (WHERE "tl restored" IS NULL), '
    'count(*) FILTER (WHERE NOT "tl equal"), count(*) FILTER (WHERE "tl equal")'
)


def _both(one: Matched) -> sql.Composed:
    """Rows of both sides by key: whether each is there, whether they are equal (NULL if one is not), and the key."""
    return sql.SQL(
        '(SELECT p."tl there" AS "tl restored", l."tl there" AS "tl live", CASE WHEN p."tl there" AND l."tl there" '
        'THEN NOT ({mine} *<> {theirs}) END AS "tl equal", {key} '
        'FROM (SELECT true AS "tl there", {names} FROM {here}) p '
        'FULL JOIN (SELECT true AS "tl there", {live_names} FROM {there} WHERE {owned}) l ON {same}) b'
    ).format(
        mine=one.row("p"),
        theirs=one.row("l"),
        key=sql.SQL(", ").join(
            sql.SQL("coalesce({}, {}) AS {}").format(
                sql.Identifier("p", name), sql.Identifier("l", name), sql.Identifier(name)
            )
            for name in one.shape.key
        ),
        names=columns_sql(one.names, "p"),
        here=one.here,
        live_names=columns_sql(one.names, "l"),
        there=one.there,
        owned=one.owned,
        same=one.same_key(),
    )


def _key_text(one: Matched) -> sql.Composed:
    """``id=7, no=2``."""
    return sql.SQL(" || ', ' || ").join(
        sql.SQL("format('%s=%s', {}::text, {})").format(sql.Literal(name), sql.Identifier("b", name))
        for name in one.shape.key
    )


def _of_multisets(conn: Connection, one: Matched) -> SetDiff:
    """Rows without a key are equal or not there; how many of each kind counts."""
    counted = sql.SQL('SELECT {}::text COLLATE "C" AS r, count(*) AS n FROM {} WHERE {} GROUP BY 1')
    query = sql.SQL(
        "SELECT coalesce(sum(greatest(coalesce(p.n, 0) - coalesce(l.n, 0), 0)), 0)::int8, "
        "coalesce(sum(greatest(coalesce(l.n, 0) - coalesce(p.n, 0), 0)), 0)::int8, "
        "coalesce(sum(least(p.n, l.n)), 0)::int8 FROM ({}) p FULL JOIN ({}) l USING (r)"
    ).format(
        counted.format(one.row("p"), one.here, sql.SQL("true")),
        counted.format(one.row("l"), one.there, one.owned),
    )
    restored, live, equal = fetch(conn, query)[0]
    return SetDiff(one.set, restored, live, 0, equal)
