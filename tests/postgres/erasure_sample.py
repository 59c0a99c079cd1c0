"""A tenant with everything that makes deleting rows hard, a neighbour in the same pages, and eyes for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.erasing import Erasing, Match, Whose
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.doomed import doomed
from tenant_lifecycle.stores.postgres.erase import erase
from tenant_lifecycle.stores.postgres.owned import table_sql

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("users"): Shared(T("members"), "user_id", "id"),
        T("members"): Direct("tenant_id"),
        T("docs"): Direct("tenant_id"),
        T("folders"): Direct("tenant_id"),
        T("chats"): Via((Hop(("doc_id",), T("docs"), ("id",)),)),
        T("messages"): Via((Hop(("chat_id",), T("chats"), ("id",)),)),
        T("events"): Direct("tenant_id"),
        T("notes"): Direct("tenant_id"),
        T("files"): Direct("tenant_id"),
        T("history"): Direct("tenant_id"),
        T("plans"): Global(),
    }
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY, name text, head_folder bigint);
CREATE TABLE users (id bigint PRIMARY KEY, email text UNIQUE);
CREATE TABLE members (tenant_id text NOT NULL REFERENCES tenants, user_id bigint NOT NULL, PRIMARY KEY (tenant_id, user_id));
CREATE TABLE docs (id bigserial PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants, title text, body text,
                   plain text, extra jsonb);
ALTER TABLE docs ALTER plain SET STORAGE EXTERNAL;
CREATE INDEX docs_title ON docs (title);
CREATE TABLE folders (id bigserial PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants, parent bigint REFERENCES folders,
                      name text);
ALTER TABLE tenants ADD FOREIGN KEY (head_folder) REFERENCES folders;
CREATE TABLE chats (id bigserial PRIMARY KEY, doc_id bigint NOT NULL REFERENCES docs ON DELETE CASCADE);
CREATE TABLE messages (chat_id bigint NOT NULL REFERENCES chats, no int, body text, PRIMARY KEY (chat_id, no));
CREATE TABLE events (tenant_id text NOT NULL, id int, what text, PRIMARY KEY (tenant_id, id)) PARTITION BY LIST (tenant_id);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE notes (tenant_id text NOT NULL, body text, t int);
CREATE TABLE files (id bigserial PRIMARY KEY, tenant_id text NOT NULL, object oid);
CREATE TABLE history (id bigserial PRIMARY KEY, tenant_id text, was jsonb);
CREATE TABLE plans (id int PRIMARY KEY, name text);
CREATE MATERIALIZED VIEW titles AS SELECT tenant_id, count(*) AS n, max(title) AS last FROM docs GROUP BY 1;
CREATE MATERIALIZED VIEW titles_of_all AS SELECT string_agg(last, ',') AS everything FROM titles;
CREATE STATISTICS docs_ext (mcv) ON tenant_id, title FROM docs;
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.history (tenant_id, was) VALUES (OLD.tenant_id, to_jsonb(OLD)); RETURN OLD; END $$;
CREATE TRIGGER remember BEFORE DELETE ON docs FOR EACH ROW EXECUTE FUNCTION remember();
"""
A, B = TenantId("acme"), TenantId("acme2")


#: Stands in every value of a tenant; the neighbour's begins with ours.
def marker(tenant: str) -> str:
    return f"mark<{tenant}>"


def nothing() -> None:
    """A check that never objects."""


def erasing(tenant: str = A, token: int = 1, name: str = "erase_test") -> Erasing:
    return Erasing(name, TenantId(tenant), token)


