"""Changes of one tenant arrive, all of them and nobody else's."""

from __future__ import annotations

import psycopg
import pytest
from feed_sample import DOCS, THEM, US, MakePair, same, settle

from tenant_lifecycle.stores.postgres.feed.follower import prove_feed


@pytest.mark.parametrize(("source", "target"), [(16, 18), (18, 16), (15, 18), (18, 15)])
def test_inserts_updates_and_deletes_arrive_between_versions(
    make_pair: MakePair, source: int, target: int
) -> None:
    pair = make_pair(source, target)
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute(DOCS, {"t": US})
        settle(follower)
        same(pair, "docs")
        conn.execute("UPDATE docs SET title = title || '!', n = NULL WHERE n % 2 = 0")
        conn.execute("DELETE FROM docs WHERE n % 3 = 0")
        conn.execute("INSERT INTO numbers (tenant_id, v) SELECT %s, i FROM generate_series(1, 5) i", (US,))
        conn.execute("UPDATE numbers SET v = -v WHERE v > 2")
        conn.execute(
            "INSERT INTO events VALUES (%(t)s, 1, 1, 'a'), (%(t)s, 2, 2, 'b'), (%(t)s, 3, 2, 'c')", {"t": US}
        )
        conn.execute("UPDATE events SET day = 1 WHERE id = 2")
        conn.execute("DELETE FROM events WHERE id = 3")
        conn.execute("UPDATE tenants SET plan = 'lead' WHERE id = %s", (US,))
        conn.execute("INSERT INTO logs SELECT %s, 'l', '2026-01-01', '[1]' FROM generate_series(1, 3)", (US,))
        conn.execute("INSERT INTO chats VALUES (1, %s), (2, %s)", (US, THEM))
        conn.execute("INSERT INTO messages VALUES (1, 1), (2, 2)")
        conn.execute("INSERT INTO reactions VALUES (1, 1), (2, 2)")
        settle(follower)
        conn.execute("DELETE FROM logs WHERE ctid IN (SELECT ctid FROM logs LIMIT 1)")
    settle(follower)
    same(pair, "docs", "numbers", "events", "tenants", "logs", "reactions")
    assert follower.lag().waiting == 0


def test_vectors_arrive(make_pair: MakePair) -> None:
    pair = make_pair(16, 18, feed=False)
    for side in (pair.source, pair.target):
        with psycopg.connect(side.dsn) as conn:
            conn.execute("CREATE EXTENSION vector")
            conn.execute("ALTER TABLE docs ADD v vector(3)")
    pair.create()
    pair.copy()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO docs (tenant_id, v) VALUES (%s, '[1,2.5,-3]')", (US,))
        conn.execute("UPDATE docs SET v = '[0,0.1,1e-9]', n = 1")
    settle(follower)
    same(pair, "docs")


def test_a_type_without_a_binary_form_arrives(make_pair: MakePair) -> None:
    pair = make_pair(16, 18, feed=False)
    for side in (pair.source, pair.target):
        with psycopg.connect(side.dsn) as conn:
            conn.execute("ALTER TABLE docs ADD acl aclitem")
    pair.create()
    pair.copy()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO docs (tenant_id, acl) VALUES (%s, 'postgres=r/postgres')", (US,))
        settle(follower)
        conn.execute("UPDATE docs SET acl = NULL, n = 3")
        settle(follower)
        conn.execute("UPDATE docs SET acl = 'postgres=arw/postgres'")
    settle(follower)
    same(pair, "docs")


def test_numbers_of_the_source_database_become_names(make_pair: MakePair) -> None:
    pair = make_pair(16, 18, feed=False)
    for side in (pair.target, pair.source):
        with psycopg.connect(side.dsn) as conn:
            if side is pair.source:
                conn.execute("CREATE TABLE only_to_shift_the_numbers ()")
            conn.execute("CREATE TABLE named ()")
            conn.execute("ALTER TABLE chats ADD r regclass, ADD rs regtype[]")
    pair.create()
    pair.copy()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s, 'x', 'named', '{mood,text}')", (US,))
        conn.execute(
            "INSERT INTO chats VALUES (2, %s, 'y', 'named', NULL), (3, %s, 'z', NULL, NULL)", (THEM, US)
        )
        settle(follower)
        same(pair, "chats")
        conn.execute("UPDATE chats SET id = id + 10, title = 'new'")
        conn.execute("DELETE FROM chats WHERE id = 13")
        settle(follower)
    same(pair, "chats")


