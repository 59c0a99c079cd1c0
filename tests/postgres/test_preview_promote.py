"""Promoting rows: what differs and nothing else, whatever hangs on it, and no neighbour notices."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fence_sample import sample
from psycopg import conninfo
from restore_sample import (
    KEY,
    A,
    B,
    ask,
    every_row,
    load,
    nothing,
    promote,
    read,
    run,
    unequal,
    writing,
)

from tenant_lifecycle.errors import (
    Fenced,
    FlipAbandoned,
    PreconditionRefused,
    StoreBusy,
    StoreRejected,
    UsageError,
    WrongState,
)
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Global, OwnershipMap
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.backup.form import row_key
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.search import Eyes
from tenant_lifecycle.stores.postgres.store import PostgresStore

#: Everything that can happen to a tenant's rows between a backup and its restore.
RANSOM = (
    "UPDATE docs SET title = 'locked', moods = NULL WHERE tenant_id = 'a' AND id % 3 = 0",
    "DELETE FROM docs WHERE tenant_id = 'a' AND id % 5 = 0",
    "INSERT INTO docs (tenant_id, title) VALUES ('a', 'pay')",
    "UPDATE chats SET user_id = NULL WHERE id = 3",
    "DELETE FROM messages WHERE chat_id = 4",
    "UPDATE messages SET body = 'x' WHERE chat_id = 5",
    "DELETE FROM events WHERE tenant_id = 'a' AND day = 1",
    "UPDATE events SET day = 1 WHERE tenant_id = 'a' AND id % 4 = 1",
    "DELETE FROM notes WHERE ctid IN (SELECT ctid FROM notes WHERE tenant_id = 'a' LIMIT 2)",
    "INSERT INTO notes VALUES ('a', 'pay')",
    "UPDATE users SET name = 'locked' WHERE id = 2",
    "DELETE FROM members WHERE tenant_id = 'a' AND user_id = 1",
    "DELETE FROM users WHERE id = 1",
)


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    """On 18; the contract suite and random histories are on 16 as well."""
    database = sample(new_database(18), docs=30)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> PostgresStore:
    return PostgresStore(database)


def test_everything_comes_back_to_the_byte_and_neighbours_do_not_change(
    store: PostgresStore, database: Database
) -> None:
    before, base = every_row(database), read(store)
    preview = load(store, base)
    run(database, *RANSOM)
    assert every_row(database) != before and unequal(preview)["public.notes"] == (2, 1, 0)
    changed = promote(preview)
    assert every_row(database) == before
    assert changed["public.notes"] == 3 and changed["public.tenants"] == 0 and changed["public.users"] == 2
    assert read(store).proofs == base.proofs
    assert not any(promote(preview).values())


def test_rows_that_are_equal_are_not_written(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    places = "SELECT ctid, xmin::text FROM docs WHERE id NOT IN (3) ORDER BY id"
    before = ask(database, places)
    run(database, "UPDATE docs SET title = 'other' WHERE id = 3")
    assert promote(preview)["public.docs"] == 1
    assert ask(database, places) == before


def test_the_applications_triggers_do_not_fire(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    run(
        database,
        *RANSOM,
        "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$",
        *(
            f"CREATE TRIGGER boom BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION boom()"
            for table in ("docs", "chats", "messages", "events", "notes", "users", "members")
        ),
    )
    promote(preview)
    assert unequal(preview) == {}


def test_people_of_other_tenants_stay_as_they_are(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    run(
        database,
        "UPDATE users SET name = 'married' WHERE id = 100",
        "UPDATE users SET name = 'x' WHERE id = 3",
    )
    run(database, "DELETE FROM members WHERE tenant_id = 'a' AND user_id = 101")
    changed = promote(preview)
    assert ask(database, "SELECT id, name FROM users WHERE id IN (3, 100, 101) ORDER BY id") == [
        (3, "u"), (100, "married"), (101, "both"),
    ]  # fmt: skip
    assert changed["public.users"] == 1 and changed["public.members"] == 1
    assert unequal(preview) == {"public.users": (0, 0, 1)}


def test_a_neighbours_row_that_refers_to_ours_is_in_the_way_by_name(database: Database) -> None:
    tables = {**database.map.tables, TableName("public", "likes"): Global()}
    other = Database(database.name, "blue", database.dsn, OwnershipMap(tables))
    run(database, "CREATE TABLE likes (id int PRIMARY KEY, doc bigint REFERENCES docs)")
    store = PostgresStore(other)
    preview = load(store, read(store))
    run(database, "INSERT INTO docs (id, tenant_id) VALUES (900, 'a')", "INSERT INTO likes VALUES (1, 900)")
    before = every_row(database)
    with pytest.raises(PreconditionRefused, match=r"1 rows of public\.likes, 1 of them not.*likes_doc_fkey"):
        promote(preview)
    assert every_row(database) == before
    other.close()


def test_single_tables_are_restored_if_no_reference_breaks(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    run(
        database,
        "DELETE FROM docs WHERE tenant_id = 'a'",
        "UPDATE notes SET body = 'x' WHERE tenant_id = 'a'",
    )
    assert promote(preview, "public.docs") == {"public.docs": 30}
    assert set(unequal(preview)) == {"public.notes"}
    with pytest.raises(UsageError, match=r"no set public\.nothing"):
        promote(preview, "public.nothing")


def test_a_single_table_whose_parents_are_gone_is_refused(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    run(database, "DELETE FROM tenants WHERE id = 'a'")
    with pytest.raises(
        PreconditionRefused, match=r"30 rows of public\.docs would refer.*docs_tenant_id_fkey"
    ):
        promote(preview, "public.docs")
    run(database, "DELETE FROM chats WHERE org = 'a'")
    with pytest.raises(PreconditionRefused, match=r"public\.messages: \d+ rows would not be the tenant's"):
        promote(preview, "public.messages")
    promote(preview)
    assert unequal(preview) == {}


def test_values_that_only_one_may_have_are_exchanged(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    before = every_row(database)
    run(
        database,
        "UPDATE docs SET slug = 'tmp' WHERE id = 1",
        "UPDATE docs SET slug = '0s1' WHERE id = 2",
        "UPDATE docs SET slug = '0s2' WHERE id = 1",
        "UPDATE users SET email = NULL WHERE id = 1",
        "UPDATE users SET email = 'e0.1' WHERE id = 2",
    )
    promote(preview)
    assert every_row(database) == before


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        ("UPDATE docs SET slug = '0s1' WHERE id = 31", r"docs_slug_key of docs \(SQLSTATE 23505\)"),
        (
            "INSERT INTO docs (id, tenant_id) VALUES (1, 'b')",
            r"keys of 1 rows are other tenants' now \(id=1\)",
        ),
        ("INSERT INTO events VALUES ('b', 777, 2)", ""),
    ],
)
def test_what_a_neighbour_has_meanwhile_is_theirs(
    store: PostgresStore, database: Database, taken: str, why: str
) -> None:
    preview = load(store, read(store))
    run(database, "DELETE FROM docs WHERE id = 1", taken)
    before = every_row(database)
    if not why:
        promote(preview)
        assert ask(database, "SELECT count(*) FROM events WHERE id = 777") == [(1,)]
        return
    with pytest.raises(PreconditionRefused, match=why) as refused:
        promote(preview)
    assert "0s1" not in str(refused.value)
    assert every_row(database) == before


def test_sequences_go_past_every_restored_number_and_never_back(
    store: PostgresStore, database: Database
) -> None:
    base = read(store)
    preview = load(store, base)
    run(database, "SELECT setval('docs_id_seq', 5000)", "SELECT setval('docs_n_seq', 1, false)")
    promote(preview)
    [(ids, numbers)] = ask(database, "SELECT nextval('docs_id_seq'), nextval('docs_n_seq')")
    assert int(str(ids)) == 5001 and int(str(numbers)) > 60
    preview.discard()
    # Rows that came after the base, as a log would bring them.
    later = [*base.items["public.docs"]]
    cells = (b"9000000", *later[-1].cells[1:3], b"late", *later[-1].cells[4:])
    later.append(Item("public.docs", row_key([b"9000000"]), cells))
    preview = load(store, base)
    preview.load("public.docs", later, nothing)
    promote(preview, token=2)
    assert int(str(ask(database, "SELECT nextval('docs_id_seq')")[0][0])) > 9_000_000


def test_a_preview_that_is_not_what_was_loaded_empties_nobody(
    store: PostgresStore, database: Database
) -> None:
    base = read(store)
    preview = store.open_preview(A, "test", base.reading.shapes, base.reading.facts)
    with pytest.raises(WrongState, match="never loaded"):
        promote(preview)
    preview = load(store, base)
    run(database, "TRUNCATE tl_preview_test.docs")  # what a crash of the server leaves of an unlogged table
    with pytest.raises(WrongState, match=r"public\.docs has 0 rows, 30 were loaded"):
        promote(preview)
    preview.discard()
    with pytest.raises(WrongState, match="no preview test"):
        promote(preview)
    assert ask(database, "SELECT count(*) FROM docs WHERE tenant_id = 'a'") == [(30,)]


def test_writes_have_to_be_held_until_the_end(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    run(database, *RANSOM)
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    with pytest.raises(WrongState, match="not held"):
        promote(preview)
    fence.fence(database, A, 1, 0.2, 1.0)
    time.sleep(0.3)
    with pytest.raises(FlipAbandoned):
        promote(preview)
    assert unequal(preview)

    fence.release(database, A, None)
    fence.fence(database, A, 1, 30, 1.0)
    calls = iter(range(1000))

    def let_go() -> None:
        if next(calls) == 3:
            fence.release(database, A, None)

    with pytest.raises((WrongState, FlipAbandoned)):
        preview.promote(writing(), None, let_go)
    assert unequal(preview)
    fence.fence(database, A, 1, 30, 1.0)
    promote(preview)
    assert unequal(preview) == {}


def test_an_older_driver_is_refused(store: PostgresStore) -> None:
    preview = load(store, read(store))
    promote(preview, token=5)
    with pytest.raises(Fenced):
        promote(preview, token=4)


def test_a_row_that_somebody_holds_is_waited_for_briefly(
    store: PostgresStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.postgres.backup.promote.LOCK_S", 1)
    preview = load(store, read(store))
    run(database, *RANSOM)
    with psycopg.connect(database.dsn) as holder:
        holder.execute("SELECT FROM docs WHERE id = 3 FOR UPDATE")
        with pytest.raises(StoreBusy):
            promote(preview)
    promote(preview)
    assert unequal(preview) == {}


def test_neighbours_write_all_the_time(store: PostgresStore, database: Database) -> None:
    preview = load(store, read(store))
    run(database, *RANSOM)
    done, slowest = threading.Event(), [0.0]

    def neighbour() -> None:
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            while not done.is_set():
                began = time.monotonic()
                conn.execute("UPDATE docs SET title = title || '.' WHERE tenant_id = 'b' AND id = 33")
                conn.execute(
                    "INSERT INTO messages VALUES (1002, (random() * 1e9)::int, 'x') ON CONFLICT DO NOTHING"
                )
                conn.execute("UPDATE users SET name = name WHERE id = 100")
                slowest[0] = max(slowest[0], time.monotonic() - began)

    thread = threading.Thread(target=neighbour)
    thread.start()
    try:
        time.sleep(0.1)
        promote(preview)
    finally:
        done.set()
        thread.join()
    assert unequal(preview) == {} and slowest[0] < 5


def test_an_item_that_does_not_fit_is_refused_without_its_value(
    store: PostgresStore, database: Database
) -> None:
    base = read(store)
    preview = load(store, base)
    good = base.items["public.chats"]
    secret = b"anna@testdomain.example"
    for items, why in (
        ([Item("public.chats", good[0].key, (secret, *good[0].cells[1:]))], "22P02"),
        ([Item("public.chats", good[0].key, (None, *good[0].cells[1:]))], "23502"),
        ([Item("public.chats", good[0].key, good[0].cells[:2])], "with 2 cells"),
        ([good[0], good[0]], "23505"),
        ([Item("public.docs", good[0].key, good[0].cells)], "none of public.chats"),
    ):
        with pytest.raises((StoreRejected, PreconditionRefused), match=why) as refused:
            preview.load("public.chats", items, nothing)
        assert secret.decode() not in str(refused.value)
    assert preview.fingerprints(KEY) == base.proofs  # what was loaded before is still there
    with pytest.raises(UsageError, match=r"no set public\.nothing"):
        preview.load("public.nothing", [], nothing)


def test_another_base_is_not_loaded_into_the_same_preview(store: PostgresStore, database: Database) -> None:
    first = read(store)
    load(store, first)
    run(database, "ALTER TABLE notes ADD x int")
    second = read(store)
    with pytest.raises(WrongState, match="another restore"):
        store.open_preview(A, "test", second.reading.shapes, second.reading.facts)
    with pytest.raises(WrongState, match="another restore"):
        store.open_preview(B, "test", first.reading.shapes, first.reading.facts)


def test_a_type_that_is_none_is_refused_and_runs_nothing(store: PostgresStore, database: Database) -> None:
    reading = read(store).reading
    shape = reading.shapes["public.notes"]
    for text in ("public.gone", "int); DROP TABLE docs; --", "int DEFAULT 1"):
        bad = type(shape)(shape.set, (type(shape.columns[0])("x", text),), ())
        with pytest.raises(StoreRejected, match=r"public\.notes\.x needs"):
            store.open_preview(A, "bad", {"public.notes": bad}, reading.facts)
    assert store.previews() == [] and ask(database, "SELECT to_regclass('docs') IS NOT NULL") == [(True,)]


def test_previews_are_seen_by_who_looks_for_what_is_left_of_a_tenant(
    store: PostgresStore, database: Database
) -> None:
    preview = load(store, read(store))
    assert any("tl_preview_test" in place.name for place in Eyes(database).places())
    assert "pg.preview" in {one.code for one in refusals(store.erasure_findings(A))}
    assert "pg.preview" not in {one.code for one in refusals(store.erasure_findings(B))}
    preview.discard()
    assert "pg.preview" not in {one.code for one in refusals(store.erasure_findings(A))}
    assert ask(database, "SELECT count(*) FROM tenant_lifecycle.preview_set") == [(0,)]
    assert not any("tl_preview_test" in place.name for place in Eyes(database).places())


def test_a_role_that_may_not_restore_is_told_before(store: PostgresStore, database: Database) -> None:
    reading = read(store).reading
    role = f"r_{uuid.uuid4().hex[:12]}"
    run(database, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    dsn = conninfo.make_conninfo(database.dsn, user=role)
    weak = PostgresStore(Database(database.name, "blue", dsn, database.map))
    codes = {one.code for one in refusals(weak.check_restore(A, reading.shapes, reading.facts))}
    assert codes == {"pg.rights", "pg.replica-role"}
    weak.close()
    run(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_an_extension_and_a_newer_server_are_warned_of(store: PostgresStore) -> None:
    reading = read(store).reading
    facts = {**reading.facts, "server_version": 990001, "extensions": {"vector": "0.8.0"}}
    found = store.check_restore(A, reading.shapes, facts)
    assert [one.code for one in found] == ["pg.version", "pg.version"] and not refusals(found)


def test_values_that_are_equal_and_not_the_same_are_restored(
    store: PostgresStore, database: Database
) -> None:
    run(
        database,
        "ALTER TABLE docs ADD amount numeric DEFAULT 1.10, ADD zero float8 DEFAULT '-0', ADD j json DEFAULT '{\"a\" : 1}'",
    )
    preview = load(store, read(store))
    before = every_row(database)
    run(
        database,
        "UPDATE docs SET amount = 1.1 WHERE id = 1",
        "UPDATE docs SET zero = 0 WHERE id = 2",
        "UPDATE docs SET j = '{\"a\":1}' WHERE id = 3",
    )
    assert unequal(preview) == {"public.docs": (0, 0, 3)}
    promote(preview)
    assert every_row(database) == before
