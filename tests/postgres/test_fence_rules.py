"""The fence stops every way to write a tenant's rows, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from fence_sample import HOSTILE, MAP, SCHEMA, T, move, sample
from psycopg.conninfo import conninfo_to_dict

from tenant_lifecycle.errors import StoreRejected, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import Direct, Global, OwnershipMap, Root
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.database import Database

A, B = TenantId("a"), TenantId("b")
#: Statements of tenant a; each must be refused when a has moved. docs 1-30 are a's, 31-60 b's.
WRITES = {
    "insert": "INSERT INTO docs (tenant_id, title) VALUES ('a', 'x')",
    "update": "UPDATE docs SET title = 'x' WHERE id = 1",
    "update moves a row out": "UPDATE docs SET tenant_id = 'b' WHERE id = 1",
    "update moves a row in": "UPDATE docs SET tenant_id = 'a' WHERE id = 31",
    "delete": "DELETE FROM docs WHERE id = 1",
    "root": "UPDATE tenants SET id = id WHERE id = 'a'",
    "on conflict": "INSERT INTO docs (id, tenant_id) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET title = 'x'",
    "merge": "MERGE INTO docs USING (VALUES (1)) v(id) ON docs.id = v.id WHEN MATCHED THEN UPDATE SET title = 'x'",
    "merge delete": "MERGE INTO docs USING (VALUES (1)) v(id) ON docs.id = v.id WHEN MATCHED THEN DELETE",
    "with": "WITH d AS (DELETE FROM docs WHERE id = 1 RETURNING id) SELECT id FROM d",
    "cascade": "DELETE FROM tenants WHERE id = 'a'",
    "two hops away": "INSERT INTO messages VALUES (1, 99, 'x')",
    "over the fall-back": "INSERT INTO messages VALUES (10, 99, 'x')",
    "moved between parents": 'UPDATE messages SET chat_id = 1001, "no" = 77 WHERE chat_id = 1 AND "no" = 10',
    "person of one tenant": "UPDATE users SET name = 'x' WHERE id = 1",
    "membership": "INSERT INTO members VALUES ('a', 999)",
    "partitioned root": "INSERT INTO events VALUES ('a', 99, 1)",
    "leaf": "INSERT INTO events_1 VALUES ('a', 99, 1)",
    "row from leaf to leaf": "UPDATE events SET day = 3 - day WHERE tenant_id = 'a'",
    "without a key": "DELETE FROM notes WHERE tenant_id = 'a'",
    "truncate": "TRUNCATE notes",
    "truncate of a leaf": "TRUNCATE events_2",
    "many tenants": "UPDATE docs SET title = 'x'",
}
OTHERS = {
    "insert": "INSERT INTO docs (tenant_id, title) VALUES ('b', 'x')",
    "update": "UPDATE docs SET title = 'x' WHERE id = 31",
    "no row": "UPDATE docs SET title = 'x' WHERE id < 0",
    "nobody's": "INSERT INTO messages VALUES (987654, 1, 'x')",
    "person of two tenants": "UPDATE users SET name = 'x' WHERE id = 100",
    "global": "INSERT INTO plans VALUES (1)",
    "leaf": "INSERT INTO events_2 VALUES ('b', 99, 2)",
    "delete": "DELETE FROM tenants WHERE id = 'b'",
}


@pytest.fixture(scope="module")
def moved(pg_servers) -> Database:
    """Tenant a has moved from here to green."""
    server = pg_servers(18)
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE fence_rules TEMPLATE template0")
    database = sample(server.dsn("fence_rules"))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    move(database, A, 1, "green")
    yield database
    database.close()


@pytest.mark.parametrize("name", WRITES)
def test_a_write_of_a_moved_tenant_is_refused(moved: Database, name: str) -> None:
    with psycopg.connect(moved.dsn) as conn:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(WRITES[name])
    assert caught.value.sqlstate == ("TL002" if "truncate" in name else "TL001"), caught.value
    if "truncate" not in name:
        assert "moved to green" in str(caught.value)
        assert json.loads(caught.value.diag.message_detail or "") == {"epoch": 2, "target": "green"}


@pytest.mark.parametrize("isolation", list(psycopg.IsolationLevel))
def test_a_write_is_refused_at_every_isolation_level(moved: Database, isolation) -> None:
    with psycopg.connect(moved.dsn) as conn:
        conn.isolation_level = isolation
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(WRITES["insert"])
    assert caught.value.sqlstate == "TL001"


def test_copy_into_a_table_is_a_write(moved: Database) -> None:
    with psycopg.connect(moved.dsn) as conn, pytest.raises(psycopg.Error) as caught:
        with conn.cursor().copy("COPY docs (tenant_id, title) FROM STDIN") as copy:
            copy.write("b\tx\na\tx\n")
    assert caught.value.sqlstate == "TL001"


@pytest.mark.parametrize("name", OTHERS)
def test_other_tenants_write_as_before(moved: Database, name: str) -> None:
    with psycopg.connect(moved.dsn) as conn:
        conn.execute(OTHERS[name])
        conn.rollback()


def test_a_truncate_that_takes_no_row_of_a_moved_tenant_goes_on(moved: Database) -> None:
    with psycopg.connect(moved.dsn) as conn:
        conn.execute("SET LOCAL session_replication_role = replica; DELETE FROM notes WHERE tenant_id = 'a'")
        conn.execute("SET LOCAL session_replication_role = origin; TRUNCATE notes")
        conn.rollback()


def test_standby_refuses_and_names_the_writer(new_database: Callable[..., str]) -> None:
    database = sample(new_database(18))
    row = fence.arm(database, A, FenceState.STANDBY, 0, "blue")
    assert (row.state, row.epoch, row.target, row.environment) == (FenceState.STANDBY, 0, "blue", "blue")
    with (
        psycopg.connect(database.dsn) as conn,
        pytest.raises(psycopg.Error, match="writer is blue") as caught,
    ):
        conn.execute(WRITES["insert"])
    assert caught.value.sqlstate == "TL001"
    database.close()


@pytest.mark.parametrize("major", [15, 16, 18])
def test_the_fence_works_on_every_version(new_database: Callable[..., str], major: int) -> None:
    database = sample(new_database(major))
    assert fence.fence_row(database, A) is None
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        for statement in WRITES.values():
            with conn.transaction(force_rollback=True):
                conn.execute(statement)
        move(database, A, 1, "green")
        refused = 0
        for name, statement in WRITES.items():
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(statement)
            assert caught.value.sqlstate in ("TL001", "TL002"), name
            refused += 1
        assert refused == len(WRITES)
    database.close()


@pytest.mark.parametrize("tenant", HOSTILE, ids=range(len(HOSTILE)))
def test_any_string_may_be_a_tenant(new_database: Callable[..., str], tenant: str) -> None:
    database = sample(new_database(18), (tenant, "b"))
    known = TenantId(tenant)
    fence.arm(database, known, FenceState.ACTIVE, 1, None)
    move(database, known, 1, "green")
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO docs (tenant_id) VALUES ('b')")
        conn.execute("UPDATE docs SET title = 'x' WHERE tenant_id = 'b'")
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("UPDATE docs SET title = 'x' WHERE tenant_id = %s", (tenant,))
        assert caught.value.sqlstate == "TL001"
    row = fence.fence_row(database, known)
    assert row is not None and row.state is FenceState.MOVED
    fence.disarm(database, known, keep_moved=False)
    assert fence.fence_row(database, known) is None
    database.close()


def test_hostile_names_of_tables_and_columns(new_database: Callable[..., str]) -> None:
    dsn = new_database(18)
    table = T('public."; DROP TABLE x; -- $tl$ %s {table} ' + "y" * 20)
    name = psycopg.sql.Identifier(table.schema, table.name)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE tenants (id text PRIMARY KEY)")
        conn.execute(psycopg.sql.SQL('CREATE TABLE {} ("te""nant %s" text)').format(name))
        database = Database(
            "blue", "blue", dsn, OwnershipMap({T("tenants"): Root("id"), table: Direct('te"nant %s')})
        )
        fence.arm(database, A, FenceState.STANDBY, 1, "green")
        conn.execute(psycopg.sql.SQL("INSERT INTO {} VALUES ('b')").format(name))
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(psycopg.sql.SQL("INSERT INTO {} VALUES ('a')").format(name))
        assert caught.value.sqlstate == "TL001"
    database.close()


@pytest.mark.parametrize(
    ("type_name", "tenant", "written"),
    [
        ("uuid", "0192AB34-0000-0000-0000-000000000000", "0192ab34-0000-0000-0000-000000000000"),
        ("bigint", "007", "7"),
        ("varchar(2)", "abc", "ab"),
    ],
)
def test_an_id_in_another_spelling_is_refused(
    new_database, type_name: str, tenant: str, written: str
) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE TABLE tenants (id {type_name} PRIMARY KEY)")
    database = Database("blue", "blue", dsn, OwnershipMap({T("tenants"): Root("id")}))
    with pytest.raises(StoreRejected, match="spell"):
        fence.arm(database, TenantId(tenant), FenceState.ACTIVE, 1, None)
    fence.arm(database, TenantId(written), FenceState.ACTIVE, 1, None)
    database.close()


def test_a_case_blind_tenant_column_is_refused(new_database) -> None:
    dsn = new_database(15)  # the servers of the wheel are built without ICU
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
        conn.execute("CREATE TABLE tenants (id text COLLATE blind PRIMARY KEY)")
    database = Database("blue", "blue", dsn, OwnershipMap({T("tenants"): Root("id")}))
    with pytest.raises(StoreRejected, match="several spellings"):
        fence.arm(database, A, FenceState.ACTIVE, 1, None)
    database.close()


def test_a_role_without_any_right_on_us_writes_and_is_refused_in_time(new_database) -> None:
    database = sample(new_database(18))
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS few_rights")
        conn.execute("CREATE ROLE few_rights LOGIN; GRANT INSERT, SELECT ON docs, messages TO few_rights")
        conn.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO few_rights")
        # Its rows are hidden from it, and so are the parents that say whose a message is.
        conn.execute(
            "ALTER TABLE chats ENABLE ROW LEVEL SECURITY; ALTER TABLE docs ENABLE ROW LEVEL SECURITY"
        )
        conn.execute("CREATE POLICY own ON docs USING (tenant_id = current_setting('app.tenant', true))")
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    with psycopg.connect(
        psycopg.conninfo.make_conninfo(database.dsn, user="few_rights"), autocommit=True
    ) as app:
        app.execute("SET app.tenant = 'a'")
        app.execute(WRITES["insert"])
        app.execute(WRITES["two hops away"])
        move(database, A, 1, "green")
        for statement in (
            "INSERT INTO docs (tenant_id) VALUES ('a')",
            "INSERT INTO messages VALUES (1, 98, 'x')",
        ):
            with pytest.raises(psycopg.Error) as caught:
                app.execute(statement)
            assert caught.value.sqlstate == "TL001"
        for forbidden in (
            "SELECT * FROM tenant_lifecycle.fence",
            "SELECT tenant_lifecycle.activate('a', 9)",
            "SELECT tenant_lifecycle.guard('a', true)",
            "SELECT tenant_lifecycle.fence_tenant('a', 1, 1, 1)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(forbidden)
        assert app.execute("SELECT * FROM tenant_lifecycle.whereabouts('a')").fetchall() == [
            ("MOVED", 2, "green")
        ]
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("DROP OWNED BY few_rights; DROP ROLE few_rights")
    database.close()


def test_an_application_cannot_borrow_the_fences_rights_through_its_search_path(new_database) -> None:
    database = sample(new_database(18))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE SCHEMA evil; CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'evil ran as %', current_user; END$$; "
            "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq); "
            "CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'evil ran as %', current_user; END$$"
        )
        conn.execute("SET search_path = evil, pg_catalog, public")
        conn.execute("CREATE TEMPORARY TABLE text (x int); CREATE TEMPORARY TABLE fence (tenant int)")
        conn.execute("INSERT INTO docs (tenant_id) VALUES ('a')")
        conn.execute("UPDATE docs SET title = 'y'")
        conn.execute("SELECT tenant_lifecycle.check_writer('a')")
    database.close()


def test_a_row_that_changes_its_tenant_leaves_a_message_in_the_stream(new_database) -> None:
    database = sample(new_database(18))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        slot = "rehome_" + conninfo_to_dict(database.dsn)["dbname"]
        conn.execute("CREATE PUBLICATION p FOR TABLE plans")
        conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", (slot,))
        conn.execute("UPDATE docs SET tenant_id = 'b' WHERE id = 1")
        conn.execute("UPDATE chats SET org = 'a', user_id = 1 WHERE id = 1001")
        conn.execute("UPDATE docs SET title = 'same owner'")
        conn.execute("UPDATE docs SET tenant_id = 'b' WHERE id = 35")
        changes = conn.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, "
            "'proto_version', '1', 'publication_names', 'p', 'messages', 'true')",
            (slot,),
        ).fetchall()
    messages = [data.partition(b"tenant_lifecycle.rehome\0")[2] for (data,) in changes if data[:1] == b"M"]
    found = [json.loads(message[4:]) for message in messages]
    assert found == [{"tenants": ["a"], "table": "public.docs"}, {"tenants": ["a"], "table": "public.chats"}]
    database.close()


def test_states_follow_the_protocol_and_nothing_else(new_database) -> None:
    blue, green = sample(new_database(18)), sample(new_database(18), name="green")
    fence.arm(blue, A, FenceState.ACTIVE, 1, None)
    fence.arm(green, A, FenceState.STANDBY, 0, "blue")
    assert fence.arm(blue, A, FenceState.STANDBY, 7, "x").state is FenceState.ACTIVE  # left as it is
    with pytest.raises(WrongState, match="ACTIVE at epoch 1"):
        fence.fence(blue, A, 2, 2.0, 0.1)
    with pytest.raises(WrongState, match="not managed"):
        fence.fence(blue, B, 1, 2.0, 0.1)
    with pytest.raises(WrongState, match="STANDBY"):
        fence.fence(green, A, 0, 2.0, 0.1)
    stale = "2020-01-01 00:00:00+00"
    assert not fence.commit_move(blue, A, stale, "green")
    assert not fence.commit_move(blue, B, stale, "green")
    ticket = fence.fence(blue, A, 1, 2.0, 0.1)
    row = fence.fence_row(blue, A)
    assert row is not None and row.state is FenceState.FENCED and 1.0 < (row.remaining_s or 0) <= 2.0
    with pytest.raises(WrongState, match="FENCED"):
        fence.fence(blue, A, 1, 2.0, 0.1)
    with pytest.raises(WrongState, match="FENCED"):
        fence.activate(blue, A, 2)
    fence.release(blue, A, stale)  # another fencing's: nothing
    assert not fence.commit_move(blue, A, stale, "green")
    assert fence.commit_move(blue, A, ticket, "green")
    assert not fence.commit_move(blue, A, ticket, "green")  # a ticket is good for one move
    fence.release(blue, A, ticket)
    fence.release(blue, A, None)
    assert fence.fence_row(blue, A).state is FenceState.MOVED
    fence.activate(green, A, 2)
    fence.activate(green, A, 2)
    with pytest.raises(WrongState, match="ACTIVE at epoch 2"):
        fence.activate(green, A, 1)
    with pytest.raises(WrongState, match="ACTIVE at epoch 2"):
        fence.activate(green, A, 3)
    with pytest.raises(WrongState, match="not managed"):
        fence.activate(green, B, 3)
    # And back.
    move(green, A, 2, "blue")
    fence.activate(blue, A, 3)
    assert fence.fence_row(blue, A).epoch == 3 and fence.fence_row(green, A).epoch == 3
    for one in (blue, green):
        one.close()


def test_disarming_the_last_tenant_leaves_nothing_behind(new_database) -> None:
    database = sample(new_database(18))
    fence.disarm(database, A, keep_moved=False)  # never armed
    for tenant in (A, B):
        fence.arm(database, tenant, FenceState.ACTIVE, 1, None)
    move(database, A, 1, "green")
    fence.disarm(database, A, keep_moved=True)
    assert fence.fence_row(database, A).state is FenceState.MOVED
    fence.disarm(database, B, keep_moved=True)
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        count = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tenant_lifecycle%'"
        assert conn.execute(count).fetchone() == (4 * 10,)
        fence.disarm(database, A, keep_moved=False)
        assert conn.execute(count).fetchone() == (0,)
        left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'guard\\_%'"
        assert conn.execute(left).fetchone() == (0,)
        conn.execute(WRITES["insert"])
    database.close()


def test_a_schema_of_its_own_is_fenced_as_a_whole(new_database) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE SCHEMA t_a; CREATE SCHEMA t_b; CREATE TABLE t_a.x (i int); CREATE TABLE t_b.x (i int)"
        )
        conn.execute("CREATE TABLE plans (i int)")
        database = Database(
            "blue", "blue", dsn, OwnershipMap({T("plans"): Global()}, schema_template="t_{tenant}")
        )
        fence.arm(database, A, FenceState.STANDBY, 1, "green")
        fence.arm(database, B, FenceState.ACTIVE, 1, None)
        conn.execute(
            "INSERT INTO t_b.x VALUES (1); INSERT INTO plans VALUES (1); UPDATE t_a.x SET i = 1; TRUNCATE t_b.x"
        )
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("INSERT INTO t_a.x VALUES (1)")
        assert caught.value.sqlstate == "TL001"
        fence.disarm(database, A, keep_moved=False)
        conn.execute("INSERT INTO t_a.x VALUES (1)")
        triggers = conn.execute("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger").fetchall()
        assert triggers == [("t_b.x",)]
    database.close()


def test_a_partition_made_later_blocks_a_flip_until_it_is_armed(new_database) -> None:
    database = sample(new_database(18))
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    assert fence.blockers(database, A, 1.0) == []
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE events_3 PARTITION OF events FOR VALUES IN (3)")
        conn.execute("ALTER TABLE docs DISABLE TRIGGER tenant_lifecycle_update")
    found = fence.blockers(database, A, 1.0)
    assert len(found) == 2 and "public.docs lacks the trigger tenant_lifecycle_update" in found[0], found
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    assert fence.blockers(database, A, 1.0) == []
    database.close()


def test_the_map_and_the_schema_of_the_sample_agree() -> None:
    assert all(f"TABLE {name.name} " in SCHEMA for name in MAP.tables)
