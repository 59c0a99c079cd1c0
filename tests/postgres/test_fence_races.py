"""Who waits for whom at the fence: every isolation level at every moment, and nobody's write is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from fence_sample import move, sample
from psycopg import IsolationLevel

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence, triggers
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.tables import read_tables
from tenant_lifecycle.testing.proxy import FaultProxy

A, B = TenantId("a"), TenantId("b")
LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
INSERT = "INSERT INTO docs (tenant_id, title) VALUES (%s, 'raced')"
RACED = "SELECT count(*) FROM public.docs WHERE title = 'raced' AND tenant_id = 'a'"


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    yield database
    database.close()


@contextmanager
def application(database: Database, level: IsolationLevel = LEVELS[0]) -> Iterator[psycopg.Connection]:
    """A session as an application has it."""
    with psycopg.connect(database.dsn, application_name="shop") as conn:
        conn.isolation_level = level
        yield conn


def one(database: Database, query: str) -> object:
    with database.session() as conn:
        return (conn.execute(query).fetchone() or (None,))[0]


def write(conn: psycopg.Connection, tenant: str = A) -> str:
    """Insert and commit; returns the SQLSTATE of the refusal, or "" if the write was acknowledged."""
    try:
        conn.execute(INSERT, (tenant,))
        conn.commit()
    except psycopg.Error as exc:
        conn.rollback()
        return exc.sqlstate or "lost"
    return ""


def wait_until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def sleeping(database: Database) -> object:
    """How many applications wait inside the fence."""
    return one(
        database,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop' "
        "AND (wait_event = 'PgSleep' OR (wait_event_type = 'Lock' AND wait_event = 'advisory'))",
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", ["moved", "released", "ran out"])
def test_a_writer_that_waits_at_the_fence(database: Database, level: IsolationLevel, end: str) -> None:
    ticket = fence.fence(database, A, 1, 0.4 if end == "ran out" else 20.0, 1.0)
    with application(database, level) as conn, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting: Future[str] = pool.submit(write, conn)
        wait_until(lambda: sleeping(database))
        if end == "moved":
            assert fence.commit_move(database, A, ticket, "green")
        elif end == "released":
            fence.release(database, A, ticket)
        state = waiting.result(5)
        if end == "ran out":
            assert 0.3 < time.monotonic() - began < 2.0
    written = one(database, RACED)
    if end == "moved":
        assert state in (("TL001",) if level is LEVELS[0] else ("TL001", "40001"))
    else:
        # With a snapshot of its own the writer cannot see that the fence was lifted: it may be told to repeat.
        assert state in (("",) if level is LEVELS[0] or end == "ran out" else ("", "40001"))
    assert written == (1 if state == "" else 0)


@pytest.mark.parametrize("level", LEVELS)
def test_a_writer_that_waits_for_the_drain_itself(database: Database, level: IsolationLevel) -> None:
    """The writer blocks on the lock while the row goes from ACTIVE to MOVED in the holder's transaction."""
    with psycopg.connect(database.dsn) as driver, application(database, level) as conn:
        conn.execute("SELECT 1")  # the snapshot is from before
        driver.execute("SELECT pg_advisory_xact_lock(tenant_lifecycle.lock_key('a'))")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(write, conn)
            wait_until(lambda: sleeping(database))
            driver.execute("UPDATE tenant_lifecycle.fence SET state = 'MOVED', epoch = 2, target = 'green'")
            driver.commit()
            assert waiting.result(5) == ("TL001" if level is LEVELS[0] else "40001")
    assert one(database, RACED) == 0


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_snapshot_from_before_the_move_cannot_write(database: Database, level: IsolationLevel) -> None:
    with application(database, level) as conn:
        assert conn.execute(RACED).fetchone() == (0,)
        move(database, A, 1, "green")
        assert write(conn) == "40001"
        assert write(conn) == "TL001"


@pytest.mark.parametrize("level", LEVELS)
def test_a_write_in_flight_is_waited_for(database: Database, level: IsolationLevel) -> None:
    with application(database, level) as conn, ThreadPoolExecutor(1) as pool:
        conn.execute(INSERT, (A,))
        fencing = pool.submit(fence.fence, database, A, 1, 5.0, 5.0)
        time.sleep(0.05)
        assert not fencing.done()
        conn.execute(INSERT, (A,))  # a second statement of the same transaction does not wait for the fence
        conn.commit()
        fencing.result(5)
    assert one(database, RACED) == 2


