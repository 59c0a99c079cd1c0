"""PostgreSQL keeps the contract of bases and previews, on the oldest and the newest version that we test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, OwnershipMap, Root, Via
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.testing.backing_contract import BackingContract

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("docs"): Direct("tenant_id"),
        T("bodies"): Via((Hop(("doc",), T("docs"), ("id",)),)),
    }
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE docs (id bigserial PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants, item text,
                   content text NOT NULL, UNIQUE (tenant_id, item));
CREATE TABLE bodies (doc bigint PRIMARY KEY REFERENCES docs ON DELETE CASCADE, length int);
"""
CHILD = """
import sys
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.stores.postgres.backup.preview import PostgresPreview
from tenant_lifecycle.stores.postgres.database import Database
from test_postgres_backing_contract import MAP
dsn, preview, name, tenant, token = sys.argv[1:]
PostgresPreview(preview, Database("blue/postgres", "blue", dsn, MAP)).promote(
    Writing(name, tenant, int(token)), None, lambda: None)
"""


class Bench:
    atomic = True

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.store = PostgresStore(Database("blue/postgres", "blue", dsn, MAP))
        self._conn = psycopg.connect(dsn, autocommit=True)

    def put(self, tenant: str, item: str, content: str) -> None:
        self._conn.execute("INSERT INTO tenants VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
        self._conn.execute(
            "INSERT INTO docs (tenant_id, item, content) VALUES (%s, %s, %s) "
            "ON CONFLICT (tenant_id, item) DO UPDATE SET content = excluded.content",
            (tenant, item, content),
        )

    def drop(self, tenant: str, item: str) -> None:
        self._conn.execute("DELETE FROM docs WHERE tenant_id = %s AND item = %s", (tenant, item))

    def content(self, tenant: str, item: str) -> str | None:
        row = self._conn.execute(
            "SELECT content FROM docs WHERE tenant_id = %s AND item = %s", (tenant, item)
        ).fetchone()
        return None if row is None else str(row[0])

    def many(self, tenant: str, count: int) -> None:
        self._conn.execute("INSERT INTO tenants VALUES (%s)", (tenant,))
        self._conn.execute(
            "WITH d AS (INSERT INTO docs (tenant_id, item, content) SELECT %s, 'm' || i, md5(i::text) "
            "FROM generate_series(0, %s - 1) i RETURNING id) INSERT INTO bodies SELECT id, 1 FROM d",
            (tenant, count),
        )

    def promoting(self, preview: str, writing: Writing) -> Sequence[str]:
        return [
            sys.executable, "-c", f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r})\n{CHILD}",
            self.dsn, preview, writing.name, writing.tenant, str(writing.token),
        ]  # fmt: skip


@pytest.mark.parametrize("major", [16, 18])
class TestPostgres(BackingContract):
    @pytest.fixture
    def bench(self, major: int, new_database: Callable[..., str]) -> Iterator[Bench]:
        dsn = new_database(major)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(SCHEMA)
        bench = Bench(dsn)
        yield bench
        bench._conn.close()
        bench.store.close()
