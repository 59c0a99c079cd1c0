"""Making items of the target equal to the source's: re-read the row, delete, insert, as ours.

Nothing but the tenant's own rows is touched: a row of the target is deleted only if it is the tenant's there
(and, for people, nobody else's on either side), and an insert that meets a row of somebody else does nothing.
What could not be made equal is found again by the next comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.stores.base import Feed, Keys
from tenant_lifecycle.stores.postgres.comparison import ROW, Pair, Side, comparison
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.digests import WHOLE_SET
from tenant_lifecycle.stores.postgres.fingerprints import Form
from tenant_lifecycle.stores.postgres.keyarrays import key_arrays, key_fields, key_matches, keys_sql
from tenant_lifecycle.stores.postgres.keycheck import Found, look
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER
from tenant_lifecycle.stores.postgres.ours import Writer, hold_stream, register_lane, writing
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.rawsql import cursor_of, fetch

LANE = "repair"


@dataclass(frozen=True, slots=True)
class Mending:
    """What is to be done about some keys of one set."""

    pair: Pair
    keys: Sequence[bytes]
    #: The source's rows, as COPY BINARY rows over `_travelling` columns, by position of their key.
    rows: Mapping[int, bytes]
    here: Sequence[Found]


def repair(source: Database, target: Database, feed: Feed, keys: Keys) -> int:
    """Make the target's rows with these keys equal to the source's; return how many changed.

    One transaction of the target, in the feed's name. The feed's stream waits meanwhile, and goes on with state:
    without that, a change applied between our reading and our writing would be undone, and never come again.

    Raises:
        UnsupportedByStore: a set has no key; its rows cannot be told apart.
        Fenced: a newer driver was here.
    """
    known = comparison(source, target, feed.tenant)
    for name, some in keys.items():
        if WHOLE_SET in some:
            raise UnsupportedByStore(
                f"{name} has no key, so its rows cannot be repaired one by one",
                next_step="abort and start again: a table without a key is copied as a whole",
            )
    wanted = [(known.pair(name), sorted(keys[name])) for name in known.order if keys.get(name)]
    with target.session() as conn, translating(target.name):
        writer = Writer(feed.name, feed.tenant, feed.token)
        register_lane(conn, writer, LANE)
        with writing(conn, writer, LANE):
            hold_stream(conn, writer)
            return _mend(conn, _read_all(source, wanted))


def _read_all(source: Database, wanted: Sequence[tuple[Pair, list[bytes]]]) -> list[Mending]:
    """The source's rows, all of one moment."""
    with source.session() as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return [_read(conn, pair, some) for pair, some in wanted]


def _read(conn: Connection, pair: Pair, keys: Sequence[bytes]) -> Mending:
    fields = key_fields(keys, len(pair.source.key))
    here = look(conn, pair.source, fields)
    query = sql.SQL(
        "SELECT k.i::int4, {columns} FROM {keys} JOIN {table} {t} ON {matches} WHERE {owned}"
    ).format(
        columns=sql.SQL(", ").join([_sent(form) for form in _travelling(pair.source)]),
        keys=keys_sql(pair.source),
        table=table_sql(pair.source.table.name),
        t=sql.Identifier(ROW),
        matches=key_matches(pair.source, ROW),
        owned=pair.source.owned,
    )
    return Mending(pair, keys, _binary_rows(conn, query, key_arrays(pair.source, fields)), here)


def _binary_rows(conn: Connection, query: sql.Composed, arrays: Sequence[object]) -> dict[int, bytes]:
    """The result's rows as COPY BINARY rows without their first column, which is their number."""
    rows: dict[int, bytes] = {}
    with cursor_of(conn) as cursor:
        cursor.execute(query, arrays, binary=True)
        result = cursor.pgresult
        assert result is not None, "a SELECT has a result"
        for row in range(result.ntuples):
            fields = [result.get_value(row, column) for column in range(1, result.nfields)]
            number = result.get_value(row, 0)
            assert number is not None, "an ordinality is never NULL"
            rows[int.from_bytes(number, "big")] = len(fields).to_bytes(2, "big") + b"".join(
                b"\xff\xff\xff\xff" if field is None else len(field).to_bytes(4, "big") + field
                for field in fields
            )
    return rows