def test_an_unchanged_toasted_value_stays(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    long = "repeat(md5(random()::text), 300)"
    with pair.at_source() as conn:
        for i in range(4):
            conn.execute(f"INSERT INTO docs (tenant_id, body, n) VALUES (%s, {long}, {i})", (US,))
            conn.execute(f"INSERT INTO whole VALUES ({i}, %s, {long})", (US,))
        settle(follower)
        conn.execute("UPDATE docs SET title = 'new' WHERE n < 3")
        conn.execute("UPDATE docs SET n = n + 10 WHERE n < 2")
        conn.execute(f"UPDATE docs SET body = {long} WHERE n = 10")
        conn.execute("UPDATE docs SET m = 'glad' WHERE n = 10")
        conn.execute("UPDATE whole SET id = id + 10 WHERE id < 2")
        conn.execute("UPDATE whole SET body = body WHERE id = 2")
        settle(follower)
        same(pair, "docs", "whole")
        # A change of the key while the body is not sent: the row has to be read whole from the source.
        conn.execute("UPDATE docs SET id = gen_random_uuid() WHERE n = 2")
        with conn.transaction():
            conn.execute("UPDATE docs SET title = 'twice' WHERE n = 3")
            conn.execute("UPDATE docs SET slug = 'twice' WHERE n = 3")
        settle(follower)
    same(pair, "docs", "whole")


def test_a_partial_row_that_is_missing_is_fetched_whole(make_pair: MakePair) -> None:
    pair = make_pair()
    with pair.at_source() as conn:
        conn.execute(
            "INSERT INTO docs (tenant_id, body) VALUES (%s, repeat(md5(random()::text), 300))", (US,)
        )
        follower = pair.follower()
        settle(follower)
        with pair.at_target() as there:
            there.execute("SET session_replication_role = replica")
            there.execute("DELETE FROM docs")
        conn.execute("UPDATE docs SET n = 1")
        settle(follower)
    same(pair, "docs")


def test_swapped_unique_values_and_keys_arrive(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute(
            "INSERT INTO docs (tenant_id, slug, n) VALUES (%(t)s, 'a', 1), (%(t)s, 'b', 2)", {"t": US}
        )
        conn.execute("INSERT INTO chats VALUES (1, %(t)s, 'one'), (2, %(t)s, 'two')", {"t": US})
        settle(follower)
        with conn.transaction():
            conn.execute("UPDATE docs SET slug = 'x' WHERE n = 1")
            conn.execute("UPDATE docs SET slug = 'a' WHERE n = 2")
            conn.execute("UPDATE docs SET slug = 'b' WHERE n = 1")
            conn.execute("UPDATE chats SET id = 3 WHERE id = 1")
            conn.execute("UPDATE chats SET id = 1 WHERE id = 2")
            conn.execute("UPDATE chats SET id = 2 WHERE id = 3")
        settle(follower)
        same(pair, "docs", "chats")
        conn.execute("DELETE FROM docs WHERE slug = 'a'")
        conn.execute("INSERT INTO docs (tenant_id, slug, n) VALUES (%s, 'a', 3)", (US,))
        settle(follower)
    same(pair, "docs")


def test_a_unique_value_of_the_future_is_no_obstacle(make_pair: MakePair) -> None:
    """The copy read the end of a story whose beginning is replayed afterwards."""
    pair = make_pair()
    with pair.at_source() as conn:
        conn.execute(
            "INSERT INTO docs (tenant_id, slug, n) VALUES (%(t)s, 'a', 1), (%(t)s, 'b', 2)", {"t": US}
        )
        for first, second in (("a", "b"), ("b", "a")):
            with conn.transaction():
                conn.execute("UPDATE docs SET slug = NULL WHERE n = 1")
                conn.execute("UPDATE docs SET slug = %s WHERE n = 2", (first,))
                conn.execute("UPDATE docs SET slug = %s WHERE n = 1", (second,))
        conn.execute("UPDATE docs SET slug = 'c' WHERE n = 1")
        conn.execute("INSERT INTO docs (tenant_id, slug, n) VALUES (%s, 'a', 3)", (US,))
        pair.copy()
        follower = pair.follower()
        settle(follower)
    same(pair, "docs")


def test_duplicates_without_a_key_arrive_exactly_once(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute(
            "INSERT INTO logs SELECT %s, 'same', '2026-01-01', '{\"a\":  1}' FROM generate_series(1, 5)",
            (US,),
        )
        conn.execute("INSERT INTO logs SELECT %s, 'same', '2026-01-01' FROM generate_series(1, 5)", (THEM,))
        conn.execute("INSERT INTO logs VALUES (%s, NULL, NULL, NULL), (%s, NULL, NULL, NULL)", (US, US))
        settle(follower)
        same(pair, "logs")
        assert len(pair.rows(pair.target)["public.logs"]) == 7
        conn.execute(
            "DELETE FROM logs WHERE ctid IN (SELECT ctid FROM logs WHERE tenant_id = %s AND line = 'same' LIMIT 2)",
            (US,),
        )
        conn.execute(
            "UPDATE logs SET line = 'other' WHERE ctid IN (SELECT ctid FROM logs WHERE tenant_id = %s AND line IS NULL LIMIT 1)",
            (US,),
        )
        conn.execute("DELETE FROM logs WHERE tenant_id = %s", (THEM,))
        settle(follower)
    same(pair, "logs")
    assert len(pair.rows(pair.target)["public.logs"]) == 5


def test_a_replica_identity_index_beside_the_primary_key_works(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO indexed SELECT i, %s, 'c' || i, i FROM generate_series(1, 9) i", (US,))
        conn.execute(
            "INSERT INTO indexed SELECT 100 + i, %s, 'c' || i, i FROM generate_series(1, 9) i", (THEM,)
        )
        settle(follower)
        follower.take_touched()
        conn.execute("UPDATE indexed SET v = -1 WHERE id = 2")
        conn.execute("UPDATE indexed SET code = 'new' WHERE id = 3")
        conn.execute("UPDATE indexed SET id = 40 WHERE id = 4")
        conn.execute("DELETE FROM indexed WHERE v > 7")
        settle(follower)
    same(pair, "indexed")
    key = {(i).to_bytes(4, "big") for i in (2, 3, 40, 8, 9)}
    assert {b"\0\1\0\0\0\4" + k for k in key} <= follower.take_touched()["public.indexed"]


def test_touched_keys_name_what_was_applied_and_nothing_else(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats SELECT i, %s FROM generate_series(1, 4) i", (US,))
        conn.execute("INSERT INTO chats SELECT 10 + i, %s FROM generate_series(1, 4) i", (THEM,))
        settle(follower)
        follower.take_touched()
        conn.execute("UPDATE chats SET title = 'x' WHERE id IN (1, 11)")
        conn.execute("DELETE FROM chats WHERE id IN (2, 12)")
        conn.execute("INSERT INTO logs VALUES (%s, 'x')", (US,))
        settle(follower)
    touched = follower.take_touched()
    assert touched.pop("public.logs") == {b""}
    assert touched == {"public.chats": {b"\0\1\0\0\0\x08" + i.to_bytes(8, "big") for i in (1, 2)}}
    assert follower.take_touched() == {}


def test_a_canary_proves_the_feed_and_only_its_own(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    assert prove_feed(pair.source, pair.feed, follower, 10)
    with pair.at_source() as conn:
        conn.execute("INSERT INTO tenant_lifecycle.canary VALUES ('another', 'x')")
    assert not follower.await_marker("canary:x", 0.3)


def test_one_large_transaction_arrives(make_pair: MakePair) -> None:
    pair = make_pair()
    follower = pair.follower()
    with pair.at_source() as conn:
        with conn.transaction():
            conn.execute(
                "INSERT INTO chats SELECT i, %s, repeat('x', 150) FROM generate_series(1, 50000) i", (US,)
            )
            conn.execute("UPDATE chats SET title = 'u' WHERE id % 5 = 0")
            conn.execute("DELETE FROM chats WHERE id % 7 = 0")
            conn.execute("INSERT INTO logs SELECT %s, 'l' || i FROM generate_series(1, 100) i", (US,))
        settle(follower, 60)
    same(pair, "chats", "logs")


@pytest.mark.parametrize(
    "tenant", ["", "a'b\\c\"d", "$$ {x} %(y)s %s", "line\nbreak\ttab", "ünï 🙂", "x" * 2000]
)
def test_hostile_tenants_are_only_strings(make_pair: MakePair, tenant: str) -> None:
    pair = make_pair(tenants=(tenant, THEM))
    follower = pair.follower()
    with pair.at_source() as conn:
        conn.execute("INSERT INTO chats VALUES (1, %s, 'x'), (2, %s, 'y')", (tenant, THEM))
        conn.execute("INSERT INTO messages VALUES (1, 1), (2, 2)")
        conn.execute("INSERT INTO logs VALUES (%s, 'x')", (tenant,))
        settle(follower)
        conn.execute("DELETE FROM logs")
        conn.execute("DELETE FROM chats WHERE title = 'y'")
        settle(follower)
    same(pair, "tenants", "chats", "messages")
    with pair.at_target() as there:
        assert there.execute("SELECT count(*) FROM chats").fetchone() == (1,)