def sample(dsn: str, tenants: Sequence[str] = (A, B), docs: int = 40) -> Database:
    """The schema with rows of each tenant, interleaved; user 1 is everybody's."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)
        conn.execute("INSERT INTO users VALUES (1, 'everybody@testdomain.example')")
        for number, tenant in enumerate(tenants):
            _tenant(conn, tenant, number)
        for doc in range(docs):
            for tenant in tenants:
                _doc(conn, tenant, doc)
        conn.execute("REFRESH MATERIALIZED VIEW titles; REFRESH MATERIALIZED VIEW titles_of_all")
        conn.execute("ANALYZE")
    return Database("blue/postgres", "blue", dsn, MAP)


def _tenant(conn: psycopg.Connection, tenant: str, number: int) -> None:
    mark = marker(tenant)
    conn.execute("INSERT INTO tenants VALUES (%s, %s)", (tenant, mark))
    conn.execute("INSERT INTO users VALUES (%s, %s)", (100 + number, f"{mark}@testdomain.example"))
    conn.execute("INSERT INTO members VALUES (%(t)s, 1), (%(t)s, %(u)s)", {"t": tenant, "u": 100 + number})
    conn.execute(
        sql.SQL("CREATE TABLE {} PARTITION OF events FOR VALUES IN ({})").format(
            sql.Identifier(f"events_{number}"), sql.Literal(tenant)
        )
    )
    conn.execute("INSERT INTO events SELECT %s, i, %s FROM generate_series(1, 20) i", (tenant, mark))
    conn.execute(
        "WITH f AS (INSERT INTO folders (tenant_id, name) VALUES (%(t)s, %(m)s) RETURNING id), "
        "c AS (INSERT INTO folders (tenant_id, parent, name) SELECT %(t)s, id, 'child' FROM f) "
        "UPDATE tenants SET head_folder = f.id FROM f WHERE tenants.id = %(t)s",
        {"t": tenant, "m": mark},
    )
    conn.execute(
        "UPDATE folders SET parent = (SELECT max(id) FROM folders WHERE tenant_id = %(t)s) "
        "WHERE tenant_id = %(t)s AND parent IS NULL",
        {"t": tenant},
    )  # a cycle
    conn.execute(
        "INSERT INTO files (tenant_id, object) SELECT %(t)s, lo_from_bytea(0, convert_to(%(m)s, 'UTF8')) "
        "FROM generate_series(1, 2)",
        {"t": tenant, "m": mark},
    )


def _doc(conn: psycopg.Connection, tenant: str, doc: int) -> None:
    mark = marker(tenant)
    values = {"t": tenant, "m": mark, "title": f"{mark} {doc % 4}", "long": f"{mark} " * 1500}
    conn.execute(
        "WITH d AS (INSERT INTO docs (tenant_id, title, body, plain, extra) VALUES (%(t)s, %(title)s, "
        "%(long)s, %(long)s, jsonb_build_object('m', %(m)s::text)) RETURNING id), "
        "c AS (INSERT INTO chats (doc_id) SELECT id FROM d RETURNING id) "
        "INSERT INTO messages SELECT c.id, i, %(m)s FROM c, generate_series(1, 3) i",
        values,
    )
    conn.execute("INSERT INTO notes VALUES (%(t)s, %(m)s), (%(t)s, %(m)s)", values)


def found(*markers: str, control: str | None = None) -> Callable[[bytes], list[Match]]:
    """Eyes that know some texts, plain; the real ones decode as well."""

    def look(data: bytes) -> list[Match]:
        matches = [
            Match(Whose.TENANT, f"id/{n}", "plain") for n, one in enumerate(markers) if one.encode() in data
        ]
        if control is not None and control.encode() in data:
            matches.append(Match(Whose.CONTROL, "control", "plain"))
        return matches

    return look


def erase_all(database: Database, tenant: str = A, *, batch_keys: int = 5000, token: int = 1) -> list[Batch]:
    """Freeze the manifest, then delete it all; returns the manifest."""
    manifest = list(doomed(database, TenantId(tenant), nothing, batch_keys))
    for batch in manifest:
        erase(database, erasing(tenant, token), batch, nothing)
    return manifest


def rows_of_others(database: Database, tenant: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table in which the tenant is not, as text, and all large objects of others."""
    with psycopg.connect(database.dsn) as conn:
        kept = {
            str(name): conn.execute(
                sql.SQL("SELECT t::text FROM {} t WHERE position(%s IN t::text) = 0 ORDER BY 1").format(
                    table_sql(name)
                ),
                (marker(tenant),),
            ).fetchall()
            for name in MAP.tables
            if name.name not in ("members", "tenants", "folders", "files", "chats", "events")
        }
        kept["files"] = conn.execute(
            "SELECT f::text, lo_get(f.object) FROM files f WHERE tenant_id <> %s ORDER BY 1", (tenant,)
        ).fetchall()
        for table in ("members", "events", "folders"):
            kept[table] = conn.execute(
                sql.SQL("SELECT t::text FROM {} t WHERE tenant_id <> %s ORDER BY 1").format(
                    sql.Identifier(table)
                ),
                (tenant,),
            ).fetchall()
    return kept
