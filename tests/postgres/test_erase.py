"""Erasing a tenant's rows: all of them, by a manifest frozen before, nobody else's, and again after any stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from erasure_sample import (
    MAP,
    A,
    B,
    erase_all,
    erasing,
    found,
    marker,
    nothing,
    rows_of_others,
    sample,
)
from psycopg import sql

from tenant_lifecycle.errors import Fenced, StoreBusy
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.erasing import Closes, Erases, Plants, Searches
from tenant_lifecycle.stores.postgres import close, fence
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.doomed import doomed
from tenant_lifecycle.stores.postgres.erase import OWNER_CHANGED, erase
from tenant_lifecycle.stores.postgres.erasurecheck import erasure_findings
from tenant_lifecycle.stores.postgres.remaining import remaining
from tenant_lifecycle.stores.postgres.search import Eyes
from tenant_lifecycle.stores.postgres.settle import Physical, settle
from tenant_lifecycle.stores.postgres.store import PostgresStore


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18))
    yield database
    database.close()


def hits(database: Database, tenant: str = A) -> dict[str, int]:
    """Places of this database in which the tenant still is."""
    eyes, name = Eyes(database), psycopg.conninfo.conninfo_to_dict(database.dsn)["dbname"]
    places = [p for p in eyes.places() if p.name.startswith((f"{name}.", f"{name} "))]
    seen = {p.name: eyes.search(p, found(marker(tenant)), nothing) for p in places}
    assert not [looked.unread for looked in seen.values() if looked.unread]
    return {place.removeprefix(f"{name}."): one.hit_count for place, one in seen.items() if one.hit_count}


def test_the_store_has_every_ability_of_erasing(database: Database) -> None:
    store = PostgresStore(database)
    for ability in (Erases, Closes, Searches, Plants):
        assert isinstance(store, ability)


@pytest.mark.parametrize("batch_keys", [7, 5000])
def test_everything_goes_and_neighbours_stay_byte_for_byte(database: Database, batch_keys: int) -> None:
    others = rows_of_others(database, A)
    manifest = erase_all(database, batch_keys=batch_keys)
    assert rows_of_others(database, A) == others
    with psycopg.connect(database.dsn) as conn:
        assert conn.execute("SELECT id FROM tenants").fetchall() == [(B,)]
        assert conn.execute("SELECT id FROM users ORDER BY 1").fetchall() == [(1,), (101,)]  # one is shared
        assert conn.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (2,)
        assert conn.execute("SELECT count(*) FROM history").fetchone() == (
            0,
        )  # the audit trigger was not fed
    sets = {batch.set: batch.method for batch in manifest}
    assert sets["large objects"] is Method.DELETE and sets["public.docs"] is Method.DELETE
    assert sets["public.events partition public.events_0"] is Method.DROP
    assert sum(len(b.keys) for b in manifest if b.set == "public.notes") == 80
    settle(database, erasing(), list(sets), nothing)
    assert hits(database) == {}
    assert hits(database, B)


def test_children_go_before_parents_and_the_root_goes_last(database: Database) -> None:
    order = list(dict.fromkeys(batch.set for batch in doomed(database, A, nothing)))
    assert order[0] == "large objects" and order[-1] == "public.tenants"
    assert order.index("public.messages") < order.index("public.chats") < order.index("public.docs")
    assert order.index("public.users") < order.index("public.members")


def test_the_manifest_is_one_snapshot_and_changes_nothing(database: Database) -> None:
    reading = doomed(database, A, nothing, batch_keys=5)
    first = next(reading)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO notes VALUES (%s, 'late')", (A,))
    rest = list(reading)
    keys = [key for batch in [first, *rest] for key in batch.keys]
    assert len(keys) == len({(b.set, k) for b in [first, *rest] for k in b.keys})
    assert sum(len(b.keys) for b in rest if b.set == "public.notes") == 80


def test_a_batch_can_be_repeated_and_tells_what_was_gone(database: Database) -> None:
    for batch in list(doomed(database, A, nothing)):
        first = erase(database, erasing(), batch, nothing)
        again = erase(database, erasing(), batch, nothing)
        assert (first.deleted, first.gone) == (len(batch.keys), 0), batch.set
        assert (again.deleted, again.gone) == (0, len(batch.keys)), batch.set
        assert remaining(database, batch, nothing) == frozenset()


def test_what_remains_is_told_key_by_key(database: Database) -> None:
    for batch in doomed(database, A, nothing):
        assert remaining(database, batch, nothing) == frozenset(batch.keys), batch.set
        at = 0 if batch.set == "public.notes" else -1
        spoiled = bytearray(batch.keys[0])
        spoiled[at] ^= 0x55
        if batch.set in ("public.docs", "public.notes", "large objects"):
            assert (
                remaining(database, Batch(batch.set, batch.method, (bytes(spoiled),)), nothing) == frozenset()
            )


def test_a_row_that_became_somebody_elses_is_not_deleted(database: Database) -> None:
    manifest = list(doomed(database, A, nothing))
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("UPDATE docs SET tenant_id = %s WHERE id = (SELECT min(id) FROM docs)", (B,))
        (count,) = conn.execute("SELECT count(*) FROM docs WHERE tenant_id = %s", (B,)).fetchone()
        docs = next(batch for batch in manifest if batch.set == "public.docs")
        erased = erase(database, erasing(), docs, nothing)
        assert [refused.code for refused in erased.refused] == [OWNER_CHANGED]
        assert erased.deleted == len(docs.keys) - 1 and erased.gone == 0
        assert conn.execute("SELECT count(*) FROM docs").fetchone() == (count,)


def test_a_large_object_that_a_neighbour_names_too_stays(database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO files (tenant_id, object) SELECT %s, object FROM files WHERE tenant_id = %s LIMIT 1",
            (B, A),
        )
    erase_all(database)
    with psycopg.connect(database.dsn) as conn:
        assert conn.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (3,)


def test_the_check_is_called_before_anything_is_destroyed(database: Database) -> None:
    class Held(Exception):
        pass

    def check() -> None:
        raise Held

    batch = next(doomed(database, A, nothing))
    with pytest.raises(Held):
        erase(database, erasing(), batch, check)
    assert remaining(database, batch, nothing) == frozenset(batch.keys)


def test_an_old_driver_erases_nothing(database: Database) -> None:
    manifest = list(doomed(database, A, nothing))
    close.close_writes(database, erasing(token=9))
    for batch in manifest:
        with pytest.raises(Fenced):
            erase(database, erasing(token=8), batch, nothing)
        assert remaining(database, batch, nothing) == frozenset(batch.keys)


@pytest.mark.parametrize(
    "tenant", ["x'; DROP TABLE docs; --", "*", "%", "a/b\n{c}", "租户 🙂", "acme", "NULL", "'a', 'b'"]
)
def test_any_string_may_be_a_tenant(new_database: Callable[..., str], tenant: str) -> None:
    database = sample(new_database(18), (tenant, f"{tenant}2"), docs=3)
    others = rows_of_others(database, tenant)
    close.close_writes(database, erasing(tenant))
    erase_all(database, tenant)
    assert rows_of_others(database, tenant) == others
    assert list(doomed(database, TenantId(tenant), nothing)) == []
    database.close()


def test_closing_refuses_latecomers_and_says_why(database: Database) -> None:
    close.close_writes(database, erasing())
    assert close.closed(database, A) and not close.closed(database, B)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        with pytest.raises(psycopg.Error) as refused:
            conn.execute("INSERT INTO notes VALUES (%s, 'late')", (A,))
        assert refused.value.sqlstate == "TL001"
        assert "is closed" in str(refused.value.diag.message_primary)
        assert json.loads(refused.value.diag.message_detail)["target"] is None
        conn.execute("INSERT INTO notes VALUES (%s, 'neighbours write on')", (B,))
        close.close_writes(database, erasing())  # again
        close.reopen(database, erasing())
        conn.execute("INSERT INTO notes VALUES (%s, 'as before')", (A,))
        assert not close.closed(database, A)


def test_a_writer_in_flight_is_waited_for(database: Database) -> None:
    with psycopg.connect(database.dsn) as writer:
        fence.arm(database, A, FenceState.ACTIVE, 1, None)
        writer.execute("INSERT INTO notes VALUES (%s, 'in flight')", (A,))
        with pytest.raises(StoreBusy):
            close.close_writes(database, erasing())
        assert not close.closed(database, A)
        writer.commit()
    close.close_writes(database, erasing())
    assert close.closed(database, A)


def test_a_tenant_that_moved_away_goes_on_being_sent_there(database: Database) -> None:
    fence.arm(database, A, FenceState.STANDBY, 3, "green")
    close.close_writes(database, erasing())
    assert close.closed(database, A)
    close.reopen(database, erasing())
    close.forget(database, erasing())
    row = fence.fence_row(database, A)
    assert row is not None and row.target == "green" and row.state is FenceState.STANDBY


def test_forgetting_leaves_nothing_that_names_the_tenant(database: Database) -> None:
    close.close_writes(database, erasing())
    erase_all(database)
    settle(database, erasing(), [str(name) for name in MAP.tables], nothing)
    close.forget(database, erasing())
    eyes = Eyes(database)
    ours = [p for p in eyes.places() if ".tenant_lifecycle." in p.name]
    assert ours and not [p.name for p in ours if eyes.search(p, found(A + "\0", f"{A}"), nothing).hit_count]


def test_an_erasure_leaves_no_row_of_ours_that_names_the_tenant_but_the_tombstone(database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        close.close_writes(database, erasing())
        conn.execute(
            "INSERT INTO tenant_lifecycle.applied (feed, lane, tenant, token) VALUES ('tl_old', 's', %s, 1)",
            (A,),
        )
        conn.execute("INSERT INTO tenant_lifecycle.pending_key VALUES ('tl_old', 'public', 'docs', 'k')")
        conn.execute("INSERT INTO tenant_lifecycle.pending_key VALUES ('tl_other', 'public', 'docs', 'k')")
        conn.execute("SELECT pg_create_logical_replication_slot('tl_old', 'pgoutput')")
        settle(database, erasing(), [], nothing)
        assert conn.execute("SELECT feed FROM tenant_lifecycle.applied").fetchall() == [("erase_test",)]
        assert conn.execute("SELECT feed FROM tenant_lifecycle.pending_key").fetchall() == [("tl_other",)]
        assert conn.execute(
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'tl_old'"
        ).fetchone() == (0,)


# -- findings


def refusals(database: Database, tenant: str = A) -> dict[str, str]:
    findings = erasure_findings(database, TenantId(tenant), Physical.VACUUM, None)
    return {f.code: f.message for f in findings if f.severity is Severity.REFUSAL}


def test_a_tenant_in_order_is_not_refused(database: Database) -> None:
    assert refusals(database) == {}
    codes = {f.code for f in erasure_findings(database, A, Physical.VACUUM, None)}
    assert {"pg.trigger-quiet", "pg.physical", "pg.server-log", "pg.large-object"} <= codes


def test_an_undeclared_table_is_refused(database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE copies_of_docs AS SELECT * FROM docs")
    assert "copies_of_docs" in refusals(database)["pg.unmapped"]


def test_a_trigger_that_would_copy_deleted_rows_elsewhere_is_refused(database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE docs ENABLE ALWAYS TRIGGER remember")
    assert "remember" in refusals(database)["pg.trigger-always"]


def test_a_neighbours_row_that_refers_to_the_tenants_is_refused(database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(
            "UPDATE folders SET parent = (SELECT min(id) FROM folders WHERE tenant_id = %s) WHERE tenant_id = %s AND "
            "name = 'child'", (A, B),
        )  # fmt: skip
    assert "1 rows of public.folders" in refusals(database)["pg.erase-referenced"]


def test_hidden_rows_are_refused_before_anything(
    database: Database, pg_servers: Callable[[int], object]
) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS tl_blind")
        conn.execute("CREATE ROLE tl_blind LOGIN")
        conn.execute("GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO tl_blind")
        conn.execute("GRANT SET ON PARAMETER session_replication_role TO tl_blind")
        conn.execute("ALTER TABLE docs ENABLE ROW LEVEL SECURITY; ALTER TABLE docs FORCE ROW LEVEL SECURITY")
    blind = Database(
        "blue/postgres", "blue", psycopg.conninfo.make_conninfo(database.dsn, user="tl_blind"), MAP
    )
    try:
        assert "docs" in refusals(blind)["pg.row-security"]
        with pytest.raises(Exception, match="row-level security"):
            list(doomed(blind, A, nothing))
    finally:
        blind.close()
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            conn.execute("DROP OWNED BY tl_blind")
            conn.execute("DROP ROLE tl_blind")


def test_a_server_that_is_down_is_a_refusal() -> None:
    gone = Database("blue/postgres", "blue", "host=127.0.0.1 port=1 user=x dbname=x connect_timeout=1", MAP)
    assert set(refusals(gone)) == {"pg.reachable"}


# -- a schema for each tenant


@pytest.fixture
def schemas(new_database: Callable[..., str]) -> Iterator[Database]:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for tenant in (A, B):
            name = sql.Identifier(f"t_{tenant}")
            conn.execute(sql.SQL("CREATE SCHEMA {}").format(name))
            conn.execute(
                sql.SQL(
                    "CREATE TABLE {s}.docs (id int PRIMARY KEY, body text, other int); "
                    "CREATE TABLE {s}.chats (id int PRIMARY KEY, doc int REFERENCES {s}.docs, body text); "
                    "ALTER TABLE {s}.docs ADD FOREIGN KEY (other) REFERENCES {s}.chats; CREATE TABLE {s}.empty (x int); "
                    "CREATE TABLE {s}.log (line text); CREATE VIEW {s}.v AS SELECT * FROM {s}.docs"
                ).format(s=name)
            )
            conn.execute(
                sql.SQL("INSERT INTO {}.docs SELECT i, {} FROM generate_series(1, 12) i").format(
                    name, marker(tenant)
                )
            )
            conn.execute(sql.SQL("INSERT INTO {}.log VALUES ('x'), ('x')").format(name))
    database = Database("blue/postgres", "blue", dsn, OwnershipMap(schema_template="t_{tenant}"))
    yield database
    database.close()


def test_a_tenants_schema_is_dropped_and_the_neighbours_stays(schemas: Database) -> None:
    manifest = list(doomed(schemas, A, nothing, batch_keys=5))
    assert {b.method for b in manifest} == {Method.DROP} and manifest[-1].set == "schema t_acme"
    assert sum(len(b.keys) for b in manifest if b.set == "t_acme.docs") == 12
    for batch in manifest:
        erased = erase(schemas, erasing(), batch, nothing)
        assert erased.deleted + erased.gone == len(batch.keys)
        assert remaining(schemas, batch, nothing) == frozenset()
    settle(schemas, erasing(), [b.set for b in manifest], nothing, Physical.REWRITE)
    with psycopg.connect(schemas.dsn) as conn:
        assert conn.execute("SELECT count(*) FROM t_acme2.docs").fetchone() == (12,)
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 't_acme'").fetchone() == (0,)


def test_a_schema_that_others_depend_on_is_refused_and_not_dropped(schemas: Database) -> None:
    with psycopg.connect(schemas.dsn, autocommit=True) as conn:
        conn.execute("CREATE VIEW public.report AS SELECT count(*) FROM t_acme.docs")
    map_ = OwnershipMap(
        {TableName("public", "x"): MAP.tables[TableName("public", "plans")]}, schema_template="t_{tenant}"
    )
    named = Database("blue/postgres", "blue", schemas.dsn, map_)
    assert "public.report" in refusals(named)["pg.erase-dependents"]
    docs = next(b for b in doomed(named, A, nothing) if b.set == "t_acme.docs")
    with pytest.raises(Exception, match=r"public\.report"):
        erase(named, erasing(), docs, nothing)
    named.close()
