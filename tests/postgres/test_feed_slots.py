"""A feed's slot and publication: made once, refused with reasons, gone without a trace; and what ends a feed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from feed_sample import MAP, SCHEMA, THEM, US, MakePair, settle, wait_until

from tenant_lifecycle.errors import FeedGap, SourceChanged, StoreBusy, StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.base import Feed, Follower
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed.slots import create_feed, drop_feed, feed_exists, forget_feed

FEED = Feed("tl_test_fwd", TenantId(US), 1)


def test_a_feed_is_made_once_and_dropped_without_a_trace(make_pair: MakePair) -> None:
    pair = make_pair(feed=False)
    assert not feed_exists(pair.source, pair.feed)
    drop_feed(pair.source, pair.feed)
    for _ in range(2):
        pair.create()
        assert feed_exists(pair.source, pair.feed)
    follower = pair.follower()
    settle(follower)
    other = replace(pair.feed, name="tl_other_fwd")
    create_feed(pair.source, pair.target, other)
    drop_feed(pair.source, pair.feed)
    follower.stop()
    drop_feed(pair.source, pair.feed)
    forget_feed(pair.target, pair.feed)
    assert not feed_exists(pair.source, pair.feed)
    assert feed_exists(pair.source, other)
    with pair.at_source() as conn, pair.at_target() as there:
        assert conn.execute("SELECT pubname FROM pg_publication").fetchall() == [("tl_other_fwd",)]
        assert there.execute("SELECT count(*) FROM tenant_lifecycle.applied").fetchone() == (0,)


def test_an_open_transaction_is_named_and_nothing_is_left_behind(make_pair: MakePair) -> None:
    pair = make_pair(feed=False)
    with psycopg.connect(pair.source.dsn, application_name="nightly report") as writer:
        writer.execute("INSERT INTO tenants VALUES ('slow')")
        with pytest.raises(StoreBusy, match="nightly report") as raised:
            create_feed(pair.source, pair.target, pair.feed, wait_s=0.3)
        assert raised.value.retryable
        assert not feed_exists(pair.source, pair.feed)
    pair.create()
    assert feed_exists(pair.source, pair.feed)


def test_no_free_slot_is_refused(make_pair: MakePair) -> None:
    pair = make_pair(feed=False)
    with pair.at_source() as conn:
        try:
            with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
                for i in range(100):
                    conn.execute("SELECT pg_create_physical_replication_slot(%s)", (f"full_{i}",))
            with pytest.raises(StoreRejected) as raised:
                pair.create()
            assert "max_replication_slots" in raised.value.next_step
        finally:
            conn.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'full%'"
            )


def test_a_role_without_the_right_to_replicate_is_refused(make_pair: MakePair) -> None:
    pair = make_pair(feed=False)
    with pair.at_source() as conn:
        conn.execute(
            "DO $$ BEGIN CREATE ROLE feedless LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        conn.execute("GRANT CREATE ON DATABASE " + str(conn.info.dbname) + " TO feedless")
        for (table,) in conn.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        ).fetchall():
            conn.execute(f"ALTER TABLE {table} OWNER TO feedless")
    source = Database("blue/postgres", "blue", pair.source.dsn.replace("user=postgres", "user=feedless"), MAP)
    try:
        with pytest.raises(StoreRejected) as raised:
            create_feed(source, pair.target, pair.feed)
        assert "REPLICATION" in raised.value.next_step
    finally:
        source.close()
        with pair.at_source() as conn:
            conn.execute("REASSIGN OWNED BY feedless TO postgres")
            conn.execute("DROP OWNED BY feedless")
            conn.execute("DROP ROLE feedless")


def test_a_server_without_logical_wal_is_refused(tmp_path: Path, new_database: Callable[..., str]) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    server = PostgresServer(16, tmp_path / "pg", settings={"wal_level": "replica", "fsync": "off"})
    try:
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(SCHEMA)
        source = Database("blue/postgres", "blue", server.dsn(), MAP)
        target = Database("green/postgres", "green", new_database(18), MAP)
        with pytest.raises(StoreRejected) as raised:
            create_feed(source, target, FEED)
        assert "wal_level = logical" in raised.value.next_step
        source.close()
        target.close()
    finally:
        server.stop("immediate")


def test_a_table_without_replica_identity_is_refused_before_it_breaks_updates(make_pair: MakePair) -> None:
    pair = make_pair(feed=False)
    with pair.at_source() as conn:
        conn.execute("ALTER TABLE logs REPLICA IDENTITY DEFAULT")
        with pytest.raises(StoreRejected, match=r"public\.logs"):
            pair.create()
        conn.execute("INSERT INTO logs VALUES ('x')")
        conn.execute("UPDATE logs SET line = 'works'")


def ends_with(error: type[Exception], match: str, follower: Follower) -> None:
    with pytest.raises(error, match=match):
        wait_until(lambda: follower.check() is not None)
    with pytest.raises(error):
        follower.await_marker(follower.mark(), 5)
    with pytest.raises(error):
        follower.lag()


def test_a_dropped_slot_is_a_gap(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    settle(follower)
    drop_feed(pair.source, pair.feed)
    ends_with(FeedGap, "changes were lost", follower)
    with pytest.raises(FeedGap):
        pair.follower()
    pair.create()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO tenants VALUES ('noise')")
    with pytest.raises(FeedGap):
        pair.follower()


def test_an_invalidated_slot_is_a_gap(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    settle(follower)
    follower.stop()
    with pair.at_source() as conn:
        try:
            conn.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
            conn.execute("SELECT pg_reload_conf()")
            for _ in range(4):
                conn.execute("CREATE TABLE IF NOT EXISTS noise (t text)")
                conn.execute("INSERT INTO noise VALUES ('x')")
                conn.execute("SELECT pg_switch_wal()")
                conn.execute("CHECKPOINT")
        finally:
            conn.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            conn.execute("SELECT pg_reload_conf()")
    assert not feed_exists(pair.source, pair.feed)
    with pytest.raises(FeedGap):
        pair.follower()


@pytest.mark.parametrize(
    ("ddl", "says"),
    [
        ("TRUNCATE docs", r"public\.docs was truncated"),
        ("TRUNCATE tenants, events", r"was truncated"),
        ("ALTER TABLE docs ADD extra text", r"column extra of public\.docs"),
        ("ALTER TABLE docs DROP n", r"column n of public\.docs"),
        ("ALTER TABLE docs ALTER n TYPE bigint", r"column n of public\.docs"),
        ("ALTER TABLE docs RENAME title TO name", r"column title of public\.docs"),
        ("ALTER TABLE docs REPLICA IDENTITY FULL", r"replica identity of public\.docs"),
    ],
)
def test_truncate_and_ddl_on_an_owned_table_stop_the_feed(make_pair: MakePair, ddl: str, says: str) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO docs (tenant_id) VALUES (%s)", (US,))
        settle(follower)
        conn.execute("ALTER TABLE plans ADD whatever int")
        conn.execute(ddl)
        conn.execute("INSERT INTO docs (tenant_id) VALUES (%s)", (THEM,))
    ends_with(SourceChanged, says, follower)


def test_ddl_while_nobody_followed_is_named_at_the_start(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    settle(follower)
    follower.stop()
    with pair.at_source() as conn, pair.at_target() as there:
        conn.execute("ALTER TABLE docs ADD extra text")
        with pytest.raises(SourceChanged, match=r"public\.docs\.extra is text at blue/postgres and missing"):
            pair.follower()
        there.execute("ALTER TABLE docs ADD extra text")
        with pytest.raises(SourceChanged, match=r"column extra of public\.docs changed"):
            pair.follower()


def test_a_row_that_changes_its_tenant_stops_the_feed(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats (tenant_id) VALUES (%s)", (US,))
        settle(follower)
        conn.execute("UPDATE chats SET tenant_id = %s", (THEM,))
    ends_with(SourceChanged, r"row\(s\) of public.chats changed tenant", follower)


def test_ownership_that_bytes_do_not_decide_is_refused(make_pair: MakePair) -> None:
    pair = make_pair(feed=False)
    for side in (pair.source, pair.target):
        with psycopg.connect(side.dsn) as conn:
            conn.execute("ALTER TABLE logs ALTER tenant_id TYPE json USING to_json(tenant_id)")
    pair.create()
    with pytest.raises(StoreRejected, match=r"public\.logs depends on column tenant_id"):
        pair.follower()


@pytest.mark.parametrize("source", [15, 16, 18])
def test_a_marker_passes_an_idle_system_within_moments(make_pair: MakePair, source: int) -> None:
    """A message that is not flushed would wait for the log writer's 200 ms."""
    pair = make_pair(source, 18)
    follower = pair.follower()
    settle(follower)
    times = []
    for _ in range(15):
        began = time.perf_counter()
        settle(follower)
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.1


def test_the_source_forgets_nothing_that_only_memory_knows_to_be_applied(make_pair: MakePair) -> None:
    """Markers are not written down at the target: another host has to be able to begin before them."""
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats (tenant_id, title) VALUES (%s, 'one')", (US,))
    for _ in range(8):
        settle(follower)
        time.sleep(0.1)

    def confirmed_and_stored() -> tuple[object, object]:
        with pair.at_source() as conn, pair.at_target() as there:
            stored = there.execute(
                "SELECT position FROM tenant_lifecycle.applied WHERE lane = 'stream'"
            ).fetchone()
            kept = conn.execute(
                "SELECT confirmed_flush_lsn <= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                (str((stored or ("0/0",))[0]), pair.name),
            ).fetchone()
        return kept, stored

    kept, stored = confirmed_and_stored()
    assert kept == (True,), stored
    follower.stop()
    elsewhere = pair.follower(spool="on another host")
    settle(elsewhere)
