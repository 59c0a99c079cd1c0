"""A block writes where the tenant's writer is, in every store, and what it writes is in the journal before."""

from __future__ import annotations

import threading
import time

import psycopg
import psycopg_pool
import pytest
import redis
from psycopg.rows import dict_row
from two_environments import A, B, Two, TwoSides, warm

from tenant_lifecycle.client.environment import Environment
from tenant_lifecycle.client.outcome import BlockEnded, JournalUnreachable
from tenant_lifecycle.client.session import Session
from tenant_lifecycle.client.tenants import TenantClient
from tenant_lifecycle.errors import StoreBusy, TenantMoved, UsageError
from tenant_lifecycle.stores.postgres import fence


def put(key: str, value: str = "v"):
    def block(session: Session) -> str:
        session.postgres.execute("INSERT INTO docs (t, note) VALUES (%s, %s)", (A, key))
        session.redis().set(key, value)
        return session.environment

    return block


def test_a_block_outside_any_move_owes_nothing_to_the_journal(two: Two) -> None:
    client = two.client()
    assert client.write(A, put("k")).value == "blue"
    assert client.write(B, lambda s: (s.epoch, s.redis().set("b", 1))).value == (0, True)
    assert two.redis["blue"].get("k") == b"v" and two.redis["green"].get("k") is None
    counts = client.counts()
    assert (counts["blocks"], counts["keys_entered"], counts["keys_mirrored"]) == (2, 0, 0)


def test_a_database_that_never_heard_of_us_is_the_home_of_everybody(databases, redis_servers) -> None:
    environments = {
        name: Environment(db.dsn, {"redis": redis.Redis(port=redis_servers[name].port)})
        for name, db in databases.items()
    }
    with TenantClient(environments, "blue", "blue") as client:
        assert client.write(A, put("k")).value == "blue"
        assert client.read(A, lambda r: (r.environment, r.stores["redis"].get("k"))) == ("blue", b"v")


def test_a_key_is_in_the_journal_before_it_is_written(two: Two) -> None:
    two.open_journal()
    client = two.client()
    seen = []

    def block(session: Session) -> None:
        keys = session.redis()
        real = keys._side.client.set
        # Looked at in the very moment before the request is sent.
        keys._side.client.set = lambda *a, **o: (seen.append(two.entries()), real(*a, **o))[1]
        try:
            keys.set(b"k\x00\xff", "v")
        finally:
            del keys._side.client.set

    client.write(A, block)
    assert [[(e.key, e.open) for e in entries] for entries in seen] == [[(b"k\x00\xff", True)]]
    assert [(e.key, e.open) for e in two.entries()] == [(b"k\x00\xff", False)]


def test_keys_are_mirrored_in_the_state_they_have_at_the_end(two: Two) -> None:
    two.open_journal()
    client = two.client()
    warm(client)
    two.redis["green"].set("gone", "stale")

    def block(session: Session) -> None:
        keys = session.redis()
        for _ in range(3):
            keys.incr("n")
        keys.set("brief", "v", ex=100)
        keys.hset("h", mapping={"a": 1})
        keys.xadd("stream", {"f": 1}, id="5-1")
        keys.xgroup_create("stream", "readers", "0")
        assert len(keys.xreadgroup("readers", "me", {"stream": ">"})) == 1
        keys.set("gone", 1)
        keys.delete("gone")
        keys.mset({"m1": 1, "m2": 2})
        keys.execute("LPUSH", "list", "x")
        keys.execute("SINTERSTORE", "dest", "list0", keys=["dest"])

    client.write(A, block)
    green = two.redis["green"]
    assert (green.get("n"), green.get("gone"), green.hget("h", "a")) == (b"3", None, b"1")
    assert (green.mget("m1", "m2"), green.lrange("list", 0, -1)) == ([b"1", b"2"], [b"x"])
    assert abs(green.pttl("brief") - two.redis["blue"].pttl("brief")) < 50
    assert green.xpending("stream", "readers")["pending"] == 1
    assert not any(entry.open for entry in two.entries())