def test_a_move_waits_for_a_writer_that_passed_the_expired_fence(database: Database) -> None:
    ticket = fence.fence(database, A, 1, 0.05, 1.0)
    with application(database) as conn, ThreadPoolExecutor(1) as pool:
        time.sleep(0.06)
        conn.execute(INSERT, (A,))
        committing = pool.submit(fence.commit_move, database, A, ticket, "green")
        time.sleep(0.05)
        assert not committing.done()
        conn.commit()
        assert committing.result(5) is False
    assert fence.fence_row(database, A).state is FenceState.FENCED
    fence.release(database, A, ticket)
    assert fence.fence_row(database, A).state is FenceState.ACTIVE


@pytest.mark.parametrize("level", LEVELS)
def test_a_writer_behind_a_move_that_holds_the_row_is_refused(
    database: Database, level: IsolationLevel
) -> None:
    """The fence runs out while the compare-and-set is under way but not committed."""
    ticket = fence.fence(database, A, 1, 0.3, 1.0)
    with psycopg.connect(database.dsn) as driver, application(database, level) as conn:
        assert driver.execute(
            "SELECT tenant_lifecycle.commit_move('a', %s, 'green')", (ticket,)
        ).fetchone() == (True,)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(write, conn)
            time.sleep(0.5)
            assert not waiting.done()
            driver.commit()
            assert waiting.result(5) in (("TL001",) if level is LEVELS[0] else ("TL001", "40001"))
    assert one(database, RACED) == 0


def test_nothing_is_written_between_a_fence_and_its_move(database: Database) -> None:
    """Fences of a few milliseconds against writers of every level; moves are tried around the deadline.

    What is there when the fence stands is what the target gets. If the move commits, nothing may have come.
    """
    stop = threading.Event()
    acknowledged: list[int] = []
    unexpected: list[str] = []

    def writer(level: IsolationLevel) -> None:
        count = 0
        with application(database, level) as conn:
            while not stop.is_set():
                state = write(conn)
                count += state == ""
                if state not in ("", "TL001", "40001"):
                    unexpected.append(state)
                if state == "TL001":
                    time.sleep(0.001)
        acknowledged.append(count)

    threads = [threading.Thread(target=writer, args=(level,)) for level in (*LEVELS, LEVELS[0])]
    for thread in threads:
        thread.start()
    dice = random.Random(7)
    epoch, moved, abandoned = 1, 0, 0
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < 3 or (min(moved, abandoned) <= 10 and elapsed < 60):
        # On a busy machine the same race needs a longer fence.
        ttl = dice.uniform(0.001, 0.006) * (1 + elapsed / 3)
        try:
            ticket = fence.fence(database, A, epoch, ttl, 1.0)
        except StoreBusy:
            continue
        there = one(database, RACED)
        time.sleep(max(0.0, dice.uniform(-0.002, 0.001) + ttl - 0.001))
        if fence.commit_move(database, A, ticket, "green"):
            moved += 1
            time.sleep(0.002)
            assert one(database, RACED) == there
            fence.activate(database, A, epoch + 2)
            epoch += 2
        else:
            abandoned += 1
            fence.release(database, A, ticket)
    stop.set()
    for thread in threads:
        thread.join()
    assert not unexpected
    assert moved > 10 and abandoned > 10, (moved, abandoned)
    assert sum(acknowledged) == one(database, RACED) > 100


def test_a_long_transaction_is_named_and_nobody_is_kept_waiting(database: Database) -> None:
    with application(database) as holder, application(database) as other:
        holder.execute(INSERT, (A,))
        slowest: list[float] = []
        with ThreadPoolExecutor(1) as pool:
            fencing = pool.submit(fence.fence, database, A, 1, 2.0, 0.6)
            while not fencing.done():
                began = time.monotonic()
                assert write(other) == ""
                slowest.append(time.monotonic() - began)
            with pytest.raises(
                StoreBusy, match=rf"pid {holder.info.backend_pid} \(shop\).*idle in transaction"
            ):
                fencing.result()
        assert len(slowest) > 10 and max(slowest) < 0.1
        assert fence.fence_row(database, A).state is FenceState.ACTIVE
        assert any(f"pid {holder.info.backend_pid} " in line for line in fence.blockers(database, A, 0.1))
        assert fence.blockers(database, A, 60.0) == []
        holder.commit()


