"""The table that most benches use: documents of tenants, with large values and three indexes."""

from __future__ import annotations

import psycopg

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, OwnershipMap, Root

TENANT = "t-1"
DOCUMENTS = TableName("public", "documents")

OWNERSHIP = OwnershipMap(
    {TableName("public", "tenants"): Root("id"), DOCUMENTS: Direct("tenant_id")},
)

SCHEMA = """
CREATE TABLE public.tenants (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE public.documents (
    id         bigint PRIMARY KEY,
    tenant_id  text NOT NULL,
    title      text NOT NULL,
    body       text NOT NULL,
    meta       jsonb NOT NULL,
    score      double precision,
    revision   integer NOT NULL DEFAULT 0,
    flag       boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL
);
"""

#: With the primary key these make three.
INDEXES = """
CREATE INDEX documents_recent ON public.documents (tenant_id, updated_at);
CREATE INDEX documents_title ON public.documents (title);
"""

#: About 400 bytes a row; one row in fifty carries 6 kB that do not compress, so it lies in TOAST.
_ROW = """
SELECT i, %(tenant)s, 'document ' || md5(i::text),
       CASE WHEN i %% 50 = 0 THEN (SELECT string_agg(md5(i::text || k), '') FROM generate_series(1, 190) k)
            ELSE repeat(md5(i::text), 6) END,
       jsonb_build_object('source', 'upload', 'pages', i %% 90, 'language', 'en'),
       sqrt(i), 0, i %% 3 = 0, timestamptz '2026-01-01' + i * interval '1 second'
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) i
"""


def create(dsn: str, *, indexes: bool = True) -> None:
    """Make the tables, and the secondary indexes if wanted."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)
        if indexes:
            conn.execute(INDEXES)


def fill(dsn: str, rows: int, *, tenant: str = TENANT, first: int = 1) -> None:
    """Insert ``rows`` documents of the tenant with ids from ``first``, then analyse."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO public.tenants VALUES (%s, 'A tenant') ON CONFLICT DO NOTHING", (tenant,))
        conn.execute(
            "INSERT INTO public.documents " + _ROW,
            {"tenant": tenant, "first": first, "last": first + rows - 1},
        )
        conn.execute("VACUUM ANALYZE public.documents")
