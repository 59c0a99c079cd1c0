"""The fence of a maintenance window: refuses at once, is renewed without a gap, and is lent to a flip."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fence_sample import HOSTILE, sample

from tenant_lifecycle.errors import StoreBusy, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.database import Database

A = TenantId("a")
MINE = "INSERT INTO docs (tenant_id, title) VALUES ('a', 'x')"
#: Person 100 belongs to both tenants.
SHARED = "UPDATE users SET name = 'x' WHERE id = 100"
LEVELS = list(psycopg.IsolationLevel)


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    yield database
    database.close()


def hold(database: Database, ttl_s: float = 2.0, for_s: float = 60.0) -> str:
    return fence.put_up(database, A, 1, ttl_s, 1.0, for_s=for_s)


def write(database: Database, statement: str = MINE, level: psycopg.IsolationLevel | None = None) -> str:
    """The SQLSTATE of the refusal; "" if it was acknowledged."""
    with psycopg.connect(database.dsn) as conn:
        conn.isolation_level = level
        try:
            conn.execute(statement)
        except psycopg.Error as error:
            return error.sqlstate or "lost"
    return ""


@pytest.mark.parametrize("level", LEVELS)
def test_a_write_in_a_window_is_refused_at_once_and_told_its_end(database: Database, level) -> None:
    hold(database)
    began = time.monotonic()
    with (
        psycopg.connect(database.dsn) as conn,
        pytest.raises(psycopg.Error, match="maintenance until") as caught,
    ):
        conn.isolation_level = level
        conn.execute(MINE)
    assert time.monotonic() - began < 0.5
    assert caught.value.sqlstate == "TL005"
    told = json.loads(caught.value.diag.message_detail or "")
    assert told["epoch"] == 1 and told["until"].endswith("Z")


@pytest.mark.parametrize("level", LEVELS)
def test_other_tenants_write_on_in_a_window_also_what_they_share(database: Database, level) -> None:
    hold(database)
    began = time.monotonic()
    assert write(database, SHARED, level) == ""
    assert write(database, MINE.replace("'a'", "'b'"), level) == ""
    assert time.monotonic() - began < 0.5


def test_a_renewal_leaves_no_moment_for_a_writer_and_a_fence_that_is_not_renewed_ends(
    database: Database,
) -> None:
    ticket: str | None = hold(database, ttl_s=0.5)
    passed: list[str] = []
    stop = threading.Event()

    def writers() -> None:
        while not stop.is_set():
            passed.append(write(database))

    threads = [threading.Thread(target=writers) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(0.1)
        assert ticket is not None
        ticket = fence.renew(database, A, ticket, 0.5)
    assert ticket is not None and set(passed) == {"TL005"}
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    assert "" in passed, "nobody renewed it, and writes did not go on"
    assert fence.renew(database, A, ticket, 2.0) is None, "a renewal after the deadline"


def test_only_the_newest_ticket_renews(database: Database) -> None:
    first = hold(database)
    second = fence.renew(database, A, first, 2.0)
    assert second is not None
    assert fence.renew(database, A, first, 2.0) is None
    assert fence.commit_move(database, A, first, "green") is False
    fence.release(database, A, first)
    assert write(database) == "TL005", "an old ticket released the fence"
    fence.release(database, A, second)
    assert write(database) == ""
    assert fence.renew(database, A, second, 2.0) is None


def test_no_renewal_goes_beyond_the_window(database: Database) -> None:
    ticket = hold(database, ttl_s=0.6, for_s=1.0)
    began = time.monotonic()
    while (renewed := fence.renew(database, A, ticket, 5.0)) is not None:
        ticket = renewed
        time.sleep(0.05)
    assert 0.8 < time.monotonic() - began < 1.4
    assert write(database) == ""


def test_a_renewal_that_meets_a_writer_who_passed_is_refused(database: Database) -> None:
    ticket = hold(database, ttl_s=0.2)
    time.sleep(0.3)
    with psycopg.connect(database.dsn) as conn:
        conn.execute(MINE)
        assert fence.renew(database, A, ticket, 2.0) is None
        with pytest.raises(StoreBusy):
            fence.put_up(database, A, 1, 2.0, 0.2, for_s=60.0)
        conn.commit()


def test_a_flip_in_a_window_drains_who_passed_lets_the_others_wait_and_moves(database: Database) -> None:
    ticket = hold(database)
    with psycopg.connect(database.dsn) as conn:
        conn.execute(SHARED)
        with pytest.raises(StoreBusy, match="holds the tenant's lock"):
            fence.put_up(database, A, 1, 2.0, 0.2, ticket=ticket)
        assert write(database) == "TL005", "the window goes on under its old ticket"
        conn.commit()
    tight = fence.put_up(database, A, 1, 2.0, 0.5, ticket=ticket)
    outcomes: list[str] = []
    thread = threading.Thread(target=lambda: outcomes.append(write(database)))
    thread.start()
    time.sleep(0.3)
    assert outcomes == [], "a writer at the flip waits"
    assert fence.commit_move(database, A, ticket, "green") is False
    assert fence.commit_move(database, A, tight, "green") is True
    thread.join()
    assert outcomes == ["TL001"]


def test_a_flip_that_is_given_up_goes_back_to_the_window(database: Database) -> None:
    tight = fence.put_up(database, A, 1, 2.0, 0.5, ticket=hold(database))
    outcomes: list[str] = []
    thread = threading.Thread(target=lambda: outcomes.append(write(database)))
    thread.start()
    time.sleep(0.2)
    again = fence.renew(database, A, tight, 2.0, 30.0)
    thread.join()
    assert again is not None and outcomes == ["TL005"], "who waited is told of the window"
    fence.release(database, A, again)
    assert write(database) == ""


def test_a_flip_never_takes_over_a_fence_that_ran_out(database: Database) -> None:
    ticket = hold(database, ttl_s=0.2)
    time.sleep(0.3)
    with pytest.raises(WrongState):
        fence.put_up(database, A, 1, 2.0, 0.5, ticket=ticket)
    assert write(database) == ""
    with pytest.raises(WrongState):
        fence.put_up(database, A, 1, 2.0, 0.5, ticket=ticket)


@pytest.mark.parametrize("tenant", HOSTILE)
def test_a_window_of_any_tenant_id(new_database: Callable[..., str], tenant: str) -> None:
    database = sample(new_database(18), tenants=(tenant, "b"))
    name = TenantId(tenant)
    fence.arm(database, name, FenceState.ACTIVE, 1, None)
    ticket = fence.put_up(database, name, 1, 2.0, 1.0, for_s=60.0)
    with psycopg.connect(database.dsn) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute("INSERT INTO docs (tenant_id) VALUES (%s)", (tenant,))
    assert caught.value.sqlstate == "TL005"
    assert fence.renew(database, name, ticket, 2.0) is not None
    assert write(database, MINE.replace("'a'", "'b'")) == ""
    database.close()


def test_a_fence_from_an_older_version_learns_of_windows(database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE tenant_lifecycle.fence DROP COLUMN maintenance_until")
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    hold(database)
    assert write(database) == "TL005"
