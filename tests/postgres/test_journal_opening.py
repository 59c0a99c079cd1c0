"""Once the journal is open, every block enters its keys; whoever began before holds the opening up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fence_sample import sample
from journal_sample import (
    FEED,
    LEVELS,
    A,
    B,
    armed,
    enter,
    session,
)
from psycopg import IsolationLevel

from tenant_lifecycle.errors import StoreBusy, WrongState
from tenant_lifecycle.stores.base import Feed, FenceState
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = armed(new_database(18))
    yield database
    database.close()


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