def _travelling(side: Side) -> list[Form]:
    """The columns that are written."""
    written = {column.name for column in side.table.copied_columns}
    return [form for form in side.columns if form.name in written]


def _sent(form: Form) -> sql.Composable:
    """Binary where that is exact on every server, else as text."""
    column = sql.Identifier(ROW, form.name)
    return column if form.exact else sql.SQL("CAST({} AS text)").format(column)


def _mend(conn: Connection, mendings: Sequence[Mending]) -> int:
    """Rows are deleted before those that say whose they are: people, then children before parents."""
    deletable: list[tuple[Mending, list[int]]] = []
    for mending in mendings:
        fields = key_fields(mending.keys, len(mending.pair.target.key))
        there = look(conn, mending.pair.target, fields)
        positions = [
            n
            for n, (mine, other) in enumerate(zip(mending.here, there, strict=True), start=1)
            if may_delete(mine, other)
        ]
        deletable.append((mending, positions))
    people = [one for one in deletable if one[0].pair.target.exclusive is not None]
    ordered = [*people, *(one for one in reversed(deletable) if one not in people)]
    deleted = {id(mending): _delete(conn, mending, positions) for mending, positions in ordered}
    changed = 0
    for mending, _ in deletable:
        inserted = _insert(conn, mending)
        changed += inserted + len(deleted[id(mending)] - mending.rows.keys())
    return changed


def may_delete(here: Found, there: Found) -> bool:
    """Whether the target's row is the tenant's to replace or take away. Pure."""
    shared_at_source = here.owned and not here.exclusive
    return there.owned and there.exclusive and not shared_at_source


def _delete(conn: Connection, mending: Mending, positions: Sequence[int]) -> set[int]:
    """Delete the rows of these positions; return the positions that had one."""
    if not positions:
        return set()
    side = mending.pair.target
    fields = key_fields([mending.keys[n - 1] for n in positions], len(side.key))
    query = sql.SQL("DELETE FROM {table} {t} USING {keys} WHERE {matches} AND {owned} RETURNING k.i").format(
        table=table_sql(side.table.name),
        t=sql.Identifier(ROW),
        keys=keys_sql(side),
        matches=key_matches(side, ROW),
        owned=side.owned,
    )
    return {positions[row[0] - 1] for row in fetch(conn, query, key_arrays(side, fields))}


def _insert(conn: Connection, mending: Mending) -> int:
    """Insert the source's rows where nothing is in their way; return how many."""
    if not mending.rows:
        return 0
    side = mending.pair.target
    forms = _travelling(side)
    staged = sql.Identifier("pg_temp", "tl_repair")
    conn.execute("DROP TABLE IF EXISTS pg_temp.tl_repair")
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE tl_repair ON COMMIT DROP AS SELECT {} FROM {} {} LIMIT 0").format(
            sql.SQL(", ").join(
                [sql.SQL("{} AS {}").format(_sent(form), sql.Identifier(form.name)) for form in forms]
            ),
            table_sql(side.table.name),
            sql.Identifier(ROW),
        )
    )
    with conn.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(staged)) as stream:
        stream.write(COPY_HEADER + b"".join(mending.rows.values()) + COPY_TRAILER)
    query = sql.SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {staged} "
        "ON CONFLICT DO NOTHING"
    ).format(
        table=table_sql(side.table.name),
        columns=columns_sql(tuple(form.name for form in forms)),
        values=sql.SQL(", ").join([_received(form) for form in forms]),
        staged=staged,
    )
    return conn.execute(query).rowcount


def _received(form: Form) -> sql.Composable:
    column = sql.Identifier(form.name)
    return column if form.exact else sql.SQL("CAST({} AS {})").format(column, sql.SQL(form.type))
