"""Every reason not to move a tenant is found before anything is changed, named, and comes with its remedy."""

import uuid
from dataclasses import replace

import psycopg
import pytest
from preflight_pair import MAP, T, Two, by_code, make_two, two
from psycopg import sql

from tenant_lifecycle.model.findings import Severity, refusals
from tenant_lifecycle.model.ownership import Direct, Global, OwnershipMap, Root
from tenant_lifecycle.stores.postgres import ours
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.preflight import Limits

#: Fixtures.
__all__ = ["make_two", "two"]


@pytest.mark.parametrize(("source", "target"), [(16, 16), (16, 18), (18, 16), (15, 18)])
def test_a_clean_pair_has_no_refusal(make_two, source: int, target: int) -> None:
    found = make_two(source, target).look()
    assert [f.message for f in refusals(found)] == []
    warnings = {finding.code for finding in found if finding.severity is Severity.WARNING}
    assert warnings <= {"pg.disk", "pg.keyless", "pg.collation", "pg.version-older"}
    assert ("pg.version-older" in warnings) == (target < source)


def test_looking_changes_nothing(two: Two) -> None:
    before = [c.execute("SELECT pg_current_xact_id_if_assigned(), count(*) FROM pg_class").fetchone()
              for c in (two.blue, two.green)]  # fmt: skip
    two.look()
    after = [c.execute("SELECT pg_current_xact_id_if_assigned(), count(*) FROM pg_class").fetchone()
             for c in (two.blue, two.green)]  # fmt: skip
    assert before == after


