"""A map is proven by difference: every row of every table has one owner, or is reported."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from tenant_lifecycle.model.mapreport import MapReport, TableOwners
from tenant_lifecycle.model.maptree import draw
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.every_owner import rows_with_owner
from tenant_lifecycle.stores.postgres.mapcheck import check_map
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("users"): Shared(T("members"), "user_id", "id"),
        T("members"): Direct("tenant_id"),
        T("chats"): Direct("tenant_id"),
        T("messages"): Via((Hop(("chat_id",), T("chats"), ("id",)),)),
        T("files"): Via((Hop(("message_id",), T("messages"), ("id",)), Hop(("tenant_id",)))),
        T("plans"): Global(),
    }
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE members (tenant_id text, user_id int, PRIMARY KEY (tenant_id, user_id));
CREATE TABLE chats (id int PRIMARY KEY, tenant_id text);
CREATE TABLE messages (id int PRIMARY KEY, chat_id bigint);
CREATE TABLE files (id int PRIMARY KEY, message_id int, tenant_id text);
CREATE TABLE plans (id int PRIMARY KEY);
INSERT INTO tenants VALUES ('1'), ('12');
INSERT INTO users VALUES (1), (2), (3);
INSERT INTO members VALUES ('1', 1), ('1', 2), ('12', 2), ('12', 3);
INSERT INTO chats VALUES (1, '1'), (2, '12');
INSERT INTO messages VALUES (1, 1), (2, 2), (3, 2);
INSERT INTO files VALUES (1, 1, NULL), (2, 2, '12'), (3, NULL, '1');
"""


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = Database("blue/postgres", "blue", new_database(18), MAP)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)
    yield database
    database.close()


def run(database: Database, statement: str) -> MapReport:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(statement.encode())
    return check_map(database)


def numbers(report: MapReport, table: str) -> TableOwners:
    return next(item for item in report.tables if item.table == T(table))


def codes(report: MapReport) -> set[str]:
    return {finding.code for finding in report.findings if finding.severity != "ok"}


def test_a_right_map_is_proven(database: Database) -> None:
    report = check_map(database)
    assert report.proven and not codes(report)
    assert {str(t.table): (t.rows, t.owned, t.orphans) for t in report.tables} == {
        "public.tenants": (2, 2, 0), "public.users": (3, 3, 0), "public.members": (4, 4, 0),
        "public.chats": (2, 2, 0), "public.messages": (3, 3, 0), "public.files": (3, 3, 0),
    }  # fmt: skip
    assert numbers(report, "users").shared == 1


def test_a_new_table_breaks_the_proof(database: Database) -> None:
    report = run(database, "CREATE TABLE stray (id int)")
    assert not report.proven and codes(report) == {"map.unmapped"}


@pytest.mark.parametrize(
    ("statement", "table", "expected", "code"),
    [
        ("INSERT INTO chats VALUES (9, 'gone')", "chats", (3, 2, 0, 1), "map.dangling"),
        ("INSERT INTO chats VALUES (9, NULL)", "chats", (3, 2, 1, 0), "map.ownerless"),
        ("INSERT INTO messages VALUES (9, 99)", "messages", (4, 3, 1, 0), "map.ownerless"),
        ("INSERT INTO files VALUES (9, NULL, NULL)", "files", (4, 3, 1, 0), "map.ownerless"),
        ("INSERT INTO users VALUES (9)", "users", (4, 3, 1, 0), "map.ownerless"),
        (
            "INSERT INTO users VALUES (9); INSERT INTO members VALUES ('gone', 9)",
            "users",
            (4, 3, 0, 1),
            "map.dangling",
        ),
    ],
)
def test_orphans_are_counted(database: Database, statement, table, expected, code) -> None:
    report = run(database, statement)
    assert report.proven
    found = numbers(report, table)
    assert (found.rows, found.owned, found.ownerless, found.dangling) == expected
    assert code in codes(report)


def test_ways_that_disagree_are_refused(database: Database) -> None:
    report = run(database, "UPDATE files SET tenant_id = '1' WHERE id = 2")
    assert not report.proven and codes(report) == {"map.disputed"}
    assert numbers(report, "files").disputed == 1
    assert numbers(report, "files").rows == 3


def test_a_row_with_two_parents_is_not_counted_twice(database: Database) -> None:
    report = run(
        database,
        "ALTER TABLE chats DROP CONSTRAINT chats_pkey; INSERT INTO chats VALUES (2, '1'), (1, '1')",
    )
    found = numbers(report, "messages")
    assert (found.rows, found.owned, found.disputed) == (3, 3, 2)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("ALTER TABLE messages RENAME chat_id TO chat", "column public.messages.chat_id"),
        ("ALTER TABLE members RENAME user_id TO member", "column public.members.user_id"),
        ("DROP TABLE chats", "table public.chats"),
        ("ALTER TABLE messages ALTER chat_id TYPE uuid USING gen_random_uuid()", "cannot be compared"),
    ],
)
def test_a_map_that_does_not_fit_the_catalogue_is_refused(database: Database, statement, words) -> None:
    report = run(database, statement)
    assert not report.proven and "map.place" in codes(report)
    assert any(words in finding.message for finding in report.findings)


def test_both_meanings_of_ownership_agree(database: Database) -> None:
    """`owned_rows` asks per tenant, `rows_with_owner` for all: the same rows come out, orphans included."""
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO chats VALUES (7, 'gone'), (8, NULL); INSERT INTO messages VALUES (7, 7), (8, 8), (9, 9);"
                     "INSERT INTO files VALUES (4, 9, '1'), (5, 7, '1'), (6, NULL, NULL)")  # fmt: skip
        present = frozenset(read_tables(conn))
        for table in ("tenants", "members", "chats", "messages", "files"):
            by_all = rows_with_owner(MAP.resolve("", present), T(table))
            for tenant in ("1", "12", "gone"):
                resolved = MAP.resolve(tenant, present)
                mine = sql.SQL("SELECT tableoid, ctid FROM {} t WHERE {}").format(
                    table_sql(T(table)), owned_rows(resolved, T(table), "t")
                )
                theirs = sql.SQL("SELECT tableoid, ctid FROM ({}) q WHERE tl_owner = {}").format(
                    by_all, tenant
                )
                assert set(conn.execute(mine)) == set(conn.execute(theirs)), (table, tenant)


def test_schemas_without_a_tenant_are_reported(new_database: Callable[..., str]) -> None:
    map_ = OwnershipMap({T("tenants"): Root("id")}, schema_template="t_{tenant}")
    database = Database("blue/postgres", "blue", new_database(18), map_)
    report = run(
        database,
        "CREATE TABLE tenants (id text PRIMARY KEY); INSERT INTO tenants VALUES ('a');"
        "CREATE SCHEMA t_a CREATE TABLE x (id int); CREATE SCHEMA t_b CREATE TABLE x (id int)",
    )
    database.close()
    assert [f.message for f in report.findings if f.code == "map.stray-schema"] == [
        "schema t_b belongs to no tenant of public.tenants"
    ]
    assert report.proven


def test_the_tree_shows_what_hangs_on_what() -> None:
    assert draw(MAP, [T("stray")]) == [
        "tenants (root: id)",
        "├── chats  by tenant_id",
        "│   └── messages  by chat_id",
        "│       └── files  by message_id, else tenant_id",
        "└── members  by tenant_id",
        "shared people",
        "└── users  id in members.user_id",
        "global",
        "└── plans",
        "NOT MAPPED (stops a migration)",
        "└── stray",
    ]
