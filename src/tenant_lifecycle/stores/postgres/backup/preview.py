"""A restored tenant beside the live one: a schema of its own with tables in the base's shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenant_lifecycle.errors import StoreRejected, UsageError, WrongState
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import SetDiff, Writing
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres import ours
from tenant_lifecycle.stores.postgres.backup import register
from tenant_lifecycle.stores.postgres.backup.base import select_rows
from tenant_lifecycle.stores.postgres.backup.difference import diff
from tenant_lifecycle.stores.postgres.backup.form import items_of, line_of, use_text_settings
from tenant_lifecycle.stores.postgres.backup.hooks import Hook
from tenant_lifecycle.stores.postgres.backup.migrate import migrate
from tenant_lifecycle.stores.postgres.backup.promote import promote
from tenant_lifecycle.stores.postgres.backup.refused import naming_no_values
from tenant_lifecycle.stores.postgres.backup.register import PreviewSet, Registered
from tenant_lifecycle.stores.postgres.backup.room import take_room
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.copy import BUFFER_BYTES, CHECK_EVERY_BYTES, read_blocks
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import PREVIEW_MARK


@dataclass(slots=True)
class PostgresPreview:
    """See `stores.backing.Preview`. Holds no connection; what it knows is in the register."""

    name: str
    _database: Database
    _hook: Hook | None = None
    _version_query: str | None = None

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        return _load(self._database, self.name, set_name, items, check)

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        return _fingerprints(self._database, self.name, key)

    def items(self, set_name: str) -> Iterator[Item]:
        return _read_back(self._database, self.name, set_name)

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        return diff(self._database, self.name, examples, check)

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        return promote(self._database, self.name, writing, sets, check)

    def migrate(self, check: Check) -> Mapping[str, Shape]:
        return migrate(self._database, self.name, self._hook, self._version_query, check)

    def discard(self) -> None:
        _discard(self._database, self.name)


def open_preview(
    database: Database,
    tenant: TenantId,
    name: str,
    shapes: Mapping[str, Shape],
    facts: Mapping[str, Any],
    hook: Hook | None = None,
    version_query: str | None = None,
) -> PostgresPreview:
    """The preview of that name, created empty if it is not there. Idempotent.

    Raises:
        WrongState: it is there for another tenant, or in other shapes.
        StoreRejected: a type of a column is not known here.
    """
    placed = register.place_sets(name, shapes, facts)
    wanted = Registered(name, tenant, facts, placed, register.digest_of(shapes.values()))
    with database.session() as conn, translating(database.name):
        ours.install(conn)
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('tenant_lifecycle.preview', 0))")
            found = register.find(conn, name)
            if found is None:
                _create(conn, database.name, wanted)
            elif (found.tenant, found.made_as) != (tenant, wanted.made_as):
                raise WrongState(
                    f"{database.name}: preview {name} is of another restore",
                    next_step="discard it, or choose another name",
                )
    return PostgresPreview(name, database, hook, version_query)


def previews(database: Database) -> list[str]:
    """Names of those that are there."""
    with database.session() as conn, translating(database.name):
        return register.names(conn)


def _create(conn: Connection, store: str, preview: Registered) -> None:
    schema = sql.Identifier(register.schema_name(preview.name))
    _refuse_unknown_types(conn, store, preview)
    conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    conn.execute(
        sql.SQL("COMMENT ON SCHEMA {} IS {}").format(
            schema, sql.Literal(f"{PREVIEW_MARK}{preview.name}; tenantctl restore discard removes it")
        )
    )
    for one in preview.sets.values():
        conn.execute(_table(one))
        conn.execute(_add_key(one, preview.facts))
    register.add(conn, preview)


def _refuse_unknown_types(conn: Connection, store: str, preview: Registered) -> None:
    """Types stand in a base as text and go into a definition as such: the server says first that they are types."""
    for one in preview.sets.values():
        for column in one.shape.columns:
            try:
                with conn.transaction():
                    known = conn.execute("SELECT to_regtype(%s)", (column.type,)).fetchone() != (None,)
            except psycopg.Error:
                known = False
            if not known:
                raise StoreRejected(
                    f"{store} has no type {column.type!r}, which {one.set}.{column.name} needs",
                    store=store,
                    next_step="create the type or the extension that has it",
                )


def _table(one: PreviewSet) -> sql.Composed:
    columns = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name),
            sql.SQL(column.type),
            sql.SQL("" if column.nullable else " NOT NULL"),
        )
        for column in one.shape.columns
    ]
    # Unlogged: it is written once and read a few times, and the log is everybody's.
    return sql.SQL("CREATE UNLOGGED TABLE {} ({})").format(table_sql(one.table), sql.SQL(", ").join(columns))


def _add_key(one: PreviewSet, facts: Mapping[str, Any]) -> sql.Composed:
    if not one.shape.key:
        return sql.SQL("SELECT").format()
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})").format(
        table_sql(one.table), sql.Identifier(_key_name(one, facts)), columns_sql(one.shape.key)
    )


def _key_name(one: PreviewSet, facts: Mapping[str, Any]) -> str:
    """As it is called at the live table, for migrations; a name of its own where the table has another name too."""
    names = [
        rule["name"] for rule in facts.get("rules", ()) if rule["set"] == one.set and rule["type"] == "p"
    ]
    return str(names[0]) if names and one.table.name == one.live.name else f"{one.table.name[:50]}_tl_key"


def _load(database: Database, name: str, set_name: str, items: Iterable[Item], check: Check) -> int:
    """Replace one set in one transaction; killed halfway, it is as it was.

    Raises:
        UsageError: the preview has no such set.
        StoreRejected: an item does not fit the set's columns, or two have one key.
    """
    conn = database.connect("restore")
    try:
        with translating(database.name):
            use_text_settings(conn)
            preview = register.get(conn, database.name, name)
            one = _set_of(preview, set_name)
            with conn.transaction(), naming_no_values(database.name, set_name):
                take_room(conn)
                rows = _replace(conn, database.name, one, preview.facts, items, check)
                register.set_loaded(conn, name, set_name, rows)
            conn.execute(sql.SQL("ANALYZE {}").format(table_sql(one.table)))
            return rows
    finally:
        conn.close()


def _set_of(preview: Registered, set_name: str) -> PreviewSet:
    if set_name not in preview.sets:
        raise UsageError(
            f"preview {preview.name} has no set {set_name}",
            next_step=f"it has {', '.join(preview.sets) or 'none'}",
        )
    return preview.sets[set_name]


def _replace(
    conn: Connection,
    store: str,
    one: PreviewSet,
    facts: Mapping[str, Any],
    items: Iterable[Item],
    check: Check,
) -> int:
    """Rows first and their key afterwards, in the transaction of the caller."""
    table = table_sql(one.table)
    if one.shape.key:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}")
        conn.execute(drop.format(table, sql.Identifier(_key_name(one, facts))))
    conn.execute(sql.SQL("TRUNCATE {}").format(table))
    columns = columns_sql(tuple(column.name for column in one.shape.columns))
    with conn.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)) as stream:
            for buffer in _checked_buffers(_lines(store, one, items), check):
                stream.write(buffer)
        rows = cursor.rowcount
    conn.execute(_add_key(one, facts))
    return rows


def _lines(store: str, one: PreviewSet, items: Iterable[Item]) -> Iterator[bytes]:
    width = len(one.shape.columns)
    for item in items:
        if item.set != one.set or len(item.cells) != width:
            raise StoreRejected(
                f"{store}: an item of {item.set} with {len(item.cells)} cells is none of {one.set}, which has {width} columns",
                store=store,
                next_step="the backup's shape and its items do not belong together; tenantctl backup check",
            )
        yield line_of(item.cells)


def _checked_buffers(lines: Iterator[bytes], check: Check) -> Iterator[bytes]:
    buffer: list[bytes] = []
    size = unchecked = 0
    for line in lines:
        buffer.append(line)
        size += len(line)
        if size >= BUFFER_BYTES:
            yield b"".join(buffer)
            unchecked += size
            buffer, size = [], 0
            if unchecked >= CHECK_EVERY_BYTES:
                unchecked = 0
                check()
    yield b"".join(buffer)


def _fingerprints(database: Database, name: str, key: bytes) -> Mapping[str, Fingerprint]:
    """Read back by the same statement and the same decoder as a base."""
    with _reading(database) as conn:
        sets = register.get(conn, database.name, name).sets.values()
        return {one.set: fingerprint(key, _items(database, conn, one)) for one in sets}


def _read_back(database: Database, name: str, set_name: str) -> Iterator[Item]:
    with _reading(database) as conn:
        yield from _items(database, conn, _set_of(register.get(conn, database.name, name), set_name))


@contextmanager
def _reading(database: Database) -> Iterator[Connection]:
    conn = database.connect("restore")
    try:
        with translating(database.name):
            use_text_settings(conn)
            conn.execute("BEGIN READ ONLY")
            take_room(conn)
            yield conn
    finally:
        conn.close()


def _items(database: Database, conn: Connection, one: PreviewSet) -> Iterator[Item]:
    rows = select_rows(one.shape, table_sql(one.table), sql.SQL("true"))
    return items_of(one.shape, read_blocks(database.name, conn, rows))


def _discard(database: Database, name: str) -> None:
    """Remove schema and register in one transaction; safe to repeat."""
    schema = sql.Identifier(register.schema_name(name))
    with database.session() as conn, translating(database.name), conn.transaction():
        if register.find(conn, name) is not None:
            conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
            register.remove(conn, name)
