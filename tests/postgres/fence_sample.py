"""A small multi-tenant schema with one table for each rule, for the tests of fence, copy and removal."""

from __future__ import annotations

import psycopg

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.database import Database

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("users"): Shared(T("members"), "user_id", "id"),
        T("members"): Direct("tenant_id"),
        T("docs"): Direct("tenant_id"),
        T("chats"): Via((Hop(("user_id", "org"), T("members"), ("user_id", "tenant_id")), Hop(("org",)))),
        T("messages"): Via((Hop(("chat_id",), T("chats"), ("id",)),)),
        T("events"): Direct("tenant_id"),
        T("notes"): Direct("tenant_id"),
        T("plans"): Global(),
    }
)
SCHEMA = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE users (id int PRIMARY KEY, name text, email text UNIQUE);
CREATE TABLE members (tenant_id text, user_id int, PRIMARY KEY (tenant_id, user_id));
CREATE TABLE docs (
    id bigserial PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE, title text,
    slug text UNIQUE, n int GENERATED ALWAYS AS IDENTITY, twice text GENERATED ALWAYS AS (title || title) STORED,
    moods mood[] DEFAULT '{glad}', at timestamptz DEFAULT now(), f float8 DEFAULT 0.1, extra jsonb
);
CREATE INDEX ON docs (tenant_id);
CREATE TABLE chats (id int PRIMARY KEY, user_id int, org text, about regclass DEFAULT 'docs');
CREATE TABLE messages (chat_id int, "no" int, body text, PRIMARY KEY (chat_id, "no"));
CREATE TABLE events (tenant_id text, id int, day int, PRIMARY KEY (tenant_id, id, day)) PARTITION BY LIST (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
CREATE TABLE events_2 PARTITION OF events FOR VALUES IN (2);
CREATE TABLE notes (tenant_id text, body text);
ALTER TABLE notes REPLICA IDENTITY FULL;
CREATE TABLE plans (id int PRIMARY KEY);
"""
#: What callers may use as an id, and what must never be more than a string.
HOSTILE = (
    "it's; --%s",
    "",
    "line\nbreak\ttab",
    'quote"$tl$ $$ {x} %(y)s',
    "ünïcode 租户 🙂",
    "x" * 2000,
    "12",
    "1",
)


def sample(dsn: str, tenants: tuple[str, ...] = ("a", "b"), docs: int = 30, name: str = "blue") -> Database:
    """Create the schema with some rows for each tenant; people 0 and 1 are shared by the first two."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)
        for number, tenant in enumerate(tenants):
            fill(conn, tenant, number, docs)
        if len(tenants) > 1:
            conn.execute(
                "INSERT INTO members SELECT t, u FROM unnest(%s::text[]) t, (VALUES (100), (101)) v(u)",
                (list(tenants[:2]),),
            )
            conn.execute("INSERT INTO users SELECT u, 'both', 'u' || u FROM (VALUES (100), (101)) v(u)")
    return Database(f"{name}/postgres", name, dsn, MAP)


def fill(conn: psycopg.Connection, tenant: str, number: int, docs: int) -> None:
    values = {"t": tenant, "n": number, "docs": docs}
    for statement in (
        "INSERT INTO tenants VALUES (%(t)s)",
        "INSERT INTO users SELECT %(n)s * 10 + i, 'u', 'e' || %(n)s || '.' || i FROM generate_series(1, 3) i",
        "INSERT INTO members SELECT %(t)s, %(n)s * 10 + i FROM generate_series(1, 3) i",
        "INSERT INTO docs (tenant_id, title, slug, moods, extra) SELECT %(t)s, 't' || i, %(n)s || 's' || i, "
        "ARRAY['sad', 'glad']::mood[], '{\"k\": [1, null]}' FROM generate_series(1, %(docs)s) i",
        "INSERT INTO chats SELECT %(n)s * 1000 + i, %(n)s * 10 + 1 + i %% 3, %(t)s FROM generate_series(1, 9) i",
        "INSERT INTO chats VALUES (%(n)s * 1000 + 10, NULL, %(t)s)",
        "INSERT INTO messages SELECT %(n)s * 1000 + 1 + i %% 10, i, repeat('m', i) FROM generate_series(1, 50) i",
        "INSERT INTO events SELECT %(t)s, i, 1 + i %% 2 FROM generate_series(1, 20) i",
        "INSERT INTO notes SELECT %(t)s, 'same' FROM generate_series(1, 5) i",
    ):
        conn.execute(statement, values)


def move(database: Database, tenant: str, epoch: int, target: str) -> None:
    """Fence the tenant here at ``epoch`` and hand it over."""
    ticket = fence.fence(database, TenantId(tenant), epoch, 2.0, 1.0)
    assert fence.commit_move(database, TenantId(tenant), ticket, target)
