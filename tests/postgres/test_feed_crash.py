"""Whatever dies - our process, a session, a server - every change arrives, and exactly once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from feed_sample import US, MakePair, Pair, rows_of, settle, wait_until
from feed_workload import writing
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenant_lifecycle.errors import FeedGap, Fenced, SpoolFull, StoreUnavailable
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.postgres import copy, split
from tenant_lifecycle.testing.proxy import FaultProxy, Way


@contextmanager
def driver(pair: Pair, apply: str = "apply") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("feed_process.py")), pair.source.dsn, pair.target.dsn, str(pair.folder), apply],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_killing_the_driver_anywhere_loses_and_doubles_nothing(make_pair: MakePair) -> None:
    pair = make_pair()
    rng = random.Random()
    with writing(pair.source):
        for apply in ("spool", "apply", "apply", "apply"):
            with driver(pair, apply):
                time.sleep(rng.random() * 0.5)
        follower = pair.follower()
    settle(follower, 60)
    source = pair.rows(pair.source)
    assert source["public.logs"] and source["public.messages"]
    assert pair.rows(pair.target) == source


def test_copying_under_load_and_following_gives_equal_sides(make_pair: MakePair) -> None:
    pair = make_pair()
    with writing(pair.source, 0.001):
        time.sleep(0.4)
        follower = pair.follower(apply=False)
        parts = split.split(pair.source, pair.target, pair.feed)
        for part in parts:
            copy.copy_part(pair.source, pair.target, pair.feed, part, lambda: None)
        time.sleep(0.2)
        follower.apply()
        time.sleep(0.3)
    settle(follower, 60)
    source = pair.rows(pair.source)
    assert source["public.logs"] and source["public.messages"]
    assert pair.rows(pair.target) == source


def test_restarting_the_servers_is_survived(
    make_pair: MakePair, pg_servers: Callable[[int], PostgresServer]
) -> None:
    pair = make_pair()
    follower = pair.follower()
    for major in (16, 18):
        with pair.at_source() as conn:
            conn.execute("INSERT INTO logs SELECT %s, 'a' FROM generate_series(1, 10)", (US,))
        began = time.monotonic()
        pg_servers(major).stop()
        assert time.monotonic() - began < 20, "a feed must not hold up the server's shutdown"
        pg_servers(major).start()
        with pair.at_source() as conn:
            conn.execute("INSERT INTO logs SELECT %s, 'b' FROM generate_series(1, 10)", (US,))
        settle(follower, 30)
    with pair.at_target() as there:
        assert there.execute("SELECT count(*) FROM logs").fetchone() == (40,)


def test_cut_sessions_are_opened_again(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with writing(pair.source):
        for _ in range(3):
            time.sleep(0.2)
            with pair.at_source() as conn, pair.at_target() as there:
                conn.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
                    (pair.name,),
                )
                there.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
    settle(follower, 30)
    assert pair.rows(pair.target) == pair.rows(pair.source)


def test_a_driver_on_another_machine_goes_on_without_the_spool(make_pair: MakePair) -> None:
    pair = make_pair()
    with writing(pair.source):
        first = pair.follower()
        settle(first)
        time.sleep(0.5)
        first.stop()
        second = pair.follower(spool="elsewhere")
    settle(second)
    assert pair.rows(pair.target) == pair.rows(pair.source)


def test_a_spool_that_is_needed_and_gone_is_a_gap(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower(apply=False)
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats (tenant_id) VALUES (%s)", (US,))
        before = confirmed(pair)
        wait_until(lambda: follower.lag().waiting == 2 and confirmed(pair) > before)
    follower.stop()
    with pytest.raises(FeedGap, match="target and spool reach only"):
        pair.follower(spool="elsewhere")
    settle(pair.follower())
    assert pair.rows(pair.target) == pair.rows(pair.source)


def confirmed(pair: Pair) -> int:
    with pair.at_source() as conn:
        row = conn.execute(
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s", (pair.name,)
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_only_what_is_applied_is_acknowledged_once_applying(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    settle(follower)
    with pair.at_target() as there, there.transaction():
        there.execute("LOCK TABLE chats IN ACCESS EXCLUSIVE MODE")
        with pair.at_source() as conn:
            conn.execute("INSERT INTO chats (tenant_id) VALUES (%s)", (US,))
            row = conn.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
        assert row is not None
        wait_until(lambda: follower.lag().waiting == 1)
        time.sleep(0.8)
        assert confirmed(pair) < int(str(row[0]))
        assert follower.lag().seconds > 0.5
    wait_until(lambda: confirmed(pair) >= int(str(row[0])))


def test_an_idle_tenant_does_not_hold_back_the_log(make_pair: MakePair) -> None:
    pair = make_pair()
    for apply in (False, True):
        follower = pair.follower(apply=apply)
        with pair.at_source() as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS elsewhere (t text)")
            conn.execute("INSERT INTO elsewhere SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
            row = conn.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
        assert row is not None
        wait_until(lambda: confirmed(pair) > int(str(row[0])) - 2**20)  # noqa: B023
        follower.stop()


def test_an_old_driver_is_fenced_by_a_new_one(make_pair: MakePair) -> None:
    pair = make_pair()
    old = pair.follower()
    settle(old)
    pair.token = 2
    new = pair.follower(spool="new")
    with pair.at_source() as conn:
        conn.execute("INSERT INTO logs VALUES (%s, 'once')", (US,))
    settle(new)
    with pytest.raises(Fenced):
        wait_until(lambda: old.check() is not None)
    assert len(pair.rows(pair.target)["public.logs"]) == 1
    pair.token = 1
    with pytest.raises(Fenced):
        pair.follower(spool="third")


def test_a_full_spool_stops_receiving_and_loses_nothing(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower(apply=False, limit_bytes=60_000)
    with pair.at_source() as conn:
        for i in range(40):
            conn.execute("INSERT INTO chats (tenant_id, title) VALUES (%s, repeat('x', 9000))", (US,))
            if i == 20:
                time.sleep(0.3)
    wait_until(lambda: follower.paused() is not None)
    with pytest.raises(SpoolFull):
        follower.await_marker(follower.mark(), 0.3)
    follower.apply()
    settle(follower)
    assert follower.paused() is None
    assert pair.rows(pair.target) == pair.rows(pair.source)
    assert len(pair.rows(pair.target)["public.chats"]) == 40


def test_an_answer_cut_at_any_byte_does_not_double_a_row(make_pair: MakePair) -> None:
    """Also between a commit at the target and its answer, where nobody knows whether it happened."""
    pair = make_pair()
    server = conninfo_to_dict(pair.target.dsn)
    direct = pair.target.dsn
    with FaultProxy(str(server["host"]), int(str(server["port"]))) as proxy, pair.at_source() as conn:
        pair.target.dsn = make_conninfo(direct, port=proxy.port)
        follower = pair.follower()
        settle(follower)
        reach = proxy.forwarded[Way.TO_CLIENT]
        conn.execute("INSERT INTO logs VALUES (%s, 'line')", (US,))
        settle(follower)
        reach = proxy.forwarded[Way.TO_CLIENT] - reach
        follower.take_touched()
        rows = 1
        for byte in range(0, reach + 6, 6):
            proxy.cut_after(byte, Way.TO_CLIENT)
            conn.execute("INSERT INTO logs VALUES (%s, 'line')", (US,))
            rows += 1
            with suppress(StoreUnavailable):
                follower.await_marker(follower.mark(), 0.05)
            proxy.heal()
            settle(follower)
            assert follower.take_touched()["public.logs"]
        follower.stop()
        pair.target.close()
        pair.target.dsn = direct
    assert len(rows_of(pair.target, US)["public.logs"]) == rows


def test_a_wire_cut_at_any_byte_loses_and_doubles_nothing(make_pair: MakePair) -> None:
    pair = make_pair()
    rng = random.Random()
    with ExitStack() as stack:
        proxies = []
        for side in (pair.source, pair.target):
            server = conninfo_to_dict(side.dsn)
            proxy = stack.enter_context(FaultProxy(str(server["host"]), int(str(server["port"]))))
            proxies.append((side, proxy, side.dsn))
        with writing(pair.source):
            for side, proxy, dsn in proxies:
                side.dsn = make_conninfo(dsn, port=proxy.port)
            follower = pair.follower()
            for _ in range(25):
                _, proxy, _ = rng.choice(proxies)
                proxy.cut_after(rng.randrange(2000), rng.choice(list(Way)))
                time.sleep(0.06)
                proxy.heal()
        settle(follower, 60)
        follower.stop()
        for side, _, dsn in proxies:
            side.dsn = dsn
            side.close()
    assert rows_of(pair.target, US) == rows_of(pair.source, US)