#: Where, what is done there, the refusal, words of its message.
REFUSALS = {
    "unmapped table on source": ("blue", "CREATE TABLE stray (id int PRIMARY KEY)", "pg.unmapped", "stray"),
    "unmapped table on target": ("green", "CREATE TABLE stray (id int PRIMARY KEY)", "pg.unmapped", "stray"),
    "map names what is not there": (
        "blue", "ALTER TABLE chunks RENAME document_id TO doc", "pg.map", "public.chunks.document_id"),
    "target holds the tenant": (
        "green", "INSERT INTO events VALUES ('acme')", "pg.target-occupied", "public.events"),
    "no replica identity": (
        "blue", "ALTER TABLE chunks DROP CONSTRAINT chunks_pkey", "pg.replica-identity", "public.chunks"),
    "no replica identity on the way back": (
        "green", "ALTER TABLE chunks DROP CONSTRAINT chunks_pkey", "pg.replica-identity", "chunks"),
    "keyless without FULL": (
        "blue", "ALTER TABLE events REPLICA IDENTITY DEFAULT", "pg.replica-identity", "public.events"),
    "replica identity NOTHING": (
        "blue", "ALTER TABLE chunks REPLICA IDENTITY NOTHING", "pg.replica-identity-nothing", "chunks"),
    "deferrable key": (
        "blue", "ALTER TABLE chunks DROP CONSTRAINT chunks_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
        "pg.replica-identity-deferrable", "chunks"),
    "identity index without the key": (
        "blue", "CREATE UNIQUE INDEX u ON chunks (document_id); ALTER TABLE chunks REPLICA IDENTITY USING INDEX u",
        "pg.replica-identity-key", "chunks"),
    "a partition of its own mind": (
        "blue", "ALTER TABLE months_new REPLICA IDENTITY FULL", "pg.replica-identity-partition", "months_new"),
    "a partition without identity": (
        "blue", "ALTER TABLE months_old REPLICA IDENTITY NOTHING", "pg.replica-identity-nothing", "months_old"),
    "unlogged": ("blue", "ALTER TABLE events SET UNLOGGED", "pg.unlogged", "public.events"),
    "trigger ALWAYS on target": (
        "green", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER audit BEFORE INSERT ON chunks FOR EACH ROW EXECUTE FUNCTION f();"
        "ALTER TABLE chunks ENABLE ALWAYS TRIGGER audit", "pg.trigger-always", "audit"),
    "trigger REPLICA on source": (
        "blue", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER audit BEFORE INSERT ON months_new FOR EACH ROW EXECUTE FUNCTION f();"
        "ALTER TABLE months_new ENABLE REPLICA TRIGGER audit", "pg.trigger-always", "months_new"),
    "rule ALWAYS": (
        "green", "CREATE RULE r AS ON INSERT TO chunks DO ALSO NOTIFY x; ALTER TABLE chunks ENABLE ALWAYS RULE r",
        "pg.trigger-always", "rule r"),
    "column without binary form": (
        "blue", "ALTER TABLE chunks ADD grants aclitem[]", "pg.type-binary", "chunks.grants"),
    "column that holds catalogue numbers": (
        "blue", "CREATE DOMAIN cls AS regclass; ALTER TABLE chunks ADD c cls", "pg.type-oid", "chunks.c"),
    "large objects": (
        "blue", "ALTER TABLE chunks ADD blob oid; UPDATE chunks SET blob = lo_create(0) WHERE id = 1",
        "pg.large-object", "1 rows"),
    "key taken": (
        "green", "INSERT INTO chunks (id, document_id) VALUES (3, 11)", "pg.key-collision", "1 keys"),
    "key taken by an orphan": (
        "green", "INSERT INTO chunks (id, document_id) VALUES (3, -1)", "pg.key-collision", "chunks"),
    "unique expression taken": (
        "green", "UPDATE documents SET slug = 'DOC7'", "pg.unique-collision", "documents_slug"),
    "exclusion constraint taken": (
        "green", "ALTER TABLE documents ADD EXCLUDE USING btree (slug WITH =); UPDATE documents SET slug = 'doc1'"
        "; DROP INDEX documents_slug", "pg.unique-collision", "slug"),
    "NULLs that count as equal": (
        "green", "CREATE UNIQUE INDEX n ON documents (plan_id, size) NULLS NOT DISTINCT;"
        "UPDATE documents SET slug = 'four', plan_id = 1", "pg.unique-collision", "public.documents"),
    "another person under the same number": (
        "green", "INSERT INTO users VALUES (1, 'z@x')", "pg.people-collision", "1 keys"),
    "the same person under another number": (
        "green", "INSERT INTO users VALUES (77, 'a@x')", "pg.people-renamed", "users_email_key"),
    "a global row that is not there": (
        "green", "DELETE FROM plans WHERE id = 1", "pg.reference-missing", "public.plans"),
    "broken by a filtered publication": (
        "blue", "CREATE PUBLICATION theirs FOR TABLE documents WHERE (tenant_id = 'other')",
        "pg.publication-filter", "theirs"),
    "broken by a publication on the way back": (
        "green", "CREATE PUBLICATION theirs FOR TABLE months WHERE (tenant_id = 'other')"
        " WITH (publish_via_partition_root)",
        "pg.publication-filter", "months"),
    "subscription on target": (
        "green", "CREATE SUBSCRIPTION sub CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false);"
        "INSERT INTO pg_subscription_rel SELECT oid, 'chunks'::regclass, 'r', NULL FROM pg_subscription"
        " WHERE subname = 'sub'", "pg.subscription", "sub"),
    "moved away before": (
        "blue", "INSERT INTO tenant_lifecycle.fence VALUES ('acme', 'blue', 3, 'MOVED', NULL, 'red')",
        "pg.fence-state", "writer is red"),
    "being filled": (
        "blue", "INSERT INTO tenant_lifecycle.fence VALUES ('acme', 'blue', 3, 'STANDBY', NULL, 'red')",
        "pg.fence-state", "STANDBY"),
    "in a flip": (
        "blue", "INSERT INTO tenant_lifecycle.fence VALUES ('acme', 'blue', 3, 'FENCED', now() + interval '1h')",
        "pg.fence-state", "FENCED"),
    "writer already": (
        "green", "INSERT INTO tenant_lifecycle.fence VALUES ('acme', 'green', 3, 'ACTIVE')",
        "pg.fence-state", "ACTIVE"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_each_pitfall_is_refused(two: Two, name: str) -> None:
    where, statement, code, words = REFUSALS[name]
    conn = two.blue if where == "blue" else two.green
    if "tenant_lifecycle" in statement:
        ours.install(conn)
    superuser_catalog = "pg_subscription_rel" in statement
    if superuser_catalog:
        conn.execute("SET allow_system_table_mods = on")
    for part in statement.split(";") if superuser_catalog else [statement]:
        conn.execute(part.encode())
    try:
        finding = two.refused(code)
        assert words in finding.message, finding.message
        assert finding.subject == f"{where}/postgres"
    finally:
        if superuser_catalog:
            conn.execute("ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE)")
            conn.execute("DROP SUBSCRIPTION sub")


def test_a_tenant_that_is_not_there_is_refused(two: Two) -> None:
    assert "'nobody'" in two.refused("pg.tenant-absent", "nobody").message
    assert "'; DROP" in two.refused("pg.tenant-absent", "'; DROP TABLE tenants; --").message
    assert by_code(two.look("nobody"), "pg.not-checked")


def test_a_tenant_whose_id_is_no_id_is_refused(make_two) -> None:
    two = make_two(
        schema="CREATE TABLE tenants (id uuid PRIMARY KEY)", map_=OwnershipMap({T("tenants"): Root("id")})
    )
    assert "no id of the kind" in two.refused("pg.tenant-absent", "acme").message


def test_a_tenant_without_a_schema_is_refused(make_two) -> None:
    two = make_two(schema="CREATE TABLE plans (id int PRIMARY KEY)",
                   map_=OwnershipMap({T("plans"): Global()}, schema_template="tenant_{tenant}"))  # fmt: skip
    assert "no schema" in two.refused("pg.tenant-absent").message
    two.blue.execute("CREATE SCHEMA tenant_acme CREATE TABLE notes (id serial PRIMARY KEY)")
    assert not refusals(two.look())


def test_a_database_cannot_move_onto_itself(two: Two) -> None:
    two.target = two.source
    assert two.refused("pg.same-database")


def test_a_server_that_is_not_there_is_refused(two: Two) -> None:
    two.target = replace(two.target, dsn="host=127.0.0.1 port=1 user=postgres dbname=x")
    assert two.refused("pg.reachable").subject == "green/postgres"


def test_inheritance_is_refused(make_two) -> None:
    two = make_two()
    two.source.map = two.target.map = OwnershipMap({**MAP.tables, T("child"): Direct("tenant_id")})
    two.blue.execute("CREATE TABLE child (PRIMARY KEY (tenant_id)) INHERITS (events)")
    found = [f for f in refusals(two.look()) if f.code == "pg.inheritance"]
    assert len(found) == 2


def test_a_foreign_table_as_partition_is_refused(two: Two) -> None:
    two.blue.execute("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
                     "CREATE TABLE far (tenant_id text, d date) PARTITION BY LIST (tenant_id);"
                     "ALTER TABLE far REPLICA IDENTITY FULL;"
                     "CREATE FOREIGN TABLE far_1 PARTITION OF far FOR VALUES IN ('x') SERVER s")  # fmt: skip
    two.source.map = two.target.map = OwnershipMap({**MAP.tables, T("far"): Direct("tenant_id")})
    assert "far_1" in two.refused("pg.foreign-partition").message


def test_prepared_transactions_are_refused(two: Two) -> None:
    gid = f"it's {uuid.uuid4().hex}"
    two.blue.execute("BEGIN; INSERT INTO plans VALUES (99)")
    two.blue.execute(sql.SQL("PREPARE TRANSACTION {}").format(gid))
    found = by_code(refusals(two.look()), "pg.prepared-transaction")
    # Both databases are on one server here, and a slot waits for any database of its server.
    assert [finding.subject for finding in found] == ["blue/postgres", "green/postgres"]
    assert gid.split()[1] in found[0].message
    two.blue.execute(found[0].next_step.split("or ")[1].encode())
    assert not refusals(two.look())


def test_a_long_writing_transaction_is_refused_and_says_whose(two: Two) -> None:
    with psycopg.connect(two.source.dsn, application_name="nightly job") as conn:
        conn.execute("INSERT INTO plans VALUES (99)")
        assert not by_code(refusals(two.look()), "pg.long-transaction")
        found = by_code(refusals(two.look(limits=Limits(long_transaction_s=0.0))), "pg.long-transaction")
        assert found and "nightly job" in found[0].message
        assert str(conn.info.backend_pid) in found[0].message
        conn.rollback()


def test_a_long_reading_transaction_is_no_obstacle(two: Two) -> None:
    with psycopg.connect(two.source.dsn) as conn:
        conn.execute("SELECT FROM plans")
        assert not refusals(two.look(limits=Limits(long_transaction_s=0.0)))


def test_row_security_and_missing_rights_are_refused(two: Two) -> None:
    role = f"mover_{uuid.uuid4().hex[:8]}"
    admin = two.blue
    admin.execute(f"CREATE ROLE {role} LOGIN REPLICATION; GRANT CREATE, TEMPORARY ON DATABASE"
                  f' "{admin.info.dbname}" TO {role}; GRANT pg_read_all_stats TO {role};'
                  f"GRANT SET ON PARAMETER session_replication_role TO {role};"
                  f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
                  "ALTER TABLE chunks ENABLE ROW LEVEL SECURITY;"
                  f"REVOKE DELETE ON events FROM {role}")  # fmt: skip
    two.source.dsn = two.source.dsn.replace("user=postgres", f"user={role}")
    try:
        found = {finding.code: finding for finding in refusals(two.look())}
        assert set(found) == {"pg.row-security", "pg.table-owner", "pg.table-privilege"}
        assert "chunks" in found["pg.row-security"].message
        assert "DELETE on public.events" in found["pg.table-privilege"].message
        for code in ("pg.row-security", "pg.table-owner", "pg.table-privilege"):
            admin.execute(found[code].next_step.encode())
        assert not refusals(two.look())
    finally:
        two.source.close()
        admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_another_encoding_is_refused(two: Two, pg_servers) -> None:
    server, name = pg_servers(18), f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            two.target = Database("green/postgres", "green", server.dsn(name), MAP)
            assert "LATIN1" in two.refused("pg.encoding").message
        finally:
            two.target.close()
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_extensions_are_compared(make_two) -> None:
    two = make_two(16, 18)
    for conn in (two.blue, two.green):
        conn.execute("CREATE EXTENSION vector; ALTER TABLE chunks ADD v vector(3)")
    assert not refusals(two.look())
    two.green.execute("UPDATE pg_extension SET extversion = '0.4.1' WHERE extname = 'vector'")
    assert "0.4.1" in two.refused("pg.extension").message
    two.green.execute("UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'vector'")
    found = by_code(two.look(), "pg.extension")
    assert [f.severity for f in found] == [Severity.WARNING]


def test_an_extension_that_the_target_lacks_is_refused(make_two) -> None:
    two = make_two(18, 15)
    two.blue.execute("CREATE EXTENSION vector; ALTER TABLE chunks ADD v vector(3)")
    assert "vector" in two.refused("pg.extension").message


def test_a_type_that_the_older_target_lacks_is_refused(make_two, monkeypatch) -> None:
    two = make_two()
    two.blue.execute("ALTER TABLE chunks ADD r int4multirange")
    # No type was added between the supported versions; one is hidden to stand for it.
    two.green.execute("SET allow_system_table_mods = on")
    two.green.execute("UPDATE pg_type SET typname = 'hidden' WHERE typname = 'int4multirange'")
    assert "chunks.r (int4multirange)" in two.refused("pg.type-missing").message


def test_disk_is_judged_where_somebody_can_see_it(two: Two) -> None:
    assert by_code(two.look(), "pg.disk")[0].severity is Severity.WARNING
    two.blue.execute("ANALYZE")
    assert "free" in two.refused("pg.disk", target_free_bytes=10).message
    assert by_code(two.look(target_free_bytes=10**12), "pg.disk")[0].severity is Severity.OK


def test_no_taken_number_is_missed_in_many_chunks(two: Two) -> None:
    two.blue.execute("INSERT INTO chunks (document_id) SELECT 1 FROM generate_series(1, 5000)")
    two.green.execute(
        "INSERT INTO chunks (id, document_id) VALUES (1, 11), (2500, 11), (5020, 11), (9999, 11)"
    )
    finding = two.refused("pg.key-collision", limits=Limits(chunk_rows=700, compared_rows=10))
    assert "3 keys" in finding.message


def test_our_own_fence_trigger_is_no_obstacle(two: Two) -> None:
    ours.install(two.green)
    two.green.execute(
        "CREATE FUNCTION tenant_lifecycle.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER tl BEFORE INSERT ON chunks FOR EACH ROW EXECUTE FUNCTION tenant_lifecycle.f();"
        "ALTER TABLE chunks ENABLE ALWAYS TRIGGER tl"
    )
    assert not refusals(two.look())


def test_a_target_without_the_tables_is_no_obstacle(make_two) -> None:
    two = make_two()
    two.green.execute("DROP TABLE documents, members, users, chunks, tenants, events, months")
    assert not refusals(two.look())


def test_a_check_that_fails_is_a_refusal(two: Two) -> None:
    two.green.execute("ALTER TABLE chunks ALTER id TYPE text")
    two.green.execute("DELETE FROM chunks")
    assert two.refused("pg.check-failed")
