"""Ids of deleted rows are remembered while a move runs, and never taken from another tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from fence_sample import HOSTILE, MAP, sample

from tenant_lifecycle.model.keymap import IdSet
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.base import Feed, FenceState
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed.slots import forget_feed
from tenant_lifecycle.stores.postgres.idsets import ids

A = TenantId("a")
DOC, SLUG = IdSet(TableName.parse("docs"), "id"), IdSet(TableName.parse("docs"), "slug")


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18))
    # The same rows by a number and by a text.
    database = Database(database.name, "blue", database.dsn, replace(MAP, ids={"doc": DOC, "slug": SLUG}))
    yield database
    database.close()


def begin(database: Database, tenant: TenantId = A) -> Feed:
    """A move of the tenant runs."""
    fence.arm(database, tenant, FenceState.ACTIVE, 1, None)
    feed = Feed("op1_fwd", tenant, 1)
    journal.open_journal(database, feed)
    return feed


def docs(database: Database, tenant: TenantId = A) -> frozenset[str]:
    return ids(database, tenant).sets["doc"]


def execute(database: Database, statement: str, *values: object) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(statement, values)


def test_while_a_move_runs_ids_outlive_their_rows_and_whoever_read_them(database: Database) -> None:
    begin(database)
    before = ids(database, A)
    execute(database, "DELETE FROM docs WHERE tenant_id = 'a'")
    database.close()
    another = Database(database.name, "blue", database.dsn, database.map)
    assert ids(another, A) == before
    assert before.sets["doc"] and before.sets["slug"]
    another.close()


def test_without_a_move_a_deleted_row_is_forgotten(database: Database) -> None:
    assert docs(database)
    execute(database, "DELETE FROM docs WHERE tenant_id = 'a'")
    assert docs(database) == frozenset()


def test_an_id_that_another_tenant_has_by_now_is_theirs(database: Database) -> None:
    begin(database)
    before = ids(database, A)
    execute(database, "UPDATE docs SET tenant_id = 'b' WHERE tenant_id = 'a' AND slug LIKE '%%s1'")
    execute(database, "DELETE FROM docs WHERE tenant_id = 'a'")
    after = ids(database, A)
    for name in ("doc", "slug"):
        assert len(before.sets[name] - after.sets[name]) == 1
        assert not after.sets[name] & ids(database, TenantId("b")).sets[name]


def test_what_was_remembered_ends_with_the_last_move(database: Database) -> None:
    feed = begin(database)
    docs(database)
    execute(database, "DELETE FROM docs WHERE tenant_id = 'a'")
    forget_feed(database, feed)
    assert docs(database), "a move still runs"
    journal.close_journal(database, feed)
    forget_feed(database, feed)
    assert docs(database) == frozenset()


@pytest.mark.parametrize("tenant", HOSTILE)
def test_ids_and_tenants_are_only_strings(database: Database, tenant: str) -> None:
    execute(database, "INSERT INTO tenants VALUES (%s)", tenant)
    execute(database, "INSERT INTO docs (tenant_id, slug) VALUES (%s, %s)", tenant, tenant or "empty")
    feed = begin(database, TenantId(tenant))
    before = ids(database, TenantId(tenant))
    assert before.sets["slug"] == {tenant or "empty"}
    neighbour = docs(database)
    execute(database, "DELETE FROM docs WHERE tenant_id = %s", tenant)
    assert ids(database, TenantId(tenant)) == before
    assert docs(database) == neighbour
    journal.close_journal(database, feed)
    forget_feed(database, feed)
    assert docs(database, TenantId(tenant)) == frozenset()
