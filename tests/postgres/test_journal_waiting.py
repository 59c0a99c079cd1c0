"""Whoever follows the journal waits for entries, and sleeps through none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from journal_sample import (
    FEED,
    armed,
    enter,
    enter_key,
    execute,
    session,
)

from tenant_lifecycle.stores.postgres import journal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = armed(new_database(18))
    yield database
    database.close()


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
