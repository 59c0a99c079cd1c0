"""One meaning of "the tenant's rows": every rule, on a real server."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.postgres.owned import exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("users"): Shared(T("members"), "user_id", "id"),
        T("members"): Direct("tenant_id"),
        T("chats"): Via((Hop(("user_id", "org"), T("members"), ("user_id", "tenant_id")), Hop(("org",)))),
        T("messages"): Via((Hop(("chat_id",), T("chats"), ("id",)),)),
        T("plans"): Global(),
    }
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE members (tenant_id text, user_id int, PRIMARY KEY (tenant_id, user_id));
CREATE TABLE chats (id int PRIMARY KEY, user_id int, org text);
CREATE TABLE messages (id int PRIMARY KEY, chat_id int, body text, v int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE plans (id int PRIMARY KEY);
INSERT INTO tenants VALUES ('1'), ('12'), ('it''s; --%s');
INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 4) i;
INSERT INTO members VALUES ('1', 1), ('1', 2), ('12', 2), ('12', 3), ('it''s; --%s', 4);
INSERT INTO chats VALUES (1, 1, '1'), (2, 2, '12'), (3, NULL, '1'), (4, 4, 'it''s; --%s');
INSERT INTO messages SELECT i, i FROM generate_series(1, 4) i;
"""


@pytest.fixture
def conn(new_database: Callable[..., str]) -> psycopg.Connection:
    conn = psycopg.connect(new_database(18), autocommit=True)
    conn.execute(SCHEMA)
    return conn


@pytest.mark.parametrize(
    ("tenant", "expected"),
    [
        ("1", {"tenants": 1, "users": 2, "members": 2, "chats": 2, "messages": 2}),
        ("12", {"tenants": 1, "users": 2, "members": 2, "chats": 1, "messages": 1}),
        ("it's; --%s", {"tenants": 1, "users": 1, "members": 1, "chats": 1, "messages": 1}),
        ("' OR true --", {"tenants": 0, "users": 0, "members": 0, "chats": 0, "messages": 0}),
    ],
)
def test_every_rule_selects_exactly_the_tenants_rows(conn, tenant, expected) -> None:
    tables = read_tables(conn)
    resolved = MAP.resolve(tenant, frozenset(tables))
    assert not resolved.unmapped
    for name, count in expected.items():
        query = sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(
            table_sql(T(name)), owned_rows(resolved, T(name), "t")
        )
        assert conn.execute(query).fetchone() == (count,), name
    conn.close()


def test_people_of_two_tenants_are_not_exclusive(conn) -> None:
    resolved = MAP.resolve("1", frozenset(read_tables(conn)))
    query = sql.SQL("SELECT id FROM users t WHERE {}").format(exclusive_people(resolved, T("users"), "t"))
    assert conn.execute(query).fetchall() == [(1,)]
    conn.close()


def test_the_order_puts_parents_first(conn) -> None:
    resolved = MAP.resolve("1", frozenset(read_tables(conn)))
    order = [str(name) for name in resolved.moved]
    assert order.index("public.members") < order.index("public.chats") < order.index("public.messages")
    conn.close()


def test_the_catalogue_knows_keys_and_generated_columns(conn) -> None:
    tables = read_tables(conn)
    messages = tables[T("messages")]
    assert messages.key == ("id",) and messages.identity_columns == ("id",)
    assert [c.name for c in messages.copied_columns] == ["id", "chat_id", "body"]
    assert messages.column("body").hashable and messages.column("body").collatable
    conn.close()
