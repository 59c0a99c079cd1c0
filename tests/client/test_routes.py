"""A client that listens hears of a changed writer before it is refused, and nothing about anybody's id."""

from __future__ import annotations

import time

import psycopg
import psycopg_pool
import pytest
from two_environments import A, B, Two

from tenant_lifecycle.client.environment import Environment
from tenant_lifecycle.client.gate import Writer
from tenant_lifecycle.client.tenants import TenantClient


def listening(client: TenantClient) -> TenantClient:
    client.listen()
    client.listen()
    for listener in client._listeners:
        assert listener.listening.wait(20)
    return client


def remembered(client: TenantClient, tenant: str = A) -> bool:
    return tenant in client._gate.known()


def eventually(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_a_flip_is_heard(two: Two) -> None:
    client = listening(two.client())
    deaf = two.client()
    for one in (client, deaf):
        assert one.writer(A) == Writer("blue", 1)
        one.writer(B)
    two.flip("blue", "green", 1)
    eventually(lambda: not remembered(client))
    assert remembered(client, B), "others are none of its business"
    assert client.writer(A) == Writer("green", 2) and client.counts()["routes_pushed"] >= 1
    assert deaf.writer(A) == Writer("blue", 1), "who does not listen learns it from the refusal"


def test_what_is_pushed_names_nobody(two: Two) -> None:
    with psycopg.connect(two.databases["blue"].dsn, autocommit=True) as conn:
        conn.execute('LISTEN "tenant_lifecycle.routes"')
        two.flip("blue", "green", 1)
        (note,) = conn.notifies(timeout=20, stop_after=1)
        assert int(note.payload) == conn.execute("SELECT tenant_lifecycle.lock_key(%s)", (A,)).fetchone()[0]


def test_a_listener_comes_back_and_forgets_what_it_may_have_missed(two: Two) -> None:
    client = listening(two.client())
    client.writer(A)
    with two.databases["blue"].session() as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
    eventually(lambda: not remembered(client))


def test_a_pools_connection_can_listen_and_comes_back_clean(two: Two) -> None:
    pools = {
        name: psycopg_pool.ConnectionPool(db.dsn, min_size=1, max_size=3, open=True)
        for name, db in two.databases.items()
    }
    client = listening(
        two.client(environments={name: Environment(pool.connection) for name, pool in pools.items()})
    )
    client.writer(A)
    two.flip("blue", "green", 1)
    eventually(lambda: not remembered(client))
    client.close()
    with pools["blue"].connection() as conn:
        assert conn.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)
    for pool in pools.values():
        pool.close()


def test_closing_ends_every_thread_and_connection(two: Two) -> None:
    client = listening(two.client())
    client.write(A, lambda session: None)
    with pytest.raises(ZeroDivisionError), client:
        raise ZeroDivisionError
    client.close()
    eventually(lambda: _sessions(two) == 0)


def _sessions(two: Two) -> int:
    with psycopg.connect(two.databases["blue"].dsn) as conn:
        return conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND application_name = ''"
        ).fetchone()[0]
