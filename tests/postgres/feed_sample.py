"""A schema with everything that makes following hard, a pair of databases, and a follower between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import ours
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed.follower import PostgresFollower
from tenant_lifecycle.stores.postgres.feed.slots import create_feed
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("users"): Shared(T("members"), "user_id", "id"),
        T("members"): Direct("tenant_id"),
        T("docs"): Direct("tenant_id"),
        T("numbers"): Direct("tenant_id"),
        T("chats"): Direct("tenant_id"),
        T("messages"): Via((Hop(("chat_id",), T("chats"), ("id",)),)),
        T("reactions"): Via((Hop(("message_id",), T("messages"), ("id",)), Hop(("tenant_id",)))),
        T("logs"): Direct("tenant_id"),
        T("events"): Direct("tenant_id"),
        T("whole"): Direct("tenant_id"),
        T("indexed"): Direct("tenant_id"),
        T("plans"): Global(),
    }
)
SCHEMA = """
CREATE TYPE mood AS ENUM ('glad', 'sad', 'it''s "odd"');
CREATE TYPE point_of AS (x int, m mood);
CREATE TABLE tenants (id text PRIMARY KEY, plan text);
CREATE TABLE users (id bigint PRIMARY KEY, name text, email text);
CREATE TABLE members (id bigserial PRIMARY KEY, tenant_id text NOT NULL, user_id bigint NOT NULL);
CREATE TABLE docs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id text NOT NULL, title text, body text,
    slug text UNIQUE, meta jsonb, tags text[], m mood, ms mood[], p point_of, amount numeric(12, 3),
    f float8, at timestamptz DEFAULT now(), n int,
    twice text GENERATED ALWAYS AS (title || title) STORED, raw bytea, j json
);
ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
CREATE INDEX ON docs (tenant_id); CREATE INDEX ON docs (n);
CREATE TABLE numbers (
    n int GENERATED ALWAYS AS IDENTITY, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL, v int
);
CREATE TABLE chats (id bigserial PRIMARY KEY, tenant_id text NOT NULL, title text);
CREATE TABLE messages (
    id bigserial PRIMARY KEY, chat_id bigint NOT NULL REFERENCES chats ON DELETE CASCADE, body text
);
CREATE INDEX ON messages (chat_id);
CREATE TABLE reactions (id bigserial PRIMARY KEY, message_id int, tenant_id text, face text);
CREATE INDEX ON reactions (message_id);
CREATE TABLE logs (tenant_id text, line text, at timestamptz, extra json);
ALTER TABLE logs REPLICA IDENTITY FULL;
CREATE TABLE events (tenant_id text, id int, day int, v text, PRIMARY KEY (tenant_id, id, day)) PARTITION BY LIST (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
CREATE TABLE events_2 PARTITION OF events FOR VALUES IN (2);
CREATE TABLE whole (id int PRIMARY KEY, tenant_id text, body text);
ALTER TABLE whole REPLICA IDENTITY FULL; ALTER TABLE whole ALTER body SET STORAGE EXTERNAL;
CREATE TABLE indexed (id int PRIMARY KEY, tenant_id text NOT NULL, code text NOT NULL, v int);
CREATE UNIQUE INDEX indexed_code ON indexed (code, tenant_id);
ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_code;
CREATE TABLE plans (id int PRIMARY KEY);
"""
#: Fifty documents of tenant ``t``, with a value of every type.
DOCS = (
    "INSERT INTO docs (tenant_id, title, slug, meta, tags, m, ms, p, amount, f, n, raw, j) "
    "SELECT %(t)s, 't' || i, %(t)s || i, '{\"a\": 1}', ARRAY['x', NULL, 'y,\"'], 'sad', ARRAY['glad', 'sad']::mood[], "
    "ROW(i, 'glad')::point_of, i / 7.0, i / 3.0, i, '\\x00ff', '{\"b\":  2}' FROM generate_series(1, 50) i"
)

#: A hostile string, and the tenant of most tests.
US = "it's; --%s\"$1 租户"
THEM = "1"


@dataclass
class Pair:
    """Two databases with the schema, and one direction between them."""

    source: Database
    target: Database
    folder: Path
    tenant: str = US
    name: str = "tl_test_fwd"
    token: int = 1
    started: list[PostgresFollower] = field(default_factory=list)

    @property
    def feed(self) -> Feed:
        return Feed(self.name, TenantId(self.tenant), self.token)

    def create(self) -> None:
        create_feed(self.source, self.target, self.feed)

    def follower(self, *, apply: bool = True, spool: str = "spool", **options: int) -> PostgresFollower:
        follower = PostgresFollower(self.source, self.target, self.feed, self.folder / spool, **options)
        self.started.append(follower)
        follower.start()
        if apply:
            follower.apply()
        return follower

    def reversed(self, name: str = "tl_test_rev") -> Pair:
        return Pair(
            self.target, self.source, self.folder / "rev", self.tenant, name, self.token, self.started
        )

    @contextmanager
    def at_source(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        with psycopg.connect(self.source.dsn, autocommit=True) as conn:
            yield conn

    @contextmanager
    def at_target(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        with psycopg.connect(self.target.dsn, autocommit=True) as conn:
            yield conn

    def rows(self, side: Database, tenant: str | None = None) -> dict[str, list[str]]:
        """All of the tenant's rows as text, by table, without generated columns."""
        return rows_of(side, tenant or self.tenant)

    def copy(self) -> None:
        """A plain copy of what is there: small, and of one moment for each table."""
        with self.source.session() as conn, self.target.session() as there:
            tables = read_tables(conn)
            resolved = self.source.map.resolve(self.tenant, frozenset(tables))
            writer = ours.Writer(self.name, TenantId(self.tenant), self.token)
            ours.register_lane(there, writer, "copy-0")
            for name in resolved.moved:
                columns = columns_sql(tuple(c.name for c in tables[name].copied_columns))
                query = sql.SQL("COPY (SELECT {} FROM {} t WHERE {}) TO STDOUT (FORMAT TEXT)").format(
                    columns, table_sql(name), owned_rows(resolved, name, "t")
                )
                into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT TEXT)").format(table_sql(name), columns)
                with conn.cursor().copy(query) as reading:
                    data = b"".join(reading)
                with ours.writing(there, writer, "copy-0"), there.cursor().copy(into) as writing:
                    writing.write(data)


def settle(follower: PostgresFollower, timeout_s: float = 20.0) -> None:
    """Everything committed before is applied."""
    assert follower.await_marker(follower.mark(), timeout_s), "the marker did not come out"
    follower.check()


def rows_of(side: Database, tenant: str) -> dict[str, list[str]]:
    with side.session() as conn:
        tables = read_tables(conn)
        resolved = side.map.resolve(tenant, frozenset(tables))
        found = {}
        for name in resolved.moved:
            columns = columns_sql(tuple(c.name for c in tables[name].copied_columns), "t")
            query = sql.SQL("SELECT ROW({})::text FROM {} t WHERE {}").format(
                columns, table_sql(name), owned_rows(resolved, name, "t")
            )
            found[str(name)] = sorted(str(row[0]) for row in conn.execute(query))
        return found


MakePair = Callable[..., Pair]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def same(pair: Pair, *tables: str) -> None:
    """Both sides hold the same rows of the tenant; of the named tables, some."""
    source, target = pair.rows(pair.source), pair.rows(pair.target)
    assert source == target
    for table in tables:
        assert source[f"public.{table}"], f"the test says nothing about {table}"
