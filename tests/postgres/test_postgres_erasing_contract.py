"""PostgreSQL keeps the contract of erasing, with a role that deletes and another that only looks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, OwnershipMap, Root
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.testing.erasing_contract import ErasingContract

MAP = OwnershipMap(
    {TableName("public", "tenants"): Root("id"), TableName("public", "docs"): Direct("tenant_id")}
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE docs (tenant_id text, item text, body text, PRIMARY KEY (tenant_id, item));
CREATE TABLE nobodys_rule (x bytea);
"""
ROLES = """
CREATE ROLE looks LOGIN BYPASSRLS; GRANT pg_read_all_data, pg_monitor TO looks;
GRANT SELECT ON pg_catalog.pg_largeobject TO looks; CREATE ROLE blind LOGIN;
"""


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of this module's own: a search goes through all of its databases."""
    folder = Path(tmp_path_factory.mktemp("pg")) / "server"
    server = PostgresServer(18, folder, settings={"fsync": "off", "shared_buffers": "32MB"})
    server.start()
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(ROLES)
    yield server
    server.remove()


class Bench:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.eraser = self.replaced_eraser()
        self.verifier = self._opened("looks")
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "an undeclared table": self._into("INSERT INTO nobodys_rule VALUES (%s)"),
            "a large object that no row names": self._into("SELECT lo_from_bytea(0, %s)"),
            "a view that was filled before": self._view,
        }

    def _opened(self, user: str) -> PostgresStore:
        dsn = conninfo.make_conninfo(self.dsn, user=user)
        return PostgresStore(Database("blue/rows", "blue", dsn, MAP))

    def replaced_eraser(self) -> PostgresStore:
        return self._opened("postgres")

    def blinded(self) -> PostgresStore:
        return self._opened("blind")

    def put(self, tenant: str, item: str, content: str) -> None:
        self._run("INSERT INTO tenants VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
        self._run("INSERT INTO docs VALUES (%s, %s, %s)", (tenant, item, content))

    def content(self, tenant: str, item: str) -> str | None:
        found = self._run("SELECT body FROM docs WHERE tenant_id = %s AND item = %s", (tenant, item))
        return str(found[0][0]) if found else None

    def _into(self, statement: str) -> Callable[[bytes], None]:
        return lambda text: self._run(statement, (text,)) and None

    def _view(self, text: bytes) -> None:
        name = f"filled_{uuid.uuid4().hex}"
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS once (x text)")
            conn.execute("INSERT INTO once VALUES (%s)", (text.decode(),))
            conn.execute(f"CREATE MATERIALIZED VIEW {name} AS SELECT x FROM once")
            conn.execute("TRUNCATE once")

    def _run(self, statement: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            cursor = conn.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


class TestPostgres(ErasingContract):
    @pytest.fixture
    def bench(self, quiet_server: PostgresServer) -> Iterator[Bench]:
        name = f"t_{uuid.uuid4().hex}"
        with psycopg.connect(quiet_server.dsn(), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(quiet_server.dsn(name), autocommit=True) as conn:
            conn.execute(SCHEMA)
        bench = Bench(quiet_server.dsn(name))
        yield bench
        for store in (bench.eraser, bench.verifier):
            store.close()
        with psycopg.connect(quiet_server.dsn(), autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
