"""Two databases and a tenant that could move between them, for the tests of pre-flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from tenant_lifecycle.model.findings import Finding, refusals
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.preflight import preflight

T = TableName.parse
ACME = TenantId("acme")
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("plans"): Global(),
        T("users"): Shared(T("members"), "user_id", "id"),
        T("members"): Direct("tenant_id"),
        T("documents"): Direct("tenant_id"),
        T("chunks"): Via((Hop(("document_id",), T("documents"), ("id",)),)),
        T("events"): Direct("tenant_id"),
        T("months"): Direct("tenant_id"),
    }
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE plans (id int PRIMARY KEY, name text);
CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE);
CREATE TABLE members (tenant_id text, user_id int, PRIMARY KEY (tenant_id, user_id));
CREATE TABLE documents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL,
    plan_id int REFERENCES plans, slug text, size int GENERATED ALWAYS AS (length(slug)) STORED);
CREATE UNIQUE INDEX documents_slug ON documents (lower(slug)) WHERE slug <> '';
CREATE TABLE chunks (id bigserial PRIMARY KEY, document_id bigint NOT NULL, body text);
CREATE TABLE events (tenant_id text, what text, at timestamptz);
ALTER TABLE events REPLICA IDENTITY FULL;
CREATE TABLE months (id uuid DEFAULT gen_random_uuid(), tenant_id text, month date,
    PRIMARY KEY (id, month)) PARTITION BY RANGE (month);
CREATE TABLE months_old PARTITION OF months FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE months_new PARTITION OF months FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
INSERT INTO plans VALUES (1, 'free'), (2, 'paid');
"""
SOURCE = """
INSERT INTO tenants VALUES ('acme'), ('other');
INSERT INTO users VALUES (1, 'a@x'), (2, 'b@x'), (3, 'c@x');
INSERT INTO members VALUES ('acme', 1), ('acme', 2), ('other', 2), ('other', 3);
INSERT INTO documents (tenant_id, plan_id, slug) SELECT 'acme', 1, 'doc' || i FROM generate_series(1, 10) i;
INSERT INTO documents (tenant_id, plan_id, slug) SELECT 'other', 2, 'odoc' || i FROM generate_series(1, 10) i;
INSERT INTO chunks (document_id, body) SELECT id, 'b' FROM documents;
INSERT INTO events VALUES ('acme', 'login', now()), ('acme', 'login', now());
INSERT INTO months (tenant_id, month) VALUES ('acme', '2025-12-01'), ('acme', '2026-02-01');
"""
TARGET = """
INSERT INTO tenants VALUES ('neighbour');
INSERT INTO users VALUES (2, 'b@x'), (9, 'n@x');
INSERT INTO members VALUES ('neighbour', 9);
INSERT INTO documents (id, tenant_id, slug) OVERRIDING SYSTEM VALUE VALUES (11, 'neighbour', 'n');
INSERT INTO chunks (id, document_id) VALUES (11, 11);
"""


@dataclass
class Two:
    """A source and a target, with a session on each."""

    source: Database
    target: Database
    blue: psycopg.Connection
    green: psycopg.Connection

    def look(self, tenant: str = ACME, **more) -> list[Finding]:
        return preflight(self.source, self.target, TenantId(tenant), **more)

    def refused(self, code: str, tenant: str = ACME, **more) -> Finding:
        """The one refusal with that code."""
        found = [f for f in refusals(self.look(tenant, **more)) if f.code == code]
        assert len(found) == 1, [f.message for f in found]
        assert found[0].next_step
        return found[0]


@pytest.fixture
def make_two(new_database: Callable[..., str]) -> Iterator[Callable[..., Two]]:
    opened: list[Two] = []

    def make(source: int = 18, target: int = 18, schema: str = SCHEMA, map_: OwnershipMap = MAP) -> Two:
        blue, green = (Database(name, name, new_database(major), map_)
                       for name, major in (("blue/postgres", source), ("green/postgres", target)))  # fmt: skip
        two = Two(blue, green, *(psycopg.connect(db.dsn, autocommit=True) for db in (blue, green)))
        opened.append(two)
        for conn in (two.blue, two.green):
            conn.execute(schema)
        if schema is SCHEMA:
            two.blue.execute(SOURCE)
            two.green.execute(TARGET)
        return two

    yield make
    for two in opened:
        two.source.close()
        two.target.close()
        two.blue.close()
        two.green.close()


@pytest.fixture
def two(make_two: Callable[..., Two]) -> Two:
    return make_two()


def by_code(found: list[Finding], code: str) -> list[Finding]:
    return [finding for finding in found if finding.code == code]
