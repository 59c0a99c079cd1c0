"""The SQL with which staged rows of one table are written into the target, composed once.

Rows are staged in one temporary table per table. Its column ``tl_kind`` says what a row is: below zero a delete
(-2: the row is known to have been the tenant's), zero a whole row, above zero a partial one (one number per
set of sent columns). Tables without a key: zero is one copy to be added, above zero so many copies to be removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed import guards
from tenant_lifecycle.stores.postgres.feed.guards import TARGET, equal
from tenant_lifecycle.stores.postgres.feed.layout import Layout
from tenant_lifecycle.stores.postgres.feed.owner import Edge
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import Table

STAGED = "tl_s"


@dataclass(frozen=True)
class Stage:
    """The temporary table of one table, and the way past it."""

    create: bytes
    copy: bytes
    clear: bytes
    #: COPY of rows straight into the table; None if some column travels as text.
    straight: bytes | None


@dataclass(frozen=True)
class KeyedSql:
    """Statements for a table with a key."""

    #: Delete what is the tenant's on the target; returns the rows' keys.
    delete: bytes
    #: Delete what is left, if its parent was the tenant's and is gone; None for tables without parents.
    delete_departed: bytes | None
    #: Remember parents that are known to have been the tenant's, whether or not the target has them yet.
    note_departed: bytes | None
    #: Keys of staged deletes whose rows are the tenant's and there.
    still_mine: bytes
    #: Update whole rows where the owner stays the same.
    update: bytes
    #: Insert whole rows, or update them where the owner stays the same.
    upsert: bytes
    #: Fall-back: delete the whole rows' keys, then insert what nothing forbids.
    delete_rewritten: bytes
    insert_absent: bytes
    insert_absent_key: bytes
    #: Keys of whole rows that did not get in.
    left_over: bytes


@dataclass(frozen=True)
class KeylessSql:
    """Statements for a table without a key."""

    insert: bytes
    delete: bytes


class Composer:
    """Composes the statements for one table of one feed."""

    def __init__(
        self,
        conn: Connection,
        layout: Layout,
        target: Table,
        resolved: ResolvedMap,
        feed: str,
        up: Sequence[Edge],
        down: Sequence[Edge],
    ) -> None:
        self._conn, self._layout, self._resolved, self._feed = conn, layout, resolved, feed
        self._up, self._down = up, down
        self._stage_name = f"tl_stage_{layout.number}"
        self._names = tuple(c.name for c in layout.columns)
        self._always = {c.name for c in target.columns if c.identity == "a"}
        kind = "tl_kind"
        while kind in self._names:
            kind += "_"
        self._parts: dict[str, sql.Composable] = {
            "stage": sql.Identifier("pg_temp", self._stage_name),
            "stage_name": sql.Identifier(self._stage_name),
            "table": table_sql(layout.name),
            "s": sql.Identifier(STAGED),
            "t": sql.Identifier(TARGET),
            "kind": sql.Identifier(STAGED, kind),
            "kind_name": sql.Identifier(kind),
            "columns": columns_sql(self._names),
            "staged": self._staged(self._names),
            "mine": guards.mine(resolved, layout),
        }

    def _bytes(self, text: str, **parts: sql.Composable) -> bytes:
        return sql.SQL(text).format(**{**self._parts, **parts}).as_bytes(self._conn)

    def _staged(self, names: Sequence[str]) -> sql.Composed:
        """Staged columns; those that travel as text are made what they are."""
        binary = {c.name: c.binary for c in self._layout.columns}
        return sql.SQL(", ").join(
            sql.Identifier(STAGED, name)
            if binary[name]
            else sql.SQL("{}::{}").format(
                sql.Identifier(STAGED, name),
                sql.SQL(self._layout.table.column(name).type),
            )
            for name in names
        )

    def stage(self) -> Stage:
        """The temporary table; ``copy`` is a COPY BINARY of ``tl_kind`` and the columns."""
        columns = sql.SQL(", ").join(
            sql.Identifier(c.name) if c.binary else sql.SQL("NULL::text AS {}").format(sql.Identifier(c.name))
            for c in self._layout.columns
        )
        return Stage(
            create=self._bytes(
                "CREATE TEMPORARY TABLE {stage_name} ON COMMIT DELETE ROWS AS "
                "SELECT NULL::int4 AS {kind_name}, {list} FROM {table} LIMIT 0",
                list=columns,
            ),
            copy=self._bytes("COPY {stage} FROM STDIN (FORMAT BINARY)"),
            clear=self._bytes("TRUNCATE {stage}"),
            straight=self._bytes("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)")
            if all(c.binary for c in self._layout.columns)
            else None,
        )

    @property
    def shared(self) -> bool:
        """Rows are people who may belong to several tenants."""
        return self._layout.name in self._resolved.shared

    # -- tables with a key

    def keyed(self) -> KeyedSql:
        """Statements for a table with a key."""
        layout = self._layout
        self._parts |= {
            "same_key": equal(layout.key, TARGET, layout.key, STAGED),
            "stage_key": columns_sql(layout.key, STAGED),
        }
        source = "SELECT {staged} FROM {stage} {s} WHERE {kind} = 0"
        insert = "INSERT INTO {table} AS {t} ({columns}) OVERRIDING SYSTEM VALUE " + source
        departed = guards.departed(self._feed, self._up)
        return KeyedSql(
            delete=self._delete("{kind} < 0 AND {mine} AND {not_writer}"),
            delete_departed=self._delete("{kind} < 0 AND {departed} AND {not_writer}", departed=departed)
            if departed
            else None,
            note_departed=self._note_departed(),
            still_mine=self._bytes(
                "SELECT {there} FROM {table} {t} JOIN {stage} {s} ON {same_key} WHERE {kind} < 0 AND {mine}",
                there=columns_sql(layout.table.key, TARGET),
            ),
            update=self.update(self._names, 0),
            upsert=self._bytes(
                insert + " ON CONFLICT ({key}) {action}", key=columns_sql(layout.key), action=self._action()
            ),
            delete_rewritten=self._delete("{kind} = 0 AND {mine}"),
            insert_absent=self._bytes(insert + " ON CONFLICT DO NOTHING"),
            insert_absent_key=self._bytes(
                insert + " ON CONFLICT ({key}) DO NOTHING", key=columns_sql(layout.key)
            ),
            left_over=self._bytes(
                "SELECT {stage_key} FROM {stage} {s} LEFT JOIN {table} {t} ON {same_key} "
                "WHERE {kind} = 0 AND ({t}.tableoid IS NULL OR ({mine}) IS NOT TRUE)"
            ),
        )

    def _action(self) -> sql.Composable:
        layout = self._layout
        fixed = self._always
        names = [n for n in self._names if n not in layout.key and n not in fixed]
        names = names or [n for n in layout.key if n not in fixed][:1]
        if not names:
            return sql.SQL("DO NOTHING")
        same = dict.fromkeys([*guards.deciding(self._resolved, layout), *(fixed - set(layout.key))])
        condition = [
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(
                sql.Identifier(TARGET, n), sql.Identifier("excluded", n)
            )
            for n in same
        ]
        return sql.SQL("DO UPDATE SET {} WHERE {}").format(
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(n), sql.Identifier("excluded", n)) for n in names
            ),
            sql.SQL(" AND ").join(condition) if condition else sql.SQL("TRUE"),
        )

    def _delete(self, condition: str, **parts: sql.Composable) -> bytes:
        """A guarded DELETE that returns keys (as `Table.key`) and remembers parents that went."""
        layout = self._layout
        needed = tuple(dict.fromkeys([*layout.table.key, *(c for e in self._down for c in e.parent_columns)]))
        not_writer = guards.target_is_not_writer(self._resolved.tenant)
        guard = sql.SQL(condition).format(**{**self._parts, **parts, "not_writer": not_writer})
        note = guards.note_departed(self._feed, layout, self._down, "tl_gone", needed)
        if note is None:
            return self._bytes(
                "DELETE FROM {table} {t} USING {stage} {s} WHERE {same_key} AND {guard} RETURNING {returned}",
                guard=guard,
                returned=columns_sql(layout.table.key, TARGET),
            )
        return self._bytes(
            "WITH tl_gone AS (DELETE FROM {table} {t} USING {stage} {s} WHERE {same_key} AND {guard} "
            "RETURNING {needed}), tl_noted AS ({note} ON CONFLICT DO NOTHING) SELECT {returned} FROM tl_gone",
            guard=guard,
            needed=columns_sql(needed, TARGET),
            note=note,
            returned=columns_sql(layout.table.key),
        )

    def _note_departed(self) -> bytes | None:
        note = guards.note_departed(self._feed, self._layout, self._down, self._stage_name, self._layout.key)
        if note is None:
            return None
        kind = self._parts["kind_name"]
        return self._bytes("{note} WHERE {kind_name} = -2 ON CONFLICT DO NOTHING", note=note, kind_name=kind)

    def update(self, names: Sequence[str], kind: int) -> bytes:
        """UPDATE of just these columns for rows of that kind, where they are the tenant's."""
        shared = self.shared
        fixed = self._always | set(self._layout.key)
        sent = [n for n in names if n not in fixed]
        if not sent:
            return self._bytes("SELECT WHERE false")
        same = [n for n in guards.deciding(self._resolved, self._layout) if n in names and not shared]
        guard = sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier(TARGET, n), sql.Identifier(STAGED, n))
            for n in same
        )
        return self._bytes(
            "UPDATE {table} {t} SET {set} FROM {stage} {s} WHERE {kind} = {number} AND {same_key} AND {guard}",
            set=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(n), self._staged([n])) for n in sent
            ),
            number=sql.Literal(kind),
            guard=guard if same else self._parts["mine"],
        )

    def not_updated(self, names: Sequence[str], kind: int) -> bytes:
        """Keys of partial rows that `update` did not find."""
        same = [n for n in guards.deciding(self._resolved, self._layout) if n in names]
        if self.shared:
            same = []
        guard = [
            sql.SQL(" AND {} IS NOT DISTINCT FROM {}").format(
                sql.Identifier(TARGET, n), sql.Identifier(STAGED, n)
            )
            for n in same
        ]
        return self._bytes(
            "SELECT {stage_key} FROM {stage} {s} WHERE {kind} = {number} AND NOT EXISTS "
            "(SELECT FROM {table} {t} WHERE {same_key}{guard})",
            number=sql.Literal(kind),
            guard=sql.SQL("").join(guard),
        )

    def staged_keys(self, kind: int) -> bytes:
        """Keys of all rows of that kind."""
        return self._bytes(
            "SELECT {stage_key} FROM {stage} {s} WHERE {kind} = {number}", number=sql.Literal(kind)
        )

    def absent_keys(self, kind: int) -> bytes:
        """Keys of rows of that kind which the target does not have at all."""
        return self._bytes(
            "SELECT {stage_key} FROM {stage} {s} WHERE {kind} = {number} "
            "AND NOT EXISTS (SELECT FROM {table} {t} WHERE {same_key})",
            number=sql.Literal(kind),
        )

    # -- tables without a key

    def keyless(self) -> KeylessSql:
        """Statements for a table without a key."""
        layout = self._layout
        hashable = [c.name for c in layout.table.columns if c.hashable and c.name in self._names]
        departed = guards.departed(self._feed, self._up)
        hashed = sql.SQL("hash_record_extended(ROW({}), 0) = hash_record_extended(ROW({}), 0) AND ").format(
            columns_sql(tuple(hashable), TARGET), self._staged(hashable)
        )
        return KeylessSql(
            insert=self._bytes(
                "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE "
                "SELECT {staged} FROM {stage} {s} WHERE {kind} = 0"
            ),
            delete=self._bytes(
                "DELETE FROM {table} {t} USING (SELECT f.place, f.tid FROM (SELECT {t}.tableoid AS place, "
                "{t}.ctid AS tid, {kind} AS wanted, row_number() OVER (PARTITION BY {s}.ctid) AS nth "
                "FROM {table} {t} JOIN {stage} {s} ON {hashed}record_image_eq(ROW({there}), ROW({staged})) "
                "WHERE {kind} > 0 AND ({mine}{or_departed}) AND {not_writer}) f WHERE f.nth <= f.wanted) x "
                "WHERE {t}.tableoid = x.place AND {t}.ctid = x.tid",
                hashed=hashed if hashable else sql.SQL(""),
                there=columns_sql(self._names, TARGET),
                or_departed=sql.SQL(" OR {}").format(departed) if departed else sql.SQL(""),
                not_writer=guards.target_is_not_writer(self._resolved.tenant),
            ),
        )
