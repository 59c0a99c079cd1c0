"""The journal names every key that an application may have written, and says when a key's state can be relied on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fence_sample import HOSTILE, move
from journal_sample import (
    FEED,
    SHORT,
    TOUCH,
    A,
    B,
    armed,
    enter,
    enter_key,
    entries,
    execute,
    only,
    session,
)

from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed, Journals
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = armed(new_database(18))
    yield database
    database.close()


def test_the_store_keeps_a_journal(database: Database) -> None:
    assert isinstance(PostgresStore(database), Journals)


def test_nobody_enters_anything_before_it_is_opened(database: Database) -> None:
    with session(database) as conn:
        assert enter(conn) == (1, False, None)
        assert enter(conn, B) == (0, False, None)
        # A tenant that nobody manages takes no lock: nothing of ours slows it down.
        assert conn.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        ).fetchone() == (1,)
    enter_key(database, b"k", None)
    assert not journal.journal_open(database, FEED)
    journal.open_journal(database, FEED)
    assert journal.journal_open(database, FEED)
    assert entries(database) == []
    with session(database) as conn:
        assert enter(conn)[:2] == (1, True)


def test_an_entry_is_open_while_its_transaction_runs(database: Database) -> None:
    journal.open_journal(database, FEED)
    with session(database) as conn:
        _, _, holder = enter(conn)
        enter_key(database, b"\x00k\xff", holder)
        assert only(database).key == b"\x00k\xff" and only(database).open
        conn.commit()
        assert not only(database).open
    journal.drop_touched(database, FEED, [only(database).seq])
    assert entries(database) == []


def test_an_orderly_rollback_closes_at_once_and_a_silent_one_after_the_quarantine(database: Database) -> None:
    journal.open_journal(database, FEED)
    execute(database, SHORT)
    with session(database) as conn:
        _, _, holder = enter(conn)
        enter_key(database, b"orderly", holder)
        conn.rollback()
        assert only(database).open
        execute(database, f"SELECT tenant_lifecycle.settle('a', '{holder}')")
        assert not only(database).open
        journal.drop_touched(database, FEED, [only(database).seq])
        _, _, holder = enter(conn)
        enter_key(database, b"silent", holder)
        conn.rollback()
    until = time.monotonic() + 10
    assert only(database).open
    while only(database).open:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert only(database).age_s >= 1.0


def test_a_request_of_unknown_outcome_keeps_its_key_open_after_the_commit(database: Database) -> None:
    journal.open_journal(database, FEED)
    with session(database) as conn:
        enter(conn)
        execute(database, "SELECT tenant_lifecycle.hold('a', 'redis', '{k}')")
        conn.commit()
    assert only(database).open
    execute(database, SHORT)
    execute(database, "UPDATE tenant_lifecycle.touched SET open_until = clock_timestamp()")
    assert not only(database).open


CLIENT = """
import sys, time, psycopg
conn = psycopg.connect(sys.argv[1])
holder = conn.execute("SELECT holder::text FROM tenant_lifecycle.enter('a')").fetchone()[0]
with psycopg.connect(sys.argv[1], autocommit=True) as other:
    other.execute("SELECT tenant_lifecycle.touch('a', 'redis', '{k}', %s::xid8)", (holder,))
