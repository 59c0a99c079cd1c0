"""The journal names every key that an application may have written, and says when a key's state can be relied on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from fence_sample import HOSTILE, move, sample
from psycopg import IsolationLevel

from tenant_lifecycle.errors import Fenced, StoreBusy, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.base import Feed, FenceState, Journals, Touch
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore

A, B = TenantId("a"), TenantId("b")
FEED = Feed("op1_fwd", A, 1)
LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
ENTER = "SELECT epoch, journaling, holder::text FROM tenant_lifecycle.enter(%s)"
TOUCH = "SELECT tenant_lifecycle.touch(%s, 'redis', %s, %s::xid8)"
#: How long the quarantine is in the tests that wait for its end.
SHORT = "CREATE OR REPLACE FUNCTION tenant_lifecycle.quarantine() RETURNS interval LANGUAGE sql IMMUTABLE RETURN interval '1 s'"


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    yield database
    database.close()


def session(database: Database, level: IsolationLevel = LEVELS[0]) -> psycopg.Connection:
    conn = psycopg.connect(database.dsn, application_name="shop")
    conn.isolation_level = level
    return conn


def enter(conn: psycopg.Connection, tenant: str = A) -> tuple[int, bool, str | None]:
    row = conn.execute(ENTER, (tenant,)).fetchone()
    assert row is not None
    return row


def enter_key(database: Database, key: bytes, holder: str | None, tenant: str = A) -> None:
    """For a block that runs; without one, for a block that begins and ends here."""
    with psycopg.connect(database.dsn, autocommit=True) as conn, session(database) as block:
        if holder is None:
            (holder,) = block.execute("SELECT pg_current_xact_id()::text").fetchone() or (None,)
        conn.execute(TOUCH, (tenant, [key], holder))


def entries(database: Database, feed: Feed = FEED) -> list[Touch]:
    return journal.touched(database, feed, "redis", 1000)


def only(database: Database) -> Touch:
    (entry,) = entries(database)
    return entry


def execute(database: Database, statement: str) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(statement)


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


@pytest.mark.parametrize("level", LEVELS)
def test_a_block_from_before_holds_the_opening_up(database: Database, level: IsolationLevel) -> None:
    with session(database, level) as conn:
        assert enter(conn)[1] is False
        with pytest.raises(StoreBusy, match=r"shop|keep the fence's row"):
            journal.open_journal(database, FEED, budget_s=0.2)
        assert not journal.journal_open(database, FEED)
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(journal.open_journal, database, FEED, 20.0)
            time.sleep(0.05)
            assert not opening.done()
            conn.commit()
            opening.result(20)
    assert journal.journal_open(database, FEED)


def test_blocks_of_the_tenant_pass_while_the_opening_waits(database: Database) -> None:
    with session(database) as conn, ThreadPoolExecutor(1) as pool:
        enter(conn)
        opening = pool.submit(journal.open_journal, database, FEED, 20.0)
        for _ in range(20):
            with session(database) as other:
                enter(other)
                other.commit()
        assert not opening.done()
        with session(database) as other:
            assert enter(other)[1] is True, "new blocks enter their keys already"
        conn.commit()
        opening.result(20)


@pytest.mark.parametrize("level", LEVELS)
def test_a_transaction_that_cannot_see_the_fence_holds_the_opening_up(
    new_database: Callable[..., str], level: IsolationLevel
) -> None:
    database = sample(new_database(16))
    fence.arm(database, B, FenceState.ACTIVE, 1, None)
    with session(database, level) as conn:
        conn.execute("SELECT count(*) FROM docs")
        fence.arm(database, A, FenceState.ACTIVE, 1, None)
        assert enter(conn)[:2] == ((1, False) if level is LEVELS[0] else (0, False))
        with pytest.raises(StoreBusy, match="shop"):
            journal.open_journal(database, FEED, budget_s=0.2)
    journal.open_journal(database, FEED)
    database.close()


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_snapshot_from_before_the_opening_cannot_enter(database: Database, level: IsolationLevel) -> None:
    with session(database, level) as conn:
        conn.execute("SELECT count(*) FROM docs")
        journal.open_journal(database, FEED)
        with pytest.raises(psycopg.errors.SerializationFailure):
            enter(conn)
        conn.rollback()
        assert enter(conn)[1] is True


def test_nobody_slips_through_at_any_isolation_level(database: Database) -> None:
    """Blocks run against openings and closings; after an opening, no block runs that does not know of it."""
    stop = threading.Event()
    # By block: whether it was told to enter its keys, and when it had ended.
    blocks: list[tuple[bool, float]] = []
    failures: list[BaseException] = []

    def run_blocks(number: int) -> None:
        dice = random.Random(number)
        try:
            with session(database, LEVELS[number % 3]) as conn:
                while not stop.is_set():
                    try:
                        if dice.random() < 0.5:
                            conn.execute("SELECT 1 FROM docs")
                            time.sleep(dice.uniform(0, 0.004))
                        told = enter(conn)[1]
                        time.sleep(dice.uniform(0, 0.004))
                        blocks.append((told, time.monotonic()))
                        conn.commit()
                    except psycopg.errors.SerializationFailure:
                        conn.rollback()
        except BaseException as exc:
            failures.append(exc)

    opened: list[tuple[float, float]] = []
    threads = [threading.Thread(target=run_blocks, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 4.0
    while time.monotonic() < until:
        journal.open_journal(database, FEED, 20.0)
        since = time.monotonic()
        time.sleep(0.015)
        opened.append((since, time.monotonic()))
        journal.close_journal(database, FEED)
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert len(opened) > 5 and {told for told, _ in blocks} == {True, False}
    for since, end in opened:
        assert [at for told, at in blocks if not told and since <= at <= end] == []


def test_a_neighbour_is_never_in_the_way_and_never_waits(database: Database) -> None:
    fence.arm(database, B, FenceState.ACTIVE, 1, None)
    with session(database) as neighbour, session(database) as conn:
        assert enter(neighbour, B)[:2] == (1, False)
        journal.open_journal(database, FEED, 0.5)
        enter(conn)
        with pytest.raises(StoreBusy), ThreadPoolExecutor(1) as pool:
            opening = pool.submit(journal.open_journal, database, Feed("op2", B, 1), 1.0)
            began = time.monotonic()
            with session(database) as other:
                enter(other, A)
            assert time.monotonic() - began < 0.9
            opening.result()


def test_a_fence_armed_anew_opens_a_gap(database: Database) -> None:
    journal.open_journal(database, FEED)
    fence.disarm(database, A, keep_moved=False)
    assert not journal.journal_open(database, FEED)
    with pytest.raises(WrongState, match="not armed"):
        journal.open_journal(database, Feed("other", A, 1))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    assert not journal.journal_open(database, FEED)
    journal.open_journal(database, FEED)
    assert journal.journal_open(database, FEED)


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


def test_waiting_ends_with_an_entry_also_after_the_session_broke(database: Database) -> None:
    store = PostgresStore(database)
    store.open_journal(FEED)
    store.touched(FEED, "redis", 10)
    store.await_touched(5.0)

    def read_and_wait() -> None:
        store.touched(FEED, "redis", 10)
        store.await_touched(30.0)

    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            waiting = pool.submit(read_and_wait)
            time.sleep(0.1)
            assert not waiting.done()
            enter_key(database, b"k", None)
            waiting.result(20)
            assert time.monotonic() - began < 20
        execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%journal'",
        )
        for _ in range(3):
            store.await_touched(0.2)
    with session(database) as conn:
        enter_key(database, b"open", enter(conn)[2])
        store.touched(FEED, "redis", 10)
        began = time.monotonic()
        store.await_touched(30.0)
        assert time.monotonic() - began < 20, "open entries are polled"
    store._listener.close()


def test_every_thread_hears_of_every_entry(database: Database) -> None:
    """Followers of several stores share one journal; each waits for what came after its own last reading."""
    store = PostgresStore(database)
    store.open_journal(FEED)
    names, rounds = ("redis", "vectors", "objects"), 30
    found: dict[str, int] = dict.fromkeys(names, 0)
    waits: list[float] = []

    def follow(name: str) -> None:
        while found[name] < rounds:
            entries_ = store.touched(FEED, name, 100)
            store.drop_touched(FEED, [entry.seq for entry in entries_])
            found[name] += len(entries_)
            if not entries_ and found[name] < rounds:
                began = time.monotonic()
                store.await_touched(30.0)
                waits.append(time.monotonic() - began)

    threads = [threading.Thread(target=follow, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for number in range(rounds):
        for name in names:
            journal.touch(database, FEED, name, [b"k%d" % number])
        time.sleep(0.003)
    for thread in threads:
        thread.join()
    assert max(waits) < 20, "somebody slept through what was entered"
    store.close()


def test_a_crash_changes_the_epoch_and_no_number_comes_twice(tmp_path: Path) -> None:
    """The numbers' own record may be lost in the crash: clients do not wait for the disk."""
    settings = {"fsync": "off", "wal_writer_delay": "10s"}
    with PostgresServer(18, tmp_path / "server", settings=settings) as server:
        database = sample(server.dsn())
        fence.arm(database, A, FenceState.ACTIVE, 1, None)
        journal.open_journal(database, FEED)
        epochs, seqs = [journal.journal_epoch(database)], []
        assert journal.journal_epoch(database) == epochs[0]
        for crash in ("backend", "server", "server", "restart"):
            execute(database, "SELECT set_config('synchronous_commit', 'off', false); " + ENTRY)
            before = [entry.seq for entry in entries(database)]
            seqs += before
            database.close()
            if crash == "backend":
                kill_a_backend(server)
            elif crash == "server":
                server.kill()
                server.start()
            else:
                server.restart()
            database = Database("blue", "blue", server.dsn(), database.map)
            epochs.append(journal.journal_epoch(database))
            assert journal.journal_open(database, FEED), "clients go on entering keys"
            assert crash == "restart" or entries(database) == []
            journal.drop_touched(database, FEED, before)
        assert len(set(epochs)) == len(epochs) and len(set(seqs)) == len(seqs) == 4
        database.close()


ENTRY = "INSERT INTO tenant_lifecycle.touched (feed, store, key) VALUES ('op1_fwd', 'redis', 'k')"


def kill_a_backend(server: PostgresServer) -> None:
    """One backend killed makes the postmaster, which lives on, throw everybody out and recover."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        started = conn.execute("SELECT pg_postmaster_start_time()").fetchone()
        os.kill(conn.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    until = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(server.dsn(), autocommit=True) as conn:
                assert conn.execute("SELECT pg_postmaster_start_time()").fetchone() == started
                return
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.05)
