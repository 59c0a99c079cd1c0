"""What a DELETE leaves behind, trap by trap: seen there after a naive one, gone or named after ours."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from erasure_sample import MAP, A, B, erase_all, erasing, found, marker, nothing, sample
from psycopg import conninfo

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.erasing import Horizon, Level
from tenant_lifecycle.stores.postgres import fence
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.options import read_options
from tenant_lifecycle.stores.postgres.plant import plant
from tenant_lifecycle.stores.postgres.search import Eyes
from tenant_lifecycle.stores.postgres.settle import Physical, settle
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.stores.postgres.verifiercheck import verifier_findings

SETS = [str(name) for name in MAP.tables]


@pytest.fixture
def server(pg_servers: Callable[[int], PostgresServer]) -> PostgresServer:
    return pg_servers(18)


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18))
    yield database
    database.close()


@pytest.fixture
def admin(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        yield conn


def bytes_left(server: PostgresServer, conn: psycopg.Connection, relation: str, text: str) -> dict[str, int]:
    """How often the text is in the files of a table, of its TOAST table, and of its indexes."""
    conn.execute("CHECKPOINT")
    paths = conn.execute(
        "SELECT CASE WHEN c.relkind = 'i' THEN 'index' WHEN c.relkind = 't' THEN 'toast' ELSE 'heap' END, "
        "pg_relation_filepath(c.oid) FROM pg_class c WHERE c.oid = %(r)s::regclass "
        "OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = %(r)s::regclass) "
        "OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(r)s::regclass)",
        {"r": relation},
    ).fetchall()
    left = dict.fromkeys(("heap", "toast", "index"), 0)
    for kind, path in paths:
        left[str(kind)] += Path(server.data, str(path)).read_bytes().count(text.encode())
    return left


def naive(conn: psycopg.Connection, tenant: str = A) -> None:
    """What people write: children by cascade, whatever it leaves."""
    conn.execute("SET session_replication_role = replica")
    conn.execute("DELETE FROM docs WHERE tenant_id = %s", (tenant,))
    conn.execute("RESET session_replication_role")


def test_m1_m2_m3_pages_toast_and_indexes(
    server: PostgresServer, database: Database, admin: psycopg.Connection
) -> None:
    naive(admin)
    left = bytes_left(server, admin, "docs", marker(A))
    assert left["heap"] and left["toast"] and left["index"]  # M1: dead tuples
    admin.execute("VACUUM docs")
    left = bytes_left(server, admin, "docs", marker(A))
    assert left["heap"] and left["toast"]  # M2: holes in pages
    assert (
        settle(database, erasing(), ["public.docs"], nothing)
        .traces[-1]
        .startswith("bytes of deleted rows stay")
    )
    settled = settle(database, erasing(), ["public.docs"], nothing, Physical.REWRITE)
    assert bytes_left(server, admin, "docs", marker(A)) == {"heap": 0, "toast": 0, "index": 0}  # M3
    assert bytes_left(server, admin, "docs", marker(B))["toast"]
    assert not [one for one in settled.left if "docs" in one]


def test_m3_views_that_were_filled_before(
    server: PostgresServer, database: Database, admin: psycopg.Connection
) -> None:
    erase_all(database)
    assert marker(A) in str(admin.execute("SELECT * FROM titles_of_all").fetchone())
    settled = settle(database, erasing(), SETS, nothing, Physical.REWRITE)
    assert marker(A) not in str(admin.execute("SELECT * FROM titles_of_all").fetchone())
    assert "public.titles_of_all refreshed" in settled.done
    for view in ("titles", "titles_of_all"):
        assert bytes_left(server, admin, view, marker(A))["heap"] == 0


@pytest.mark.parametrize("major", [16, 18])
def test_m5_statistics_of_a_table_that_became_empty(new_database: Callable[..., str], major: int) -> None:
    database = sample(new_database(major), (A,))
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        manifest = erase_all(database)
        conn.execute("ANALYZE")
        known = "SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND most_common_vals::text LIKE %s"
        extended = "SELECT count(*) FROM pg_stats_ext WHERE most_common_vals::text LIKE %s"
        assert conn.execute(known, (f"%{marker(A)}%",)).fetchone() != (0,)
        assert conn.execute(extended, (f"%{marker(A)}%",)).fetchone() != (0,)
        settle(database, erasing(), [batch.set for batch in manifest], nothing)
        assert conn.execute(known, (f"%{marker(A)}%",)).fetchone() == (0,)
        assert conn.execute(extended, (f"%{marker(A)}%",)).fetchone() == (0,)
    database.close()


def test_m5_bytes_of_statistics_go_with_a_rewrite(
    server: PostgresServer, database: Database, admin: psycopg.Connection
) -> None:
    statistics = ("pg_statistic", "pg_statistic_ext_data")
    assert all(sum(bytes_left(server, admin, one, marker(A)).values()) for one in statistics)
    manifest = erase_all(database)
    settle(database, erasing(), [batch.set for batch in manifest], nothing, Physical.REWRITE)
    assert bytes_left(server, admin, "pg_largeobject", marker(A))["heap"] == 0
    for one in statistics:
        assert bytes_left(server, admin, one, marker(A)) == {"heap": 0, "toast": 0, "index": 0}


def test_m4_m7_a_slot_is_named(database: Database, admin: psycopg.Connection) -> None:
    admin.execute("ALTER TABLE docs REPLICA IDENTITY FULL; CREATE PUBLICATION somebodys FOR TABLE docs")
    admin.execute("SELECT pg_create_logical_replication_slot('somebodys', 'pgoutput')")
    erase_all(database)
    changes = admin.execute(
        "SELECT data FROM pg_logical_slot_peek_binary_changes('somebodys', NULL, NULL, 'proto_version', '1', "
        "'publication_names', 'somebodys')"
    ).fetchall()
    assert [
        data for (data,) in changes if marker(A).encode() in data
    ]  # the slot still tells what was deleted
    settled = settle(database, erasing(), SETS, nothing)
    assert [one for one in settled.left if "somebodys" in one]
    admin.execute("SELECT pg_drop_replication_slot('somebodys')")
    assert not [one for one in settle(database, erasing(), SETS, nothing).left if "somebodys" in one]


def test_m8_an_older_snapshot_keeps_rows_and_is_named(
    server: PostgresServer, database: Database, admin: psycopg.Connection
) -> None:
    with psycopg.connect(database.dsn) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        erase_all(database)
        settled = settle(database, erasing(), ["public.docs"], nothing, Physical.REWRITE, patience_s=0.2)
        assert [one for one in settled.left if f"pid {old.info.backend_pid}" in one]
        assert bytes_left(server, admin, "docs", marker(A))["toast"]
    settled = settle(database, erasing(), ["public.docs"], nothing, Physical.REWRITE)
    assert not [one for one in settled.left if "transaction of pid" in one]
    assert bytes_left(server, admin, "docs", marker(A)) == {"heap": 0, "toast": 0, "index": 0}


def test_m6_archived_log_is_a_horizon(database: Database) -> None:
    store = PostgresStore(database, read_options("blue/postgres", {"wal_archive_days": "14"}))
    assert store.horizon() == Horizon(Level.EXPIRY_BOUND, 14, "setting wal_archive_days")
    assert PostgresStore(database).horizon() is None


@pytest.mark.parametrize(
    "settings", [{"physical": "maybe"}, {"wal_archive_days": "soon"}, {"wal_archive_days": "0"}]
)
def test_options_that_mean_nothing_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        read_options("blue/postgres", settings)


def test_a_table_that_is_locked_is_named_and_nobody_waits_for_us(database: Database) -> None:
    erase_all(database)
    with psycopg.connect(database.dsn) as busy:
        busy.execute("INSERT INTO notes VALUES ('acme2', 'open')")
        settled = settle(database, erasing(), ["public.notes"], nothing, Physical.REWRITE, patience_s=0.2)
        assert [one for one in settled.left if one.startswith("public.notes written anew")]


def test_a_table_that_we_may_not_vacuum_is_named(database: Database, admin: psycopg.Connection) -> None:
    erase_all(database)
    admin.execute("DROP ROLE IF EXISTS tl_eraser; CREATE ROLE tl_eraser LOGIN BYPASSRLS")
    admin.execute(
        "GRANT USAGE ON SCHEMA tenant_lifecycle TO tl_eraser; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tenant_lifecycle, "
        "public TO tl_eraser; GRANT CREATE ON DATABASE " + admin.info.dbname + " TO tl_eraser"
    )
    small = Database("blue/postgres", "blue", conninfo.make_conninfo(database.dsn, user="tl_eraser"), MAP)
    try:
        settled = settle(small, erasing(), ["public.notes"], nothing)
        assert [one for one in settled.left if one.startswith("public.notes vacuumed: permission denied")]
        assert "public.notes vacuumed" not in settled.done
    finally:
        small.close()
        admin.execute("DROP OWNED BY tl_eraser; DROP ROLE tl_eraser")


def test_a_reference_that_was_made_meanwhile_is_named(database: Database, admin: psycopg.Connection) -> None:
    admin.execute("SET session_replication_role = replica")
    admin.execute("UPDATE folders SET parent = 1 WHERE tenant_id = 'acme2' AND name = 'child'")
    erase_all(database)
    settled = settle(database, erasing(), SETS, nothing)
    assert [one for one in settled.left if "rows of public.folders refer" in one]


# -- the search


def places(database: Database) -> tuple[Eyes, dict[str, object]]:
    eyes, name = Eyes(database), conninfo.conninfo_to_dict(database.dsn)["dbname"]
    return eyes, {p.name.removeprefix(f"{name}.").removeprefix(f"{name} "): p for p in eyes.places()
                  if p.name.startswith((f"{name}.", f"{name} ", "server"))}  # fmt: skip


PLACED = {
    "CREATE SCHEMA shadow; CREATE TABLE shadow.export_cache AS SELECT '{m}'::text AS blob": "shadow.export_cache",
    "CREATE TABLE b AS SELECT convert_to('{m}', 'UTF8') AS x": "public.b",
    "CREATE TABLE b AS SELECT ARRAY['a', '{m}'] AS x": "public.b",
    "CREATE TABLE b AS SELECT jsonb_build_object('k', jsonb_build_array('{m}'::text)) AS x": "public.b",
    "CREATE TYPE t AS (a text); CREATE TABLE b (x t); INSERT INTO b VALUES (ROW('{m}'))": "public.b",
    "CREATE DOMAIN d AS text; CREATE TABLE b (x d[]); INSERT INTO b VALUES (ARRAY['{m}'])": "public.b",
    "CREATE UNLOGGED TABLE b AS SELECT '{m}'::varchar AS x": "public.b",
    "CREATE TABLE b (x text) PARTITION BY LIST (x); CREATE TABLE b1 PARTITION OF b DEFAULT; INSERT INTO b VALUES ('{m}')": "public.b1",
    "CREATE TABLE p (x text); CREATE TABLE b () INHERITS (p); INSERT INTO b VALUES ('{m}')": "public.b",
    "CREATE MATERIALIZED VIEW b AS SELECT '{m}'::text AS x": "public.b",
    "COMMENT ON TABLE plans IS '{m}'": "catalogue",
    "CREATE VIEW v AS SELECT '{m}'::text AS x": "catalogue",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '{m}' $$": "catalogue",
    'CREATE SEQUENCE "seq {m}"': "catalogue",
    "ALTER TABLE plans ALTER name SET DEFAULT '{m}'": "catalogue",
    "CREATE TABLE plans2 (x text CHECK (x <> '{m}'))": "catalogue",
    "CREATE INDEX ON plans (id) WHERE name = '{m}'": "catalogue",
    "SELECT lo_from_bytea(0, convert_to(repeat('x', 2040) || '{m}', 'UTF8'))": "large objects",
}


@pytest.mark.parametrize("statement", list(PLACED))
def test_what_nobody_declared_is_found(new_database: Callable[..., str], statement: str) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE plans (id int PRIMARY KEY, name text); INSERT INTO plans VALUES (1, 'living control')"
        )
        conn.execute(statement.replace("{m}", "hidden-one"))
    database = Database("blue/postgres", "blue", dsn, MAP)
    eyes, seen = places(database)
    look = {
        name: eyes.search(place, found("hidden-one", control="living control"), nothing)
        for name, place in seen.items()
    }
    hit = [name for name, looked in look.items() if looked.hit_count and name != "server catalogue"]
    if "MATERIALIZED" in statement:
        hit.remove("catalogue")  # its definition
    assert hit == [PLACED[statement]]
    assert look["public.plans"].control_found
    assert not [looked.unread for looked in look.values() if looked.unread]
    if hit[0].startswith(("public.", "shadow.")) and "MATERIALIZED" not in statement:
        (first,) = look[hit[0]].hits
        assert first.proposal.startswith(hit[0]) and not seen[hit[0]].declared


def test_another_database_and_role_settings_are_found(
    new_database: Callable[..., str], server: PostgresServer
) -> None:
    here, there = new_database(18), new_database(18)
    role = "tl_settings_role"
    with psycopg.connect(there, autocommit=True) as conn:
        conn.execute("CREATE TABLE forgotten AS SELECT 'hidden-two'::text AS x")
        conn.execute(
            f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; ALTER ROLE {role} SET application_name = 'hidden-three'"
        )
        try:
            eyes = Eyes(Database("blue/postgres", "blue", here, MAP))
            name = conn.info.dbname
            (place,) = [p for p in eyes.places() if p.name == f"{name}.public.forgotten"]
            assert eyes.search(place, found("hidden-two"), nothing).hit_count == 1 and not place.declared
            (settings,) = [p for p in eyes.places() if p.name == "server catalogue"]
            assert eyes.search(settings, found("hidden-three"), nothing).hits[0].where == "settings of a role"
        finally:
            conn.execute(f"DROP ROLE {role}")


def test_m11_a_compressed_value_is_found_where_a_look_at_bytes_is_not(
    server: PostgresServer, database: Database, admin: psycopg.Connection
) -> None:
    admin.execute(
        "CREATE TABLE packed AS SELECT jsonb_build_object('k', repeat('ab', 3000) || 'hidden' || '-four') AS x"
    )
    assert sum(bytes_left(server, admin, "packed", "hidden-four").values()) == 0
    eyes, seen = places(database)
    assert eyes.search(seen["public.packed"], found("hidden-four"), nothing).hit_count == 1


def test_m12_looking_leaves_no_trace_of_what_was_looked_for(
    server: PostgresServer, database: Database, admin: psycopg.Connection
) -> None:
    admin.execute(f"ALTER DATABASE {admin.info.dbname} SET log_statement = 'all'")
    with psycopg.connect(database.dsn) as conn:
        conn.execute("SELECT count(*) FROM docs WHERE title LIKE 'naive-question%'")
    eyes, seen = places(database)
    for place in seen.values():
        eyes.search(place, found("quiet-question", control=marker(B)), nothing)
    log = server.log.read_text(errors="replace")
    assert "naive-question" in log and "pg_largeobject" in log
    assert "quiet-question" not in log and marker(B) not in log


def test_planted_markers_are_found_before_and_not_after(database: Database) -> None:
    planted = plant(database, erasing(), "canary-7")
    assert plant(database, erasing(), "canary-7") == planted
    eyes, seen = places(database)
    place = seen["tenant_lifecycle.planted"]
    before = eyes.search(place, found("canary-7"), nothing)
    assert before.hit_count == 3 == sum(one.items for one in planted) and place.declared
    erase_all(database)
    after = eyes.search(place, found("canary-7"), nothing)
    assert after.hit_count == 0 and after.unread == ""


def test_a_packed_value_is_looked_at_by_itself(database: Database, admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE packed (x bytea)")
    admin.execute("INSERT INTO packed VALUES (%s)", (gzip.compress(b"hidden-five"),))

    def look(data: bytes) -> list[object]:
        return found("hidden-five")(gzip.decompress(data)) if data.startswith(b"\x1f\x8b") else []

    eyes, seen = places(database)
    assert eyes.search(seen["public.packed"], look, nothing).hit_count == 1


@pytest.fixture
def verifier(database: Database, admin: psycopg.Connection) -> Iterator[Callable[[str], Database]]:
    made: list[tuple[Database, str]] = []

    def make(attributes: str, grants: str = "") -> Database:
        role = f"tl_verifier_{len(made)}"
        admin.execute(
            f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN {attributes}; {grants.replace('ROLE', role)}"
        )
        made.append(
            (Database("blue/postgres", "blue", conninfo.make_conninfo(database.dsn, user=role), MAP), role)
        )
        return made[-1][0]

    yield make
    for one, role in made:
        one.close()
        admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


GRANTS = "GRANT pg_read_all_data, pg_monitor TO ROLE; GRANT SELECT ON pg_catalog.pg_largeobject TO ROLE"


def test_a_role_of_its_own_that_reads_everything_is_fit(
    database: Database, verifier: Callable[..., Database]
) -> None:
    fit = verifier("BYPASSRLS", GRANTS)
    assert not [f for f in verifier_findings(fit) if f.severity is Severity.REFUSAL]
    eyes, seen = places(fit)
    looks = {
        name: eyes.search(place, found(marker(A), control=marker(B)), nothing) for name, place in seen.items()
    }
    assert not [one.unread for one in looks.values() if one.unread]
    assert (
        looks["public.docs"].hit_count
        and looks["large objects"].hit_count == 2
        and looks["catalogue"].hit_count
    )
    with pytest.raises(psycopg.Error):
        with eyes._connect(None) as conn:
            conn.execute("CREATE TABLE x (y int)")


@pytest.mark.parametrize(
    ("attributes", "grants", "code"),
    [
        ("", GRANTS, "pg.verifier-row-security"),
        ("BYPASSRLS", "", "pg.verifier-blind"),
        ("BYPASSRLS", GRANTS + "; GRANT DELETE ON docs TO ROLE", "pg.verifier-writes"),
        ("SUPERUSER", "", "pg.verifier-writes"),
    ],
)
def test_a_role_that_is_blind_or_may_write_is_refused(
    verifier: Callable[..., Database], attributes: str, grants: str, code: str
) -> None:
    findings = verifier_findings(verifier(attributes, grants))
    assert code in {f.code for f in findings if f.severity is Severity.REFUSAL}


def test_m9_what_row_security_hides_is_unread_and_never_clean(
    database: Database, admin: psycopg.Connection, verifier: Callable[..., Database]
) -> None:
    blind = verifier("", GRANTS)
    admin.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
    with psycopg.connect(blind.dsn) as conn:
        assert conn.execute("SELECT count(*) FROM notes").fetchone() == (0,)  # the naive check lies
    eyes, seen = places(blind)
    looked = eyes.search(seen["public.notes"], found(marker(A)), nothing)
    assert looked.hit_count == 0 and "row-level security" in looked.unread


def test_a_table_without_the_right_to_read_is_unread(
    database: Database, verifier: Callable[..., Database]
) -> None:
    eyes, seen = places(verifier("BYPASSRLS"))
    assert "permission denied" in eyes.search(seen["public.docs"], found(marker(A)), nothing).unread


def test_the_fence_does_not_stop_the_eraser_but_it_stops_everybody_else(database: Database) -> None:
    fence.arm(database, A, FenceState.STANDBY, 1, "green")
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        with pytest.raises(psycopg.Error, match="green"):
            conn.execute("DELETE FROM docs WHERE tenant_id = %s", (A,))
    erase_all(database)
    eyes, seen = places(database)
    assert eyes.search(seen["public.docs"], found(marker(A)), nothing).hit_count == 0
