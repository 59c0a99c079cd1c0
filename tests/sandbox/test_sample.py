"""The sample application is what the rest relies on: mapped completely, seeded the same, hard in every way."""

import psycopg
import pytest
from psycopg import sql

from tenant_lifecycle.model.ownership import Global
from tenant_lifecycle.sandbox.environment import Fill
from tenant_lifecycle.sandbox.sample import PLATINUM, RESIDENTS, SAMPLE_MAP, TENANTS
from tenant_lifecycle.sandbox.seed import RESIDENT_IDS, seed
from tenant_lifecycle.stores.postgres.owned import exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables


@pytest.fixture
def blue(sandbox_pair) -> psycopg.Connection:
    with psycopg.connect(sandbox_pair().blue, autocommit=True) as conn:
        yield conn


def counts(conn: psycopg.Connection, tenant: str) -> dict[str, int]:
    resolved = SAMPLE_MAP.resolve(tenant, frozenset(read_tables(conn)))
    return {
        table.name: conn.execute(
            sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(
                table_sql(table), owned_rows(resolved, table, "t")
            )
        ).fetchone()[0]
        for table in resolved.moved
    }


@pytest.mark.parametrize("major", [15, 16, 18])
def test_the_map_covers_every_table(major, new_database, sample_template) -> None:
    with psycopg.connect(
        new_database(major, template=sample_template(major, Fill.SCHEMA)), autocommit=True
    ) as conn:
        present = frozenset(read_tables(conn))
    resolved = SAMPLE_MAP.resolve(PLATINUM, present)
    assert not resolved.unmapped
    assert set(SAMPLE_MAP.tables) == present


def test_every_row_of_owned_tables_has_one_owner(blue) -> None:
    totals: dict[str, int] = {}
    for tenant in TENANTS:
        for table, rows in counts(blue, tenant.id).items():
            totals[table] = totals.get(table, 0) + rows
    for table, rule in SAMPLE_MAP.tables.items():
        if table.name == "users" or isinstance(rule, Global):
            continue
        (present,) = blue.execute(sql.SQL("SELECT count(*) FROM {}").format(table_sql(table))).fetchone()
        assert totals[table.name] == present, table.name


def test_every_tenant_has_rows_everywhere_and_the_platinum_one_most(blue) -> None:
    sizes = {tenant.id: counts(blue, tenant.id) for tenant in TENANTS}
    for tenant, of_table in sizes.items():
        assert [name for name, rows in of_table.items() if rows == 0] == ["load_writes"], tenant
    assert max(sizes, key=lambda tenant: sum(sizes[tenant].values())) == PLATINUM


def test_some_people_work_for_several_tenants(blue) -> None:
    resolved = SAMPLE_MAP.resolve(PLATINUM, frozenset(read_tables(blue)))
    users = next(table for table in resolved.shared)
    query = sql.SQL("SELECT count(*) FILTER (WHERE {}), count(*) FROM users t WHERE {}").format(
        exclusive_people(resolved, users, "t"), owned_rows(resolved, users, "t")
    )
    exclusive, all_of_them = blue.execute(query).fetchone()
    assert 0 < exclusive < all_of_them


def test_the_same_rows_on_every_run(new_database) -> None:
    def fingerprint(dsn: str) -> dict[str, tuple]:
        seed(dsn, scale=0.001)
        with psycopg.connect(dsn, autocommit=True) as conn:
            return {
                table.name: conn.execute(
                    sql.SQL("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} t").format(
                        table_sql(table)
                    )
                ).fetchone()
                for table in SAMPLE_MAP.tables
            }

    first, second = fingerprint(new_database(16)), fingerprint(new_database(16))
    assert first == second
    assert first["documents"][0] > 0


def test_declared_keys_and_checks_hold_although_triggers_did_not_fire(blue) -> None:
    """Replica mode skips the checks of foreign keys: seeded rows must satisfy them all the same."""
    constraints = blue.execute(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f' AND conparentid = 0"
    ).fetchall()
    assert len(constraints) >= 8
    for table, name in constraints:
        definition = blue.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", (name,)
        ).fetchone()[0]
        blue.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        blue.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


def test_large_texts_stay_out_of_line(sandbox_pair) -> None:
    with psycopg.connect(sandbox_pair(blue=18).blue, autocommit=True) as conn:
        toasted, documents = conn.execute(
            "SELECT count(pg_column_toast_chunk_id(body)), count(*) FROM documents"
        ).fetchone()
    assert toasted > documents / 3


def test_row_security_hides_keys_from_the_application(sandbox_pair) -> None:
    pair = sandbox_pair()
    with psycopg.connect(pair.blue.replace("user=postgres", "user=rag_app"), autocommit=True) as conn:
        assert conn.execute("SELECT count(*) FROM api_keys").fetchone() == (0,)
        conn.execute("SET row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT count(*) FROM api_keys")


def test_residents_have_ids_of_their_own_and_know_people_of_blue(sandbox_pair) -> None:
    pair = sandbox_pair()
    with psycopg.connect(pair.blue) as blue, psycopg.connect(pair.green) as green:
        for query in (
            "SELECT min(id), max(id) FROM chunks",
            "SELECT min(id), max(id) FROM messages",
            "SELECT min(number), max(number) FROM documents",
            "SELECT min(id), max(id) FROM usage_events",
            "SELECT min(id), max(id) FROM notes",
        ):
            assert blue.execute(query).fetchone()[1] < RESIDENT_IDS <= green.execute(query).fetchone()[0], (
                query
            )
        assert {row[0] for row in green.execute("SELECT id FROM tenants")} == {
            tenant.id for tenant in RESIDENTS
        }
        people = {row[0] for row in blue.execute("SELECT id FROM users")}
        assert people & {row[0] for row in green.execute("SELECT id FROM users")}


def test_new_rows_get_new_ids_after_seeding(blue) -> None:
    (largest,) = blue.execute("SELECT max(id) FROM messages").fetchone()
    (new,) = blue.execute(
        "INSERT INTO messages (conversation_id, client_ref, role, content) "
        "SELECT id, 'x', 'user', '' FROM conversations LIMIT 1 RETURNING id"
    ).fetchone()
    assert new == largest + 1


def test_the_file_says_the_same_as_the_value() -> None:
    ownership_file = pytest.importorskip("tenant_lifecycle.ownership_file")
    from tenant_lifecycle.sandbox.sample import ownership_yaml

    assert ownership_file.loads(ownership_yaml()) == SAMPLE_MAP
