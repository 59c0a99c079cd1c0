"""A base is what one snapshot saw, and the log from its position on has everything else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fence_sample import HOSTILE, MAP, sample
from restore_sample import KEY, A, ask, load, nothing, promote, read, run, writing

from tenant_lifecycle.errors import StoreBusy, StoreRejected, UnmappedData, UsageError
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Global, OwnershipMap
from tenant_lifecycle.stores.postgres.backup import snapshot as snapshots
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.options import Options
from tenant_lifecycle.stores.postgres.store import PostgresStore


@pytest.fixture(params=[16, 18])
def database(request: pytest.FixtureRequest, new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(request.param), docs=20)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> PostgresStore:
    return PostgresStore(database)


def test_a_base_has_every_table_in_order_of_keys(store: PostgresStore, database: Database) -> None:
    base = read(store)
    for items in base.items.values():
        assert [one.key for one in items] == sorted(one.key for one in items)
        assert len({one.key for one in items}) == len(items)
    docs = base.reading.shapes["public.docs"]
    assert [column.name for column in docs.columns] == [
        "id", "tenant_id", "title", "slug", "n", "moods", "at", "f", "extra",
    ]  # fmt: skip
    of_a = "SELECT count(*) FROM messages m JOIN chats c ON c.id = m.chat_id WHERE org = 'a'"
    assert [(len(base.items["public.messages"]),)] == ask(database, of_a)
    assert {name: len(base.items[f"public.{name}"]) for name in ("tenants", "users", "docs", "notes")} == {
        "tenants": 1, "users": 5, "docs": 20, "notes": 5,
    }  # fmt: skip


def test_transactions_that_a_base_has_are_those_its_snapshot_sees(
    store: PostgresStore, database: Database
) -> None:
    insert = "INSERT INTO notes VALUES ('a', %s) RETURNING pg_current_xact_id()::text::int8"
    with psycopg.connect(database.dsn) as open_one, psycopg.connect(database.dsn) as done:
        (before,) = done.execute(insert, ("before",)).fetchone() or (0,)
        (still_open,) = open_one.execute(insert, ("open",)).fetchone() or (0,)
        done.commit()
        with store.read_base(A, nothing) as reading:
            open_one.commit()
            (after,) = done.execute(insert, ("after",)).fetchone() or (0,)
            done.commit()
            bodies = [one.cells[1] for one in reading.items("public.notes")]
            assert reading.snapshot is not None
            assert [reading.snapshot.sees(xid) for xid in (before, still_open, after)] == [True, False, False]
    assert b"before" in bodies and b"open" not in bodies and b"after" not in bodies
    [(end,)] = ask(database, "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8")
    assert 0 < reading.snapshot.lsn < int(str(end))


def test_a_commit_on_its_way_is_waited_for(
    store: PostgresStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the log already, and nobody sees it yet: with a position behind it, it would be lost."""
    monkeypatch.setattr(snapshots, "WAIT_S", 0.4)
    with psycopg.connect(database.dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        writer = threading.Thread(target=run, args=(database, "INSERT INTO notes VALUES ('a', 'waits')"))
        try:
            writer.start()
            deadline = time.monotonic() + 60
            while not ask(database, "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with pytest.raises(StoreBusy, match="committing"), store.read_base(A, nothing):
                pass
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
            writer.join()
    assert b"waits" in [one.cells[1] for one in read(store).items["public.notes"]]


def test_a_long_transaction_is_not_waited_for(store: PostgresStore, database: Database) -> None:
    with psycopg.connect(database.dsn) as idle, psycopg.connect(database.dsn) as blocked:
        idle.execute("INSERT INTO plans VALUES (1)")
        blocked.execute("INSERT INTO plans VALUES (2)")
        waits = threading.Thread(target=lambda: blocked.execute("INSERT INTO plans VALUES (1)"))
        waits.start()
        began = time.monotonic()
        read(store)
        assert time.monotonic() - began < snapshots.COMMITS_WITHIN_S
        idle.rollback()
        waits.join()


def test_what_cannot_be_restored_is_refused_by_name(store: PostgresStore, database: Database) -> None:
    run(database, "CREATE TABLE forgotten (x int)")
    with pytest.raises(UnmappedData, match=r"public\.forgotten"), store.read_base(A, nothing):
        pass
    run(database, "DROP TABLE forgotten", "ALTER TABLE events_1 SET LOGGED", "ALTER TABLE notes SET UNLOGGED")
    with pytest.raises(StoreRejected, match=r"public\.notes is unlogged"), store.read_base(A, nothing):
        pass
    run(database, "ALTER TABLE notes SET LOGGED", "ALTER TABLE notes ADD file oid")
    with (
        pytest.raises(StoreRejected, match=r"public\.notes names large objects in file"),
        store.read_base(A, nothing),
    ):
        pass


def test_hostile_tenants_have_their_own_rows_only(new_database: Callable[..., str]) -> None:
    database = sample(new_database(18), HOSTILE, docs=2)
    store = PostgresStore(database)
    for tenant in HOSTILE:
        docs = read(store, tenant).items["public.docs"]
        assert [one.cells[1] for one in docs] == [tenant.encode()] * 2
    assert not any(read(store, "nobody").items.values())
    database.close()


def test_a_schema_and_a_database_of_a_tenants_own(new_database: Callable[..., str]) -> None:
    dsn = new_database(18)
    schema = 'CREATE SCHEMA "t_a.b"; CREATE TABLE "t_a.b".x (id int PRIMARY KEY); INSERT INTO "t_a.b".x VALUES (1);'
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(schema + schema.replace("a.b", "c"))
    for map_ in (OwnershipMap(schema_template="t_{tenant}"), OwnershipMap(per_database=True)):
        database = Database("blue/postgres", "blue", dsn, map_)
        store = PostgresStore(database)
        base = read(store, "a.b")
        assert base.items["t_a.b.x"][0].cells == (b"1",)
        assert ("t_c.x" in base.items) == map_.per_database
        preview = load(store, base, "a.b")
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute('DELETE FROM "t_a.b".x')
        # A preview is not taken for the tenant's own, though every table of the database is.
        assert read(store, "a.b").items["t_a.b.x"] == [] and len(read(store, "a.b").items) == len(base.items)
        preview.promote(writing("a.b"), None, nothing)
        assert read(store, "a.b").proofs == base.proofs
        preview.discard()
        database.close()


def test_facts_say_what_decides_and_nothing_personal(database: Database) -> None:
    store = PostgresStore(database, Options(migration_version="SELECT 'v' || 7"))
    with store.read_base(A, nothing) as reading:
        facts = reading.facts
        assert facts["migration"] == "v7" and facts["server_version"] // 10_000 in (16, 18)
        assert facts["extensions"]["plpgsql"] and facts["sequences"]["public.docs_id_seq"] == 40
        assert facts["tables"]["public.docs"] == ["public", "docs"]
        assert not {"'a'", "e0.1", "0s1"} & set(str(facts).split())
        with pytest.raises(UsageError, match=r"no set public\.nothing"):
            reading.items("public.nothing")


def test_the_version_that_alembic_wrote_is_a_fact(new_database: Callable[..., str]) -> None:
    tables = {**MAP.tables, TableName("public", "alembic_version"): Global()}
    database = Database("blue/postgres", "blue", sample(new_database(18), docs=1).dsn, OwnershipMap(tables))
    run(
        database,
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('abc1')",
    )
    assert read(PostgresStore(database)).reading.facts["migration"] == "abc1"
    database.close()


def test_values_with_every_trap_come_back_as_they_were(database: Database, store: PostgresStore) -> None:
    run(
        database,
        "ALTER TABLE notes ADD c char(5), ADD b bytea, ADD d double precision, ADD n numeric, ADD i interval, "
        "ADD t timestamptz, ADD a text[], ADD j json, ADD jb jsonb, ADD r regclass, ADD ip inet, ADD m money",
        "INSERT INTO notes (tenant_id, body, c, b, d, n, i, t, a, j, jb, r, ip, m) VALUES ('a', E'\\\\N\\t\\n\\r\\\\', "
        "'a', '\\x00ff', '-0', 1.10, '1 mon -1 day 00:00:00.000001', '2026-03-29 02:30+02', '[0:1]={NULL,\"NULL\"}', "
        "'{\"b\" : 1}', '{\"b\": 1}', 'docs', '10.0.0.1/8', 12.5)",
    )
    base = read(store)
    preview = load(store, base)
    before = ask(database, "SELECT n::text FROM notes n WHERE tenant_id = 'a' ORDER BY 1")
    run(database, "DELETE FROM notes WHERE tenant_id = 'a'")
    promote(preview)
    assert ask(database, "SELECT n::text FROM notes n WHERE tenant_id = 'a' ORDER BY 1") == before
    assert fingerprint(KEY, read(store).items["public.notes"]) == base.proofs["public.notes"]


def test_reading_leaves_nothing_open(store: PostgresStore, database: Database) -> None:
    with pytest.raises(RuntimeError), store.read_base(A, nothing) as reading:
        next(reading.items("public.docs"))
        raise RuntimeError
    open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 60
    while ask(database, open_ones) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