print("in the middle", flush=True)
time.sleep(60)
"""


def test_a_client_killed_in_the_middle_leaves_its_keys_open(database: Database) -> None:
    journal.open_journal(database, FEED)
    with subprocess.Popen([sys.executable, "-c", CLIENT, database.dsn], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stdout.readline()
        assert only(database).open
        client.send_signal(signal.SIGKILL)
        client.wait()
    ticket = fence.fence(database, A, 1, 5.0, 5.0)  # the lock is gone with the client
    assert only(database).open, "its request may still be under way"
    fence.release(database, A, ticket)
    execute(database, SHORT)
    while only(database).age_s < 1.0:
        time.sleep(0.02)
    assert not only(database).open


def test_a_tenant_whose_writer_is_elsewhere_is_refused(database: Database) -> None:
    journal.open_journal(database, FEED)
    move(database, A, 1, "green")
    with session(database) as conn, pytest.raises(psycopg.Error) as caught:
        enter(conn)
    assert caught.value.sqlstate == "TL001"


def test_an_older_driver_is_refused(database: Database) -> None:
    newer = Feed(FEED.name, A, 2)
    journal.open_journal(database, FEED)
    journal.touch(database, FEED, "redis", [b"k"])
    journal.open_journal(database, newer)
    for attempt in (
        lambda: journal.open_journal(database, FEED),
        lambda: journal.drop_touched(database, FEED, [only(database).seq]),
        lambda: journal.close_journal(database, FEED),
    ):
        with pytest.raises(Fenced):
            attempt()
    assert not only(database).open
    journal.close_journal(database, newer)
    journal.close_journal(database, newer)
    with pytest.raises(Fenced):
        journal.drop_touched(database, newer, [1])


def test_feeds_do_not_take_each_others_entries(database: Database) -> None:
    other = Feed("op2", A, 7)
    journal.open_journal(database, FEED)
    journal.open_journal(database, other)
    enter_key(database, b"k", None)
    journal.drop_touched(database, FEED, [entry.seq for entry in entries(database)])
    journal.close_journal(database, FEED)
    assert [entry.key for entry in entries(database, other)] == [b"k"]
    with session(database) as conn:
        assert enter(conn)[1] is True


def test_entries_of_a_transaction_that_does_not_run_are_refused(database: Database) -> None:
    journal.open_journal(database, FEED)
    with pytest.raises(psycopg.Error, match="future"):
        enter_key(database, b"k", "999999999")
    with session(database) as conn:
        _, _, holder = enter(conn)
    with pytest.raises(psycopg.Error) as caught:
        enter_key(database, b"k", holder)
    assert caught.value.sqlstate == "TL004" and entries(database) == []


@pytest.mark.parametrize("tenant", HOSTILE)
def test_any_text_can_be_an_id(database: Database, tenant: str) -> None:
    tenant_id, feed = TenantId(tenant), Feed("hostile", TenantId(tenant), 1)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant_lifecycle.fence (tenant, environment, epoch, state) VALUES (%s, 'blue', 1, 'ACTIVE')",
            (tenant,),
        )
    store = PostgresStore(database)
    store.open_journal(feed)
    store.touched(feed, tenant, 10)
    store.await_touched(0.0)
    with session(database) as conn:
        _, told, holder = enter(conn, tenant)
        assert told
        conn.execute("SELECT tenant_lifecycle.touch(%s, %s, %s, %s::xid8)", (tenant, tenant, [b"k"], holder))
        conn.commit()
    assert [entry.key for entry in store.touched(feed, tenant, 10)] == [b"k"]
    assert entries(database) == [] and fence.fence_row(database, tenant_id) is not None
    with session(database) as conn:
        assert enter(conn, "1" if tenant == "12" else "12")[1] is False
    store.close_journal(feed)
    store._listener.close()


def test_a_role_without_rights_on_our_schema_can_enter(database: Database) -> None:
    execute(database, "DROP ROLE IF EXISTS journal_user; CREATE ROLE journal_user LOGIN")
    journal.open_journal(database, FEED)
    dsn = psycopg.conninfo.make_conninfo(database.dsn, user="journal_user")
    with psycopg.connect(dsn) as conn, psycopg.connect(dsn, autocommit=True) as second:
        _, told, holder = enter(conn)
        assert told
        second.execute(TOUCH, (A, [b"k"], holder))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            second.execute("SELECT tenant_lifecycle.drop_touched('op1_fwd', 1, '{1}')")
        conn.rollback()
        second.execute("SELECT tenant_lifecycle.settle('a', %s::xid8)", (holder,))
    assert not only(database).open
    execute(database, "DROP OWNED BY journal_user; DROP ROLE journal_user")
