"""Copying in parts: everything of the tenant, nothing of others, wherever it is killed and however many work."""

from __future__ import annotations

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
from fence_sample import HOSTILE, MAP, SCHEMA, sample
from psycopg.conninfo import conninfo_to_dict

from tenant_lifecycle.errors import Fenced, StoreBusy, StoreRejected, StoreUnavailable, WrongState
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, OwnershipMap
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import consistent, copy, lanes, ours
from tenant_lifecycle.stores.postgres.copy import copy_part
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.split import split

A = TenantId("a")
FEED = Feed("tl_test_fwd", A, 1)


def nothing() -> None:
    """A check that never objects."""


def rows(database: Database, tenant: TenantId) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the tenant as text, by table."""
    tables = database.tables()
    resolved = database.map.resolve(tenant, frozenset(tables))
    with database.session() as conn:
        return {
            str(name): conn.execute(
                psycopg.sql.SQL("SELECT ({})::text FROM {} t WHERE {} ORDER BY 1").format(
                    psycopg.sql.SQL("ROW({})").format(
                        columns_sql(tuple(c.name for c in tables[name].columns), "t")
                    ),
                    table_sql(name),
                    owned_rows(resolved, name, "t"),
                )
            ).fetchall()
            for name in resolved.moved
        }


def copied(source: Database, target: Database, feed: Feed = FEED, **sizes: int) -> int:
    return sum(
        copy_part(source, target, feed, part, nothing).items for part in split(source, target, feed, **sizes)
    )


@pytest.fixture
def pair(new_database: Callable[..., str]) -> Iterator[tuple[Database, Database]]:
    source = sample(new_database(16))
    target = empty(new_database(18))
    yield source, target
    source.close()
    target.close()


def empty(dsn: str) -> Database:
    with psycopg.connect(dsn, autocommit=True) as conn:
        # Two databases hardly ever give the same number to the same type.
        conn.execute("CREATE TYPE another AS ENUM ('one', 'two', 'three')")
        conn.execute(SCHEMA)
    return Database("green/postgres", "green", dsn, MAP)


@pytest.mark.parametrize(("old", "new"), [(16, 18), (18, 16), (15, 18), (18, 18)])
def test_the_tenant_arrives_whole_and_alone(new_database: Callable[..., str], old: int, new: int) -> None:
    source, target = sample(new_database(old)), empty(new_database(new))
    assert copied(source, target, rows_per_part=7) == sum(len(found) for found in rows(source, A).values())
    assert rows(target, A) == rows(source, A)
    assert len(rows(source, A)["public.docs"]) == 30 and len(rows(source, A)["public.users"]) == 5
    assert not any(
        rows(target, TenantId("b"))[name] for name in ("public.docs", "public.notes", "public.events")
    )
    source.close()
    target.close()


def test_any_string_may_be_a_tenant(new_database: Callable[..., str]) -> None:
    source, target = sample(new_database(18), HOSTILE), empty(new_database(18))
    for number, name in enumerate(HOSTILE):
        tenant = TenantId(name)
        copied(source, target, Feed(f"tl_{number}", tenant, 1), rows_per_part=11)
        assert rows(target, tenant) == rows(source, tenant)
        with target.session() as conn:
            assert conn.execute("SELECT count(*) FROM public.tenants").fetchone() == (number + 1,)
    source.close()
    target.close()


def test_parts_are_remembered_and_the_same_for_every_driver(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda step: split(source, target, FEED, rows_per_part=step), (7, 8, 9, 10)))
    assert all(answer == answers[0] for answer in answers)
    again = split(source, target, Feed(FEED.name, A, 2), rows_per_part=3)
    assert again == answers[0] and not any(part.done for part in again)
    assert sum(part.items for part in again if part.set == "public.docs") == 30
    # A table without rows has a part too: rows may come before it is read.
    assert {part.set for part in again} == set(rows(source, A))
    with pytest.raises(Fenced):
        split(source, target, FEED, rows_per_part=7)


def test_a_part_that_is_done_is_not_done_again(pair: tuple[Database, Database]) -> None:
    source, target = pair
    part = next(part for part in split(source, target, FEED) if part.set == "public.docs")
    first = copy_part(source, target, FEED, part, nothing)
    with source.session() as conn:
        conn.execute("INSERT INTO public.docs (tenant_id) VALUES ('a')")
    assert copy_part(source, target, FEED, part, nothing) == first
    assert first.items == 30 == len(rows(target, A)["public.docs"])
    assert next(one for one in split(source, target, FEED) if one.name == part.name).done
    with pytest.raises(WrongState, match="split the copy first"):
        copy_part(source, target, Feed("tl_other", A, 1), part, nothing)


def test_rows_outside_the_bounds_of_the_cutting_belong_to_the_outer_parts(
    pair: tuple[Database, Database],
) -> None:
    source, target = pair
    parts = split(source, target, FEED, rows_per_part=7)
    with source.session() as conn:
        conn.execute("INSERT INTO public.messages VALUES (1, -5, 'early'), (10, 10000, 'late')")
    for part in parts:
        copy_part(source, target, FEED, part, nothing)
    assert rows(target, A) == rows(source, A)


#: Types of a key, and values for it.
KEYS = {
    "float8": "SELECT i / 3.0 FROM generate_series(1, 60) i UNION SELECT 'NaN' UNION SELECT '-Infinity'",
    "numeric": "SELECT i / 7.0 FROM generate_series(1, 60) i UNION SELECT 'Infinity'",
    "uuid": "SELECT gen_random_uuid() FROM generate_series(1, 60)",
    "bytea": "SELECT decode(md5(i::text), 'hex') FROM generate_series(1, 60) i",
    "timestamptz": "SELECT now() + i * interval '1.000001 day' FROM generate_series(1, 60) i",
    "text": r"SELECT chr(i) || E'\\\'\n' || i FROM generate_series(33, 200) i",
    "mood": "VALUES ('glad'::mood), ('sad')",
    "inet": "SELECT '10.0.0.0'::inet + i FROM generate_series(1, 60) i",
    "interval": "SELECT i * interval '1 month 3 days 0.000001 s' FROM generate_series(1, 60) i",
    "int4range": "SELECT int4range(i, i + 5) FROM generate_series(1, 60) i",
    "int[]": "SELECT ARRAY[i, -i] FROM generate_series(1, 60) i",
    "char(5)": "SELECT i::text FROM generate_series(1, 60) i",
    "even": "SELECT 2 * i FROM generate_series(1, 60) i",
    '"odd; type"': "SELECT i FROM generate_series(1, 60) i",
}
#: The servers of the wheel are built without ICU.
KEYS_15 = {"text COLLATE german": "SELECT chr(i) || i FROM generate_series(33, 200) i"}


@pytest.mark.parametrize(("major", "keys"), [(18, KEYS), (15, KEYS_15)], ids=["all", "collation"])
def test_bounds_are_exact_for_every_type_of_key(
    new_database: Callable[..., str], major: int, keys: dict[str, str]
) -> None:
    map_ = OwnershipMap({TableName("public", f"k{n}"): Direct("t") for n in range(len(keys))})
    databases = []
    for name, dsn in (("blue", new_database(major)), ("green", new_database(18))):
        databases.append(Database(name, name, dsn, map_))
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN \"odd; type\" AS int")
            conn.execute("CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0)")
            if keys is KEYS_15 and name == "blue":
                conn.execute("CREATE COLLATION german (provider = icu, locale = 'de')")
            for number, (key, values) in enumerate(keys.items()):
                column = key if name == "blue" else key.partition(" COLLATE")[0]
                conn.execute(f"CREATE TABLE k{number} (id {column} PRIMARY KEY, t text DEFAULT 'a')")
                if name == "blue":
                    conn.execute(f"INSERT INTO k{number} {values}")
    source, target = databases
    parts = split(source, target, FEED, rows_per_part=15)
    for part in parts:
        assert copy_part(source, target, FEED, part, nothing).items == part.items > 0, part
    assert rows(target, A) == rows(source, A)
    assert len(parts) > 3 * len(keys)
    source.close()
    target.close()


def test_wide_rows_make_parts_of_few_rows(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with source.session() as conn:
        conn.execute(
            "UPDATE public.docs SET title = (SELECT string_agg(md5(g::text || id), '') FROM generate_series(1, 300) g)"
        )
    parts = split(source, target, FEED, bytes_per_part=50_000)
    items = [part.items for part in parts if part.set == "public.docs"]
    assert len(items) > 4 and sum(items) == 30
    for part in parts:
        copy_part(source, target, FEED, part, nothing)
    assert rows(target, A) == rows(source, A)


def test_sixteen_workers_copy_what_one_would(new_database: Callable[..., str]) -> None:
    source, target = sample(new_database(16), docs=3000), empty(new_database(18))
    parts = split(source, target, FEED, rows_per_part=100)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda part: copy_part(source, target, FEED, part, nothing), parts))
    assert rows(target, A) == rows(source, A)
    with target.session() as conn:
        used = conn.execute(
            "SELECT count(*), sum(writes) FROM tenant_lifecycle.applied WHERE lane LIKE 'copy-%'"
        ).fetchone()
        assert used[0] <= lanes.LANES and used[1] == len(parts)
        left = conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        assert left == (0,)
    source.close()
    target.close()


def test_workers_at_the_same_part_do_it_once(pair: tuple[Database, Database]) -> None:
    source, target = pair
    part = next(part for part in split(source, target, FEED) if part.set == "public.docs")
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert leave.wait(10)

    with pytest.MonkeyPatch.context() as monkey, ThreadPoolExecutor(1) as pool:
        monkey.setattr(copy, "CHECK_EVERY_BYTES", 1)
        first = pool.submit(copy_part, source, target, FEED, part, hold)
        assert inside.wait(10)
        with pytest.raises(StoreBusy, match="copied by another session"):
            copy_part(source, target, FEED, part, nothing)
        leave.set()
        assert first.result(10).items == 30
    assert copy_part(source, target, FEED, part, nothing).items == 30
    assert len(rows(target, A)["public.docs"]) == 30


def test_a_stop_in_the_middle_of_a_part_leaves_nothing_of_it(
    pair: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    monkeypatch.setattr(copy, "CHECK_EVERY_BYTES", 1)
    part = next(part for part in split(source, target, FEED) if part.set == "public.docs")

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        copy_part(source, target, FEED, part, stop)
    assert rows(target, A)["public.docs"] == []
    assert copy_part(source, target, FEED, part, nothing).items == 30


def test_an_old_driver_copies_nothing(pair: tuple[Database, Database]) -> None:
    source, target = pair
    parts = split(source, target, FEED)
    with target.session() as conn:
        # The new driver has been in another lane only.
        ours.register_lane(conn, ours.Writer(FEED.name, A, 5), "copy-40")
    for part in parts:
        with pytest.raises(Fenced):
            copy_part(source, target, FEED, part, nothing)
    assert not any(rows(target, A).values())


def test_errors_name_the_side_that_failed(pair: tuple[Database, Database]) -> None:
    source, target = pair
    part = next(part for part in split(source, target, FEED) if part.set == "public.docs")
    with source.session() as conn:
        conn.execute("ALTER TABLE public.docs ENABLE ROW LEVEL SECURITY")
        conn.execute(
            "DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO blind"
        )
    blind = Database("blue/blind", "blue", psycopg.conninfo.make_conninfo(source.dsn, user="blind"), MAP)
    try:
        with pytest.raises(StoreRejected, match=r"blue/blind.*row-level security"):
            copy_part(blind, target, FEED, part, nothing)
    finally:
        blind.close()
        with source.session() as conn:
            conn.execute("DROP OWNED BY blind; DROP ROLE blind")
    with target.session() as conn:
        conn.execute("ALTER TABLE public.docs DROP COLUMN title CASCADE")
    with pytest.raises(StoreRejected, match="green/postgres"):
        copy_part(source, target, FEED, part, nothing)


def test_people_that_are_there_already_stay_as_they_are(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with target.session() as conn:
        conn.execute("INSERT INTO public.users VALUES (100, 'known here', 'u100')")
    copied(source, target)
    with target.session() as conn:
        people = conn.execute("SELECT id, name FROM public.users ORDER BY id").fetchall()
        assert people == [(1, "u"), (2, "u"), (3, "u"), (100, "known here"), (101, "both")]
        assert conn.execute("SELECT count(*) FROM tenant_lifecycle.pending_key").fetchone() == (0,)


def test_two_moments_that_collide_are_left_to_the_replay(pair: tuple[Database, Database]) -> None:
    """Parts are read at different moments, so a unique value may have wandered from one row to another."""
    source, target = pair
    parts = [part for part in split(source, target, FEED, rows_per_part=10) if part.set == "public.docs"]
    copy_part(source, target, FEED, parts[0], nothing)
    with source.session() as conn:
        conn.execute("UPDATE public.docs SET slug = 'free' WHERE id = 1")
        conn.execute("UPDATE public.docs SET slug = '0s1' WHERE id = 25")
    for part in parts[1:]:
        copy_part(source, target, FEED, part, nothing)
    with target.session() as conn:
        assert conn.execute("SELECT count(*) FROM public.docs WHERE id = 25").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM public.docs").fetchone() == (29,)
        pending = conn.execute("SELECT table_name, key FROM tenant_lifecycle.pending_key").fetchall()
        # One field, eight bytes, the number 25: a row of COPY BINARY over the key.
        assert pending == [("docs", b"\0\1\0\0\0\x08" + (25).to_bytes(8, "big"))]


def test_triggers_of_the_target_do_not_fire(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with target.session() as conn:
        conn.execute(
            "CREATE FUNCTION public.boom() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'boom'; END$$"
        )
        conn.execute(
            "CREATE TRIGGER boom BEFORE INSERT ON public.docs FOR EACH ROW EXECUTE FUNCTION public.boom()"
        )
    copied(source, target)
    assert rows(target, A) == rows(source, A)


def test_a_table_without_a_key_is_copied_as_of_one_position(pair: tuple[Database, Database]) -> None:
    """The copy holds what committed before the position and nothing that committed after it, under load."""
    source, target = pair
    stop = threading.Event()
    with psycopg.connect(source.dsn, autocommit=True) as conn:
        conn.execute("CREATE PUBLICATION p FOR TABLE notes")
        conn.execute(
            "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')",
            ("all_" + conninfo_to_dict(source.dsn)["dbname"],),
        )

    def load() -> None:
        with psycopg.connect(source.dsn, autocommit=True) as conn:
            number = 0
            while not stop.is_set():
                conn.execute("INSERT INTO notes VALUES ('a', %s)", (f"load {number}",))
                number += 1

    part = next(part for part in split(source, target, FEED) if part.set == "public.notes")
    writers = [threading.Thread(target=load) for _ in range(2)]
    for writer in writers:
        writer.start()
    time.sleep(0.2)
    copy_part(source, target, FEED, part, nothing)
    time.sleep(0.1)
    stop.set()
    for writer in writers:
        writer.join()
    with target.session() as conn:
        (position,) = conn.execute("SELECT position::text FROM tenant_lifecycle.copied_until").fetchone()
        (arrived,) = conn.execute("SELECT count(*) FROM public.notes WHERE body LIKE 'load%'").fetchone()
    with psycopg.connect(source.dsn, autocommit=True) as conn:
        # A commit message: 'C', flags, the commit's position, the end of the transaction, the time.
        stream = conn.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, "
            "'proto_version', '1', 'publication_names', 'p')",
            ("all_" + conninfo_to_dict(source.dsn)["dbname"],),
        ).fetchall()
        commits = [int.from_bytes(data[2:10], "big") for (data,) in stream if data[:1] == b"C"]
    high, low = (int(half, 16) for half in position.split("/"))
    assert sum(commit < (high << 32 | low) for commit in commits) == arrived
    assert 0 < arrived < len(commits)


def test_a_keyless_copy_that_must_wait_says_for_whom(pair: tuple[Database, Database]) -> None:
    source, target = pair
    part = next(part for part in split(source, target, FEED) if part.set == "public.notes")
    with psycopg.connect(source.dsn, application_name="nightly job") as holder:
        holder.execute("INSERT INTO plans VALUES (1)")
        with pytest.raises(StoreBusy, match="nightly job"):
            with consistent.consistent_session(source, "tl_waits", wait_s=1):
                pass
        holder.rollback()
    assert copy_part(source, target, FEED, part, nothing).items == 5
    with source.session() as conn:
        assert conn.execute(
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'tl_%'"
        ).fetchone() == (0,)


WORKER = """
import sys
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import copy
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.split import split
sys.path.insert(0, {tests!r})
from fence_sample import MAP
source, target = Database("blue", "blue", {source!r}, MAP), Database("green", "green", {target!r}, MAP)
feed = Feed("tl_test_fwd", "a", {token})
copy.CHECK_EVERY_BYTES = 1
def check():
    print("inside", flush=True)
