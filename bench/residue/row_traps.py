"""The traps of PostgreSQL, M1 to M12: pages, indexes, statistics, logs, slots, archives, and rows that hide."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg

from bench.residue.eyes import MARKER, TENANT, about, bytes_in, searched, warned
from bench.residue.rows import (
    ARCHIVE,
    LOGS,
    NAIVE,
    Rows,
    admin,
    count,
    erase,
    role,
    run,
    store_of,
    until_archived,
)
from bench.residue.trap import Seen, Trap
from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.settle import Physical
from tenant_lifecycle.stores.registry import open_store

Pair = tuple[Seen, Seen]
HITS = "hits"


def traps(rows: Rows) -> list[Trap]:
    """In the order of their numbers."""
    listed: list[tuple[str, str, str, Callable[[Rows], Pair]]] = [
        ("M1", "dead rows in pages, TOAST and indexes", "DELETE", partial(_files_of, ["docs"], ())),
        ("M2", "holes in pages; settings as they come, tables are not rewritten", "DELETE, VACUUM", _holes),
        (
            "M3",
            "statistics, materialised views, large objects",
            "DELETE, VACUUM FULL",
            partial(
                _files_of,
                ["pg_statistic", "pg_statistic_ext_data", "titles", "pg_largeobject"],
                ("VACUUM FULL docs",),
            ),
        ),
        ("M4", "statistics that a logical slot keeps", "DELETE, ANALYZE, VACUUM FULL pg_statistic", _pinned),
        ("M5", "statistics of a table that became empty", "DELETE all, ANALYZE", _empty),
        ("M6", "archived WAL", "DELETE", _archive),
        ("M7", "changes that a logical slot still delivers", "DELETE, VACUUM FULL", _slot),
        ("M8", "an older open snapshot", "DELETE, VACUUM FULL", _snapshot),
        ("M9", "row-level security hides the rows", "DELETE by a role with a policy", _hidden),
        ("M10", "a value in the server's log; its folder is a store of kind `folder`", "DELETE", _log),
        ("M11", "a compressed value that a scan of bytes misses", "DELETE, scan of the files", _compressed),
        ("M12", "the question itself in the server's log", "DELETE, SELECT ... LIKE", _question),
        ("2.1a", "a table that nobody declared", "DELETE", _undeclared),
        ("2.1b", "another database of the server", "DELETE", _elsewhere),
        ("2.1c", "a row that was only marked as deleted", "UPDATE ... SET deleted_at", _soft),
        ("2.1d", "history that a trigger writes while rows are deleted", "DELETE, history first", _history),
        ("2.1e", "a name in a comment", "DELETE", _comments),
        ("2.1f", "a prepared transaction", "DELETE, VACUUM FULL", _prepared),
    ]
    return [
        Trap(code, "PostgreSQL", what, naively, partial(measure, rows))
        for code, what, naively, measure in listed
    ]


def _naive(database: Database, *after: str) -> None:
    with admin(database) as conn:
        run(conn, *NAIVE, *after)


def _files_of(relations: list[str], after: tuple[str, ...], rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()
    _naive(here, *after)
    told = erase(there)
    with admin(here) as naive, admin(there) as ours:
        return (
            Seen(rows.hits(naive, *relations), HITS),
            Seen(rows.hits(ours, *relations), HITS, about(told, *relations)),
        )


def _holes(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()
    _naive(here, "VACUUM docs")
    told = erase(there, Physical.VACUUM)
    with admin(here) as naive, admin(there) as ours:
        return (
            Seen(rows.hits(naive, "docs"), HITS),
            Seen(rows.hits(ours, "docs"), HITS, about(told, "bytes of deleted rows")),
        )


def _with_slot(database: Database, measure: Callable[[psycopg.Connection], Seen]) -> Seen:
    with admin(database) as conn:
        run(conn, "ALTER TABLE docs REPLICA IDENTITY FULL", "CREATE PUBLICATION somebodys FOR TABLE docs")
        run(conn, "SELECT pg_create_logical_replication_slot('somebodys', 'pgoutput')")
        try:
            return measure(conn)
        finally:
            run(conn, "SELECT pg_drop_replication_slot('somebodys')")


def _pinned(rows: Rows) -> Pair:
    here, there = rows.database(TENANT), rows.database(TENANT)

    def naive(conn: psycopg.Connection) -> Seen:
        run(conn, *NAIVE, "ANALYZE", "VACUUM FULL pg_statistic")
        return Seen(rows.hits(conn, "pg_statistic"), HITS)

    def ours(conn: psycopg.Connection) -> Seen:
        told = about(erase(there), "somebodys")
        return Seen(rows.hits(conn, "pg_statistic"), HITS, told)

    return _with_slot(here, naive), _with_slot(there, ours)


def _slot(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()
    peek = (
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('somebodys', NULL, NULL, 'proto_version', '1', "
        f"'publication_names', 'somebodys') WHERE position('{MARKER}'::bytea IN data) > 0"
    )

    def naive(conn: psycopg.Connection) -> Seen:
        run(conn, *NAIVE, "VACUUM FULL docs")
        return Seen(count(conn, peek), "changes")

    def ours(conn: psycopg.Connection) -> Seen:
        told = about(erase(there), "somebodys")
        return Seen(count(conn, peek), "changes", told)

    return _with_slot(here, naive), _with_slot(there, ours)


def _empty(rows: Rows) -> Pair:
    here, there = rows.database(TENANT), rows.database(TENANT)
    known = f"SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND most_common_vals::text LIKE '%{MARKER}%'"
    _naive(here, "ANALYZE")
    told = erase(there)
    with admin(here) as naive, admin(there) as ours:
        run(ours, "ANALYZE")
        return (
            Seen(count(naive, known), "columns"),
            Seen(count(ours, known), "columns", about(told, "statistic")),
        )


def _archive(rows: Rows) -> Pair:
    def archived(delete: Callable[[Database], list[str]]) -> tuple[int, list[str]]:
        before = _in_archive(rows)
        told = delete(rows.database())
        return _in_archive(rows) - before, told

    def naive(database: Database) -> list[str]:
        _naive(database)
        return []

    (left, _), (ours, told) = archived(naive), archived(erase)
    return Seen(left, HITS), Seen(ours, HITS, about(told, "archived WAL"))


def _in_archive(rows: Rows) -> int:
    with psycopg.connect(rows.server.dsn(), autocommit=True) as conn:
        until_archived(conn, rows.server.data)
    return bytes_in(rows.server.data / ARCHIVE)


def _snapshot(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()

    def while_open(database: Database, delete: Callable[[], list[str]]) -> Seen:
        with psycopg.connect(database.dsn) as old, admin(database) as conn:
            old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            old.execute("SELECT 1")
            told = about(delete(), f"pid {old.info.backend_pid}")
            return Seen(rows.hits(conn, "docs"), HITS, told)

    def naive() -> list[str]:
        _naive(here, "VACUUM FULL docs")
        return []

    return while_open(here, naive), while_open(there, lambda: erase(there))


def _hidden(rows: Rows) -> Pair:
    database = rows.database()
    with admin(database) as conn:
        run(
            conn,
            "ALTER TABLE docs ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON docs USING (tenant_id = current_setting('app.tenant', true))",
        )
        with role(database, "NOBYPASSRLS") as small:
            with admin(small) as blind:
                run(blind, "DELETE FROM docs WHERE tenant_id = 'acme'")
            told = about(warned(store_of(small)), "row-security", "row-level security", "rls")
        left = count(conn, "SELECT count(*) FROM docs WHERE tenant_id = 'acme'")
    return Seen(left, "rows"), Seen(left, "rows", told)


def _log(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()
    for database in (here, there):
        with admin(database) as conn:
            with suppress(psycopg.errors.UniqueViolation):
                run(conn, f"INSERT INTO tenants VALUES ('acme', '{MARKER}')")
    _naive(here)
    erase(there)
    folder = open_store(
        "folder", name="logs", environment="blue", settings={"path": str(rows.server.data / LOGS)},
        ownership=OwnershipMap(keys={"logs": KeyMap(globals=(Template.parse("nothing"),))}),
    )  # fmt: skip
    return Seen(rows.logged(), HITS), Seen(
        rows.logged(), HITS, about(searched(folder), "search finds", "could not read")
    )


def _compressed(rows: Rows) -> Pair:
    database = rows.database(TENANT)
    with admin(database) as conn:
        run(
            conn,
            f"CREATE TABLE packed AS SELECT repeat('ab ', 3000) || '{MARKER[:10]}' || '{MARKER[10:]}' AS x",
        )
        run(conn, *NAIVE, "VACUUM FULL docs")
        seen = rows.hits(conn, "packed")
    told = about(searched(store_of(database), ".packed"), "packed")
    unit = f"value, of which a scan of the files finds {seen}"
    return Seen(1, unit), Seen(1, unit, told)


def _question(rows: Rows) -> Pair:
    database = rows.database(TENANT)
    store = store_of(database)
    with admin(database) as conn:
        run(conn, *NAIVE, f"ALTER DATABASE {conn.info.dbname} SET log_statement = 'all'")
        name = conn.info.dbname
    before = rows.logged()
    searched(store, f"{name}.")
    ours = rows.logged() - before
    with admin(database) as conn:
        run(conn, f"SELECT count(*) FROM docs WHERE title LIKE '{MARKER}%'")
    return Seen(rows.logged() - before - ours, HITS), Seen(ours, HITS)


def _undeclared(rows: Rows) -> Pair:
    database = rows.database()
    with admin(database) as conn:
        run(
            conn,
            "CREATE SCHEMA shadow",
            f"CREATE TABLE shadow.exports AS SELECT '{MARKER}'::text AS x",
            *NAIVE,
        )
        left = count(conn, "SELECT count(*) FROM shadow.exports")
    told = [*warned(store_of(database)), *searched(store_of(database), "shadow.")]
    return Seen(left, "rows"), Seen(left, "rows", about(told, "shadow.exports"))


def _elsewhere(rows: Rows) -> Pair:
    database, other = rows.database(), rows.database(TENANT)
    _naive(database)
    with admin(other) as conn:
        left = count(conn, "SELECT count(*) FROM docs WHERE tenant_id = 'acme'")
        name = conn.info.dbname
    return Seen(left, "rows"), Seen(
        left, "rows", "; ".join(searched(store_of(database), f"{name}.public.docs"))
    )


def _soft(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()
    marked = "UPDATE docs SET deleted_at = now() WHERE tenant_id = 'acme'"
    rest = "SELECT count(*) FROM docs WHERE tenant_id = 'acme'"
    with admin(here) as naive, admin(there) as ours:
        run(naive, marked)
        run(ours, marked)
        told = erase(there)
        return Seen(count(naive, rest), "rows"), Seen(count(ours, rest), "rows", about(told, "docs"))


def _history(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()
    rest = "SELECT count(*) FROM history WHERE tenant_id = 'acme'"
    with admin(here) as naive, admin(there) as ours:
        for conn in (naive, ours):
            run(
                conn,
                "CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "INSERT INTO public.history (tenant_id, was) VALUES (OLD.tenant_id, OLD.title); RETURN OLD; END $$",
                "CREATE TRIGGER remember BEFORE DELETE ON docs FOR EACH ROW EXECUTE FUNCTION remember()",
            )
        run(naive, NAIVE[2], *NAIVE[:2], NAIVE[3])
        told = erase(there)
        return Seen(count(naive, rest), "rows"), Seen(count(ours, rest), "rows", about(told, "history"))


def _comments(rows: Rows) -> Pair:
    database = rows.database()
    with admin(database) as conn:
        run(conn, f"COMMENT ON TABLE docs IS 'of {MARKER}'", *NAIVE)
        left = count(conn, f"SELECT count(*) FROM pg_description WHERE description LIKE '%{MARKER}%'")
        name = conn.info.dbname
    return Seen(left, "names"), Seen(
        left, "names", about(searched(store_of(database), f"{name} catalogue"), name)
    )


def _prepared(rows: Rows) -> Pair:
    here, there = rows.database(), rows.database()

    def while_prepared(database: Database, delete: Callable[[], list[str]]) -> Seen:
        with admin(database) as conn:
            run(conn, "BEGIN", "INSERT INTO history (was) VALUES ('open')", "PREPARE TRANSACTION 'forgotten'")
            try:
                told = about(delete(), "forgotten")
                return Seen(rows.hits(conn, "docs"), HITS, told)
            finally:
                run(conn, "ROLLBACK PREPARED 'forgotten'")

    def naive() -> list[str]:
        _naive(here, "VACUUM FULL docs")
        return []

    return while_prepared(here, naive), while_prepared(there, lambda: erase(there))