def test_every_kind_of_store_is_written_entered_and_mirrored(two: Two, everything: TwoSides) -> None:
    two.open_journal()
    client = two.client(environments=everything, mirror_timeout_s=10.0)
    warm(client)
    objects, vectors = everything["green"].stores["objects"], everything["green"].stores["vectors"]

    def block(session: Session) -> None:
        session.vectors().upsert([("v1", [1.0, 2.0]), {"id": "v2", "values": [3.0, 4.0]}], namespace="n%")
        session.vectors().update("v1", "n%", set_metadata={"a": "b"})
        session.vectors().delete(["v2"], "n%")
        session.objects().put("o/1", b"body", ContentType="text/x", Metadata={"m": "1"}, IfNoneMatch="*")
        session.objects().put_tags("o/1", {"t": "1"})
        session.objects().copy("o/1", "o/2")
        session.objects().put("o/3", b"x")
        session.objects().delete("o/3")

    client.write(A, block)
    found = vectors.fetch(ids=["v1", "v2"], namespace="n%").vectors
    assert list(found) == ["v1"] and found["v1"].metadata == {"a": "b"}
    copied = objects.client.get_object(Bucket=objects.bucket, Key="o/1")
    assert (copied["Body"].read(), copied["ContentType"], copied["Metadata"]) == (
        b"body",
        "text/x",
        {"m": "1"},
    )
    assert copied["TagCount"] == 1
    assert objects.client.list_objects_v2(Bucket=objects.bucket)["KeyCount"] == 2
    assert {e.key for e in two.entries(store="vectors")} == {b"n%\0v1", b"n%\0v2"}
    assert {e.key for e in two.entries(store="objects")} == {b"o/1", b"o/2", b"o/3"}
    with pytest.raises(Exception, match="PreconditionFailed"):
        client.write(A, lambda s: s.objects().put("o/1", b"other", IfNoneMatch="*"))
    assert not any(e.open for e in two.entries(store="objects")), "refused is answered: nothing is under way"


def test_what_cannot_be_entered_is_not_offered(two: Two, everything: TwoSides) -> None:
    client = two.client(environments=everything)
    for call in (
        lambda s: s.redis().eval("return 1", 0),
        lambda s: s.redis().pipeline(),
        lambda s: s.redis().flushall(),
        lambda s: s.vectors().delete(filter={}),
        lambda s: s.vectors().update("i", filter={}),
        lambda s: s.redis().set(name="k", value=1),
        lambda s: s.redis().delete(),
    ):
        with pytest.raises((AttributeError, TypeError)):
            client.write(A, call)
    for name in ("nope", "objects"):
        with pytest.raises(UsageError, match="no store"):
            client.write(A, lambda s, name=name: s.redis(name))


def test_every_method_in_the_tables_is_one_of_the_driver() -> None:
    from tenant_lifecycle.client.redis import READS, WRITES

    assert [name for name in (*WRITES, *READS) if not callable(getattr(redis.Redis, name, None))] == []


def test_an_environment_that_no_feed_fills_gets_nobodys_data(two: Two) -> None:
    feed = two.open_journal()
    with two.databases["green"].session() as conn:
        conn.execute("DELETE FROM tenant_lifecycle.applied WHERE feed = %s", (feed.name,))
    client = two.client()
    for number in range(3):
        client.write(A, put(f"k{number}"))
        time.sleep(0.1)
    assert two.redis["green"].dbsize() == 0 and client.counts()["keys_mirrored"] == 0


def test_an_orderly_failure_leaves_nothing_open(two: Two) -> None:
    two.open_journal()
    client = two.client()

    def block(session: Session) -> None:
        put("k")(session)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        client.write(A, block)
    (entry,) = two.entries()
    assert not entry.open and two.notes("blue") == set()
    assert two.redis["blue"].get("k") == b"v", "stores other than PostgreSQL are not rolled back"


def test_a_block_may_not_write_to_stores_for_long(two: Two) -> None:
    client = two.client(block_limit_s=0.2)

    def slow(session: Session) -> None:
        time.sleep(0.3)
        session.redis().set("late", 1)

    with pytest.raises(BlockEnded, match=r"0\.2 s"):
        client.write(A, slow)
    assert two.redis["blue"].get("late") is None


@pytest.mark.parametrize("journaling", [True, False])
def test_a_block_may_not_write_to_stores_without_its_lock(two: Two, journaling: bool) -> None:
    if journaling:
        two.open_journal()
    client = two.client()

    def failed(session: Session) -> None:
        with pytest.raises(psycopg.Error):
            session.postgres.execute("SELECT 1/0")
        session.redis().set("k", 1)

    def cut_off(session: Session) -> None:
        with psycopg.connect(two.databases["blue"].dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (session.postgres.info.backend_pid,))
        time.sleep(0.2)
        session.redis().set("k", 1)

    for block in (failed, cut_off):
        with pytest.raises(BlockEnded):
            client.write(A, block)
    assert two.redis["blue"].get("k") is None