def test_two_writers_that_wait_for_each_other_through_the_fence_are_both_spared(database: Database) -> None:
    """One holds the lock and wants a row of the other, who queues behind the fence, which waits for the first."""
    with application(database) as first, application(database) as second:
        first.execute(INSERT, (A,))
        with ThreadPoolExecutor(3) as pool:
            fencing = pool.submit(fence.fence, database, A, 1, 2.0, 2.0)
            time.sleep(0.03)
            blocked = pool.submit(second.execute, "UPDATE docs SET title = 'second' WHERE id = 1")
            time.sleep(0.01)
            first.execute("UPDATE docs SET title = 'first' WHERE id = 2")
            wants = pool.submit(first.execute, "UPDATE docs SET title = 'first' WHERE id = 1")
            blocked.result(5)
            second.commit()
            wants.result(5)
            first.commit()
            fencing.result(5)


@pytest.mark.parametrize("death", ["after the fence", "while it drains"])
def test_writes_go_on_within_two_seconds_when_the_driver_dies(database: Database, death: str) -> None:
    holder = psycopg.connect(database.dsn)
    driver = psycopg.connect(database.dsn, autocommit=True, application_name="driver")
    call = "SELECT outcome FROM tenant_lifecycle.fence_tenant('a', 1, 1.5, 10)"
    with ThreadPoolExecutor(1) as pool:
        if death == "after the fence":
            assert driver.execute(call).fetchone() == ("FENCED",)
            driver.close()
        else:
            holder.execute(INSERT, (A,))
            dying = pool.submit(driver.execute, call)
            time.sleep(0.1)
            with database.session() as conn:
                conn.execute("SELECT pg_terminate_backend(%s)", (driver.info.backend_pid,))
            with pytest.raises(psycopg.OperationalError):
                dying.result(5)
            driver.close()
    began = time.monotonic()
    with application(database) as conn:
        assert write(conn) == ""
        assert time.monotonic() - began < 2.0
        holder.commit()
        holder.close()
        # And the fence can be put up again without anybody cleaning up.
        fence.fence(database, A, 1, 1.0, 1.0)


def test_neighbours_do_not_feel_a_fence(database: Database) -> None:
    stop = threading.Event()
    latencies: list[float] = []

    def neighbour() -> None:
        with application(database) as conn:
            while not stop.is_set():
                began = time.monotonic()
                assert write(conn, B) == ""
                latencies.append(time.monotonic() - began)

    threads = [threading.Thread(target=neighbour) for _ in range(2)]
    for thread in threads:
        thread.start()
    holding = psycopg.connect(database.dsn)
    for _ in range(8):
        holding.execute(INSERT, (A,))
        with pytest.raises(StoreBusy):
            fence.fence(database, A, 1, 2.0, 0.05)
        holding.rollback()
        ticket = fence.fence(database, A, 1, 2.0, 1.0)
        time.sleep(0.05)
        waits = one(
            database,
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE a.application_name = 'shop' AND l.locktype = 'advisory'",
        )
        assert waits == 0  # a tenant that nobody manages takes no lock of ours at all
        fence.release(database, A, ticket)
    stop.set()
    for thread in threads:
        thread.join()
    holding.close()
    assert len(latencies) > 100 and max(latencies) < 0.1


def test_a_transaction_older_than_the_arming_holds_up_the_fence(new_database: Callable[..., str]) -> None:
    database = sample(new_database(18))
    with application(database, IsolationLevel.REPEATABLE_READ) as old:
        old.execute("SELECT 1")
        fence.arm(database, A, FenceState.ACTIVE, 1, None)
        assert any(f"pid {old.info.backend_pid} (shop)" in line for line in fence.blockers(database, A, 60.0))
        with pytest.raises(StoreBusy, match="before the fence was armed"):
            fence.fence(database, A, 1, 2.0, 0.2)
        assert write(old) == ""  # the fence cannot see it, which is why it has to end first
    fence.fence(database, A, 1, 2.0, 0.2)
    database.close()