for part in split(source, target, feed, rows_per_part=100):
    copy.copy_part(source, target, feed, part, check)
"""


def worker(pair: tuple[Database, Database], token: int) -> subprocess.Popen[str]:
    script = WORKER.format(
        tests=str(Path(__file__).parent), source=pair[0].dsn, target=pair[1].dsn, token=token
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_workers_that_are_killed_anywhere_lose_and_double_nothing(new_database: Callable[..., str]) -> None:
    pair = sample(new_database(16), docs=3000), empty(new_database(18))
    for lines in (1, 6, 14):
        process = worker(pair, token=1)
        for _ in range(lines):
            assert process.stdout is not None and process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    done = [part.done for part in split(*pair, FEED)]
    assert any(done) and not all(done)
    # A session of the killed one may live a moment longer; a newer driver does not have to wait for it.
    copied(*pair, Feed(FEED.name, A, 2))
    assert rows(pair[1], A) == rows(pair[0], A)
    for database in pair:
        database.close()


def test_a_stopped_worker_does_not_hold_up_the_next_driver(new_database: Callable[..., str]) -> None:
    pair = sample(new_database(16), docs=3000), empty(new_database(18))
    process = worker(pair, token=1)
    try:
        for _ in range(9):
            assert process.stdout is not None and process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        copied(*pair, Feed(FEED.name, A, 2))
        assert time.monotonic() - began < 10
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) != 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert rows(pair[1], A) == rows(pair[0], A)
    for database in pair:
        database.close()


def test_an_unreachable_target_is_unavailable(pair: tuple[Database, Database]) -> None:
    source, target = pair
    part = split(source, target, FEED)[0]
    nowhere = Database("green/postgres", "green", "host=127.0.0.1 port=1 user=x", MAP)
    with pytest.raises(StoreUnavailable, match="green/postgres"):
        copy_part(source, nowhere, FEED, part, nothing)
