"""Traps of PostgreSQL: a server, and a database of its own for each deletion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from bench.residue.eyes import ERASING, MARKER, NEIGHBOUR, TENANT, THEIRS, bytes_in, proceed, said
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, OwnershipMap, Root
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.options import read_options
from tenant_lifecycle.stores.postgres.settle import Physical, settle
from tenant_lifecycle.stores.postgres.store import PostgresStore

MAP = OwnershipMap(
    {
        TableName.parse("tenants"): Root("id"),
        TableName.parse("docs"): Direct("tenant_id"),
        TableName.parse("files"): Direct("tenant_id"),
        TableName.parse("history"): Direct("tenant_id"),
    }
)
SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY, name text);
CREATE TABLE docs (id bigserial PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants, title text, body text,
                   deleted_at timestamptz);
ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
CREATE INDEX docs_title ON docs (title);
CREATE STATISTICS docs_ext (mcv) ON tenant_id, title FROM docs;
CREATE TABLE files (id bigserial PRIMARY KEY, tenant_id text NOT NULL, object oid);
CREATE TABLE history (id bigserial PRIMARY KEY, tenant_id text, was text);
CREATE MATERIALIZED VIEW titles AS SELECT string_agg(DISTINCT title, ',') AS everything FROM docs;
"""
#: The server's own log and its archive of WAL, inside its data folder.
LOGS, ARCHIVE = "logs", "archive"
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "wal_level": "logical",
    "max_prepared_transactions": "2",
    "logging_collector": "on",
    "log_directory": LOGS,
    "archive_mode": "on",
}
_ARCHIVING = f"ALTER SYSTEM SET archive_command = 'mkdir -p {ARCHIVE} && cp %p {ARCHIVE}/%f'"
NAIVE = (
    "DELETE FROM files WHERE tenant_id = 'acme'",
    "DELETE FROM docs WHERE tenant_id = 'acme'",
    "DELETE FROM history WHERE tenant_id = 'acme'",
    "DELETE FROM tenants WHERE id = 'acme'",
)


@dataclass
class Rows:
    """The server, and what a trap needs of it."""

    server: PostgresServer
    #: Documents of each tenant.
    size: int
    made: list[Database] = field(default_factory=list)

    def database(self, *tenants: str) -> Database:
        """A new database with rows of these tenants, interleaved; of both if none is named."""
        name = f"residue_{len(self.made)}"
        with psycopg.connect(self.server.dsn(), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        with psycopg.connect(self.server.dsn(name), autocommit=True) as conn:
            conn.execute(SCHEMA)
            for tenant in tenants or (TENANT, NEIGHBOUR):
                self._fill(conn, tenant)
            conn.execute("REFRESH MATERIALIZED VIEW titles")
            conn.execute("ANALYZE")
        self.made.append(Database("blue/postgres", "blue", self.server.dsn(name), MAP))
        return self.made[-1]

    def _fill(self, conn: psycopg.Connection, tenant: str) -> None:
        values = {"t": tenant, "m": MARKER if tenant == TENANT else THEIRS, "n": self.size}
        conn.execute("INSERT INTO tenants VALUES (%(t)s, %(m)s)", values)
        conn.execute(
            "INSERT INTO docs (tenant_id, title, body) SELECT %(t)s, %(m)s || ' ' || i %% 4, "
            "repeat(%(m)s || ' ', 397) FROM generate_series(1, %(n)s) i",
            values,
        )
        conn.execute(
            "INSERT INTO files (tenant_id, object) SELECT %(t)s, lo_from_bytea(0, convert_to(%(m)s, 'UTF8')) "
            "FROM generate_series(1, 3)",
            values,
        )

    def hits(self, conn: psycopg.Connection, *relations: str) -> int:
        """The marker in the files of tables, of their TOAST tables, and of their indexes."""
        conn.execute("CHECKPOINT")
        paths = conn.execute(
            "SELECT pg_relation_filepath(c.oid) FROM pg_class c, unnest(%s::text[]) r WHERE c.oid = r::regclass "
            "OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = r::regclass) "
            "OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = r::regclass)",
            (list(relations),),
        ).fetchall()
        return sum(bytes_in(Path(self.server.data, str(path))) for (path,) in paths)

    def logged(self) -> int:
        """The marker in the server's log."""
        return bytes_in(Path(self.server.data, LOGS))


def run(conn: psycopg.Connection, *statements: str) -> None:
    """Each in a transaction of its own."""
    for statement in statements:
        conn.execute(statement.encode())


def count(conn: psycopg.Connection, query: str) -> int:
    """The number that a query gives."""
    row = conn.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


def erase(database: Database, physical: Physical = Physical.REWRITE, patience_s: float = 0.5) -> list[str]:
    """Ours; what it says is left."""
    store = store_of(database, physical)
    batches = list(store.doomed(TENANT, proceed))
    for batch in batches:
        store.erase(ERASING, batch, proceed)
    return said(settle(database, ERASING, [one.set for one in batches], proceed, physical, patience_s))


def store_of(database: Database, physical: Physical = Physical.REWRITE) -> PostgresStore:
    """The store as it is configured with that policy."""
    return PostgresStore(database, read_options(database.name, {"physical": physical.value}))


@contextmanager
def served(folder: Path, size: int) -> Iterator[Rows]:
    """A server with its log and its archive in files."""
    with PostgresServer(18, folder / "postgres", settings=SETTINGS) as server:
        rows = Rows(server, size)
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            run(conn, _ARCHIVING, "SELECT pg_reload_conf()")
        try:
            yield rows
        finally:
            for one in rows.made:
                one.close()


@contextmanager
def admin(database: Database) -> Iterator[psycopg.Connection]:
    """A connection that commits by itself."""
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        yield conn


@contextmanager
def role(database: Database, attributes: str) -> Iterator[Database]:
    """The same database for a role that may read and delete everything and has no more rights than these."""
    with admin(database) as conn:
        run(
            conn,
            f"CREATE ROLE small LOGIN {attributes}",
            "GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO small",
        )
        small = Database(database.name, "blue", conninfo.make_conninfo(database.dsn, user="small"), MAP)
        try:
            yield small
        finally:
            small.close()
            run(conn, "DROP OWNED BY small", "DROP ROLE small")


def until_archived(conn: psycopg.Connection, folder: Path, timeout_s: float = 15.0) -> None:
    """Switch the WAL and wait until it is in the archive."""
    conn.execute("SELECT pg_logical_emit_message(false, 'residue', 'a file without content is not switched')")
    (wal,) = conn.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone() or ("",)
    deadline = time.monotonic() + timeout_s
    while not (folder / ARCHIVE / str(wal)).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{wal} was not archived in {timeout_s:.0f} s")
        time.sleep(0.05)