def test_a_prepared_transaction_blocks_a_flip(database: Database) -> None:
    gid = f"gid {database.dsn[-12:]}"
    with application(database) as conn:
        conn.execute(INSERT, (A,))
        conn.execute(f"PREPARE TRANSACTION '{gid}'")
    try:
        assert any(gid in line for line in fence.blockers(database, A, 60.0))
        with pytest.raises(StoreBusy, match="prepared transaction"):
            fence.fence(database, A, 1, 2.0, 0.1)
    finally:
        with database.session() as conn:
            conn.execute(f"ROLLBACK PREPARED '{gid}'")


def test_arming_a_busy_table_gives_up_without_holding_up_its_writers(
    new_database: Callable[..., str],
) -> None:
    database = sample(new_database(18))
    with application(database) as holder, application(database) as other:
        holder.execute(INSERT, (A,))
        slowest: list[float] = []
        with ThreadPoolExecutor(1) as pool:
            arming = pool.submit(fence.arm, database, A, FenceState.ACTIVE, 1, None, 0.8)
            while not arming.done():
                began = time.monotonic()
                assert write(other) == ""
                slowest.append(time.monotonic() - began)
            with pytest.raises(
                StoreBusy, match=rf"docs was not free: pid {holder.info.backend_pid} \(shop\)"
            ):
                arming.result()
        assert max(slowest) < 0.2
        assert fence.fence_row(database, A) is None
        holder.commit()
        assert fence.arm(database, A, FenceState.ACTIVE, 1, None).state is FenceState.ACTIVE
    database.close()


def test_several_drivers_may_arm_at_once(new_database: Callable[..., str]) -> None:
    database = sample(new_database(18))
    with ThreadPoolExecutor(4) as pool:
        rows = list(
            pool.map(lambda t: fence.arm(database, TenantId(t), FenceState.ACTIVE, 1, None), ["a", "b"] * 3)
        )
    assert {row.state for row in rows} == {FenceState.ACTIVE}
    assert fence.blockers(database, A, 60.0) == fence.blockers(database, B, 60.0) == []
    database.close()


def test_a_database_that_defaults_to_serializable_is_fenced_all_the_same(database: Database) -> None:
    with database.session() as conn:
        conn.execute(
            'ALTER ROLE postgres IN DATABASE "'
            + conn.info.dbname
            + '" SET default_transaction_isolation = serializable'
        )
    other = Database(database.name, "blue", database.dsn, database.map)
    with psycopg.connect(database.dsn) as conn, ThreadPoolExecutor(1) as pool:
        assert conn.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
        conn.execute(INSERT, (A,))
        fencing = pool.submit(fence.fence, other, A, 1, 2.0, 2.0)
        time.sleep(0.05)
        conn.commit()
        ticket = fencing.result(5)
    assert fence.commit_move(other, A, ticket, "green")
    other.close()


def test_nobody_waits_for_a_driver_that_is_slow_to_send_the_next_statement(
    new_database: Callable[..., str],
) -> None:
    """A driver frozen while it arms held its locks for as long as it slept (chaos, seed 20)."""
    plain = sample(new_database(18))
    info = psycopg.conninfo.conninfo_to_dict(plain.dsn)
    slowest, told = 0.0, threading.Event()

    def write_on() -> None:
        nonlocal slowest
        with application(plain) as conn:
            while not told.is_set():
                began = time.monotonic()
                assert write(conn, B) == ""
                slowest = max(slowest, time.monotonic() - began)

    with FaultProxy(str(info["host"]), int(info["port"])) as proxy, ThreadPoolExecutor(1) as pool:
        through = psycopg.conninfo.make_conninfo(plain.dsn, host="127.0.0.1", port=proxy.port)
        distant = Database(plain.name, "blue", through, plain.map)
        proxy.delay(0.4)
        writing = pool.submit(write_on)
        try:
            with distant.session() as conn:
                tables = read_tables(conn)
                resolved = plain.map.resolve(A, frozenset(tables))
                triggers.install_functions(conn, resolved)
                wanted = [one for one in triggers.guarded(resolved, tables) if one.table.name == "docs"]
                triggers.create(conn, plain.name, wanted, 20.0)
        finally:
            told.set()
        writing.result()
    distant.close()
    plain.close()
    assert 0 < slowest < 0.35