def test_the_journal_notices_a_transaction_that_ended_behind_our_back(two: Two) -> None:
    two.open_journal()
    client = two.client()

    def block(session: Session) -> None:
        session.postgres.execute("COMMIT")
        session.postgres.execute("BEGIN")
        session.redis().set("k", 1)

    with pytest.raises(BlockEnded, match="has ended"):
        client.write(A, block)
    assert two.redis["blue"].get("k") is None and two.entries() == []


def test_without_the_journal_nothing_is_written(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.open_journal()
    client = two.client()
    client.write(A, put("k0"))
    client._places["blue"].door.close()

    def refuse(*args: object, **options: object) -> None:
        raise psycopg.OperationalError("no more connections")

    def block(session: Session) -> None:
        monkeypatch.setattr(psycopg, "connect", refuse)
        session.redis().set("k1", 1)

    with pytest.raises(JournalUnreachable):
        client.write(A, block)
    assert two.redis["blue"].get("k1") is None


def test_a_pool_with_one_connection_and_rows_of_another_kind_is_enough(two: Two) -> None:
    two.open_journal()
    pools = {
        name: psycopg_pool.ConnectionPool(
            db.dsn, min_size=1, max_size=1, open=True, kwargs={"row_factory": dict_row}
        )
        for name, db in two.databases.items()
    }
    client = two.client(
        environments={
            name: Environment(pool.connection, {"redis": two.redis[name]}) for name, pool in pools.items()
        }
    )
    threads = [threading.Thread(target=client.write, args=(A, put(f"k{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(two.notes("blue")) == 6
    warm(client)
    client.write(A, lambda s: s.redis().set("last", 1))
    assert two.redis["green"].get("last") == b"1"
    client.close()
    for pool in pools.values():
        pool.close()


def test_a_fence_waits_for_the_stores_of_a_block_too(two: Two) -> None:
    two.open_journal()
    client = two.client()
    inside, go_on = threading.Event(), threading.Event()

    def block(session: Session) -> None:
        session.redis().set("k", 1)
        inside.set()
        go_on.wait(20)
        session.redis().set("k", 2)

    writer = threading.Thread(target=client.write, args=(A, block))
    writer.start()
    assert inside.wait(20)
    with pytest.raises(StoreBusy, match="holds the tenant's lock"):
        fence.fence(two.databases["blue"], A, 1, 5.0, 0.2)
    go_on.set()
    writer.join()
    two.flip("blue", "green", 1)
    assert client.write(A, put("after")).value == "green"
    assert two.redis["blue"].get("after") is None


def test_no_writer_before_the_deadline(two: Two) -> None:
    client = two.client()
    client.write(A, put("k"))
    ticket = fence.fence(two.databases["blue"], A, 1, 5.0, 1.0)
    assert fence.commit_move(two.databases["blue"], A, ticket, "green")
    with pytest.raises(TenantMoved):
        client.write(A, put("l"), deadline_s=0.2)
    with pytest.raises(TenantMoved):
        client.read(A, lambda r: None, deadline_s=0.2)


def test_local_and_stores_must_be_known(two: Two) -> None:
    with pytest.raises(UsageError, match="local"):
        two.client(local="red")
    with pytest.raises(UsageError, match="no client"):
        two.client(environments={"blue": Environment("", {"redis": object()})})


def test_a_key_is_entered_once_in_a_quick_block(two: Two) -> None:
    two.open_journal()
    client = two.client()

    def quick(session: Session) -> None:
        for number in range(50):
            session.redis().set("k", number)

    def slow(session: Session) -> None:
        for number in range(3):
            session.redis().set("slow", number)
            time.sleep(0.1)

    client.write(A, quick)
    client.write(A, slow)
    assert client.counts()["keys_entered"] < 45, "the key stays entered"
    assert sum(e.key == b"slow" for e in two.entries()) == 3, "the transaction was asked about again"


def test_the_default_namespace_is_entered_as_the_service_lists_it(two: Two, everything: TwoSides) -> None:
    two.open_journal()
    client = two.client(environments=everything)
    client.write(A, lambda s: s.vectors().upsert([("i", [1.0, 2.0])]))
    assert {e.key for e in two.entries(store="vectors")} == {b"__default__\0i"}
    assert client.read(A, lambda r: list(r.stores["vectors"].fetch(ids=["i"]).vectors)) == ["i"]
