"""Copying one part of a tenant's rows: a range of the source streamed into one transaction of the target.

The done-mark is written in the same transaction, so a part is there or not, wherever we are killed. The feed
holds back everything that changes meanwhile; parts are read at different moments and the replay evens it out.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import LiteralString, cast

from psycopg import errors as pg
from psycopg import generators, sql

from tenant_lifecycle.errors import Fenced, WrongState
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Check, Copied, Feed, Part
from tenant_lifecycle.stores.postgres import lanes
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.consistent import consistent_session
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER
from tenant_lifecycle.stores.postgres.ours import Writer, register_lane, writing
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.split import Range, condition
from tenant_lifecycle.stores.postgres.tables import Table, read_table

#: Rows are joined to buffers of at least this size before they are sent on.
BUFFER_BYTES = 128 * 1024
#: `Check` is asked about this often.
CHECK_EVERY_BYTES = 4 * 2**20


@dataclass(frozen=True)
class _Job:
    """One part, with everything that decides how it is read and written."""

    feed: Feed
    part: Part
    table: Table
    resolved: ResolvedMap
    range: Range
    #: BINARY, or TEXT where a binary value would be a number that only its own database understands.
    format: LiteralString

    @property
    def columns(self) -> sql.Composed:
        return columns_sql(tuple(column.name for column in self.table.copied_columns))

    @property
    def shared(self) -> bool:
        return self.table.name in self.resolved.shared

    def select(self) -> sql.Composed:
        return sql.SQL(
            "COPY (SELECT {columns} FROM {table} t WHERE {owned} AND {within}) TO STDOUT ({options})"
        ).format(
            columns=columns_sql(tuple(column.name for column in self.table.copied_columns), "t"),
            table=table_sql(self.table.name),
            owned=owned_rows(self.resolved, self.table.name, "t"),
            within=condition(self.table, self.range, "t"),
            options=sql.SQL("FORMAT " + self.format),
        )


def copy_part(source: Database, target: Database, feed: Feed, part: Part, check: Check) -> Copied:
    """Copy one part and its done-mark in one transaction of the target; done before: does nothing new.

    Any number of threads and machines may copy parts of one feed at once.

    Raises:
        StoreBusy: another session of the same driver copies this part, or a keyless table waits for
            transactions at the source.
        Fenced: a newer driver was here.
        WrongState: the part was never split off.
    """
    writer = Writer(feed.name, feed.tenant, feed.token)
    with source.session() as reader, target.session() as conn, lanes.claimed(conn, writer, part.name) as lane:
        one, done = _remembered(conn, feed, part)
        if done is not None:
            return done
        with translating(source.name):
            job = _job(source, reader, feed, part, one)
        register_lane(conn, writer, lane)
        with ExitStack() as stack:
            if not job.table.key:
                reader, position = stack.enter_context(
                    consistent_session(source, f"{feed.name}_c{part.name}")
                )
            else:
                position = None
            if not job.shared:
                try:
                    with writing(conn, writer, lane):
                        return _carry(source, reader, conn, job, position, check, staged=False)
                except (pg.UniqueViolation, pg.ExclusionViolation):
                    # Parts are of different moments: two rows that never were there at once may meet here.
                    pass
            with writing(conn, writer, lane):
                return _carry(source, reader, conn, job, position, check, staged=True)


def _job(source: Database, reader: Connection, feed: Feed, part: Part, one: Range) -> _Job:
    table = read_table(reader, one.table)
    resolved = source.map.resolve(feed.tenant, frozenset({*source.map.tables, one.table}))
    return _Job(feed, part, table, resolved, one, "BINARY" if _travels_in_binary(reader, table) else "TEXT")


def _remembered(conn: Connection, feed: Feed, part: Part) -> tuple[Range, Copied | None]:
    found = conn.execute(
        "SELECT schema_name, table_name, bounds->'after', bounds->'upto', rows, bytes, done_at IS NOT NULL "
        "FROM tenant_lifecycle.copy_part WHERE feed = %s AND part = %s",
        (feed.name, part.name),
    ).fetchone()
    if found is None:
        raise WrongState(f"part {part.name} of feed {feed.name} is not in the target; split the copy first")
    schema, name, after, upto, rows, size, done = cast(
        "tuple[str, str, list[str] | None, list[str] | None, int, int, bool]", found
    )
    bounds = Range(TableName(schema, name), tuple(after) if after else None, tuple(upto) if upto else None)
    return bounds, Copied(rows, size) if done else None


def _carry(
    source: Database,
    reader: Connection,
    conn: Connection,
    job: _Job,
    position: str | None,
    check: Check,
    *,
    staged: bool,
) -> Copied:
    """Inside a transaction of ours: stream the rows in, remember what replay has to know, set the done-mark."""
    _refuse_if_newer_driver(conn, job.feed)
    into = _stage(conn, job) if staged else table_sql(job.table.name)
    statement = sql.SQL("COPY {into} ({columns}) FROM STDIN (FORMAT {format})").format(
        into=into, columns=job.columns, format=sql.SQL(job.format)
    )
    size = unchecked = 0
    with conn.cursor() as cursor:
        with (
            cursor.copy(statement) as sink,
            closing(read_blocks(source.name, reader, job.select())) as blocks,
        ):
            for block in blocks:
                sink.write(block)
                size += len(block)
                unchecked += len(block)
                if unchecked >= CHECK_EVERY_BYTES:
                    unchecked = 0
                    check()
        items = cursor.rowcount
    if staged:
        _merge(conn, job, into)
    if position is not None:
        _remember_position(conn, job, position)
    conn.execute(
        "UPDATE tenant_lifecycle.copy_part SET rows = %s, bytes = %s, done_at = clock_timestamp() "
        "WHERE feed = %s AND part = %s",
        (items, size, job.feed.name, job.part.name),
    )
    return Copied(items, size)


def _refuse_if_newer_driver(conn: Connection, feed: Feed) -> None:
    """Lanes are many, and a newer driver may have written in others than ours."""
    newer = conn.execute(
        "SELECT FROM tenant_lifecycle.applied WHERE feed = %s AND token > %s LIMIT 1", (feed.name, feed.token)
    ).fetchone()
    if newer is not None:
        raise Fenced(f"a newer driver than token {feed.token} writes for feed {feed.name}")


def read_blocks(store: str, reader: Connection, statement: sql.Composed) -> Generator[bytes, None, None]:
    """Blocks of whole rows, of at least `BUFFER_BYTES` (but the last), straight from libpq: a row costs no frame."""
    with translating(store), reader.cursor() as cursor, cursor.copy(statement) as stream:
        pgconn = reader.pgconn
        rows: list[bytes | memoryview] = []
        size = 0
        while True:
            length, row = pgconn.get_copy_data(1)
            if length == 0:
                # Nothing has arrived yet: let psycopg wait for it.
                row = cast("memoryview", stream.read())
                length = len(row) or -2
            if length < 0:
                break
            rows.append(row)
            size += length
            if size >= BUFFER_BYTES:
                yield b"".join(rows)
                rows.clear()
                size = 0
        if length == -1:
            for result in reader.wait(generators.fetch_many(pgconn)):
                if result.error_message:
                    raise pg.error_from_result(result)
        if rows:
            yield b"".join(rows)


def _stage(conn: Connection, job: _Job) -> sql.Composable:
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE tl_part ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            job.columns, table_sql(job.table.name)
        )
    )
    return sql.Identifier("pg_temp", "tl_part")


def _merge(conn: Connection, job: _Job, staged: sql.Composable) -> None:
    """Insert what does not collide. Keys of owned rows that did are read again from the source, later.

    A shared person who is there already is left as the target has them.
    """
    insert = sql.SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {staged} ON CONFLICT DO NOTHING"
    ).format(table=table_sql(job.table.name), columns=job.columns, staged=staged)
    if job.shared or not job.table.key:
        conn.execute(insert)
        return
    key = columns_sql(job.table.key)
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE tl_kept ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            key, staged
        )
    )
    conn.execute(
        sql.SQL("WITH kept AS ({} RETURNING {}) INSERT INTO pg_temp.tl_kept SELECT * FROM kept").format(
            insert, key
        )
    )
    skipped = sql.SQL(
        "COPY (SELECT {key} FROM {staged} EXCEPT SELECT {key} FROM pg_temp.tl_kept) TO STDOUT (FORMAT BINARY)"
    ).format(key=key, staged=staged)
    with conn.cursor() as cursor:
        with cursor.copy(skipped) as stream:
            keys = [bytes(row).removeprefix(COPY_HEADER) for row in stream]
        cursor.executemany(
            "INSERT INTO tenant_lifecycle.pending_key (feed, schema_name, table_name, key) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                (job.feed.name, job.table.name.schema, job.table.name.name, row)
                for row in keys
                if row not in (b"", COPY_TRAILER)
            ],
        )


def _remember_position(conn: Connection, job: _Job, position: str) -> None:
    conn.execute(
        "INSERT INTO tenant_lifecycle.copied_until (feed, schema_name, table_name, position) "
        "VALUES (%s, %s, %s, %s::pg_lsn) "
        "ON CONFLICT (feed, schema_name, table_name) DO UPDATE SET position = excluded.position",
        (job.feed.name, job.table.name.schema, job.table.name.name, position),
    )


def _travels_in_binary(conn: Connection, table: Table) -> bool:
    """False if a column's value is an object's number, which means another object in another database.

    Those are the reg* types; their text is a name. (Arrays and composites carry the numbers of their elements'
    types, but a server from 14 on compares these only if both types are its own.)
    """
    found = conn.execute(
        "SELECT FROM unnest(%s::oid[]) o JOIN pg_type t ON t.oid = o "
        "JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END "
        "WHERE b.typnamespace = 'pg_catalog'::regnamespace AND b.typname ~ '^_?reg[a-z]+$' LIMIT 1",
        ([column.type_oid for column in table.copied_columns],),
    ).fetchone()
    return found is None
