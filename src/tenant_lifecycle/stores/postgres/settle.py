"""Bringing deleted rows out of what stays behind: pages, indexes, TOAST, materialised views, statistics.

Two policies. ``vacuum``: nobody waits for us, space of deleted rows is free, and their bytes stay in it until it is
used again; that is said. ``rewrite``: tables are written anew under a lock that shuts everybody out of them while
it lasts; for a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
from psycopg import errors as pg
from psycopg import sql

from tenant_lifecycle.model.erasure.manifest import PARTITION
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erasing, Settled
from tenant_lifecycle.stores.postgres import erasable, leftovers, pinned
from tenant_lifecycle.stores.postgres.close import take_over
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.locking import LOCK_MS, persistently
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.readers import materialised_readers
from tenant_lifecycle.stores.postgres.references import dangling
from tenant_lifecycle.stores.postgres.stale_statistics import clear_statistics
from tenant_lifecycle.stores.postgres.statements import reset_statements
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA, read_tables

#: Where names and texts of what was dropped stand.
_NAMING_CATALOGUES = (
    "pg_namespace", "pg_class", "pg_attribute", "pg_attrdef", "pg_type", "pg_constraint", "pg_proc", "pg_rewrite",
    "pg_trigger", "pg_description",
)  # fmt: skip
#: Where values of columns stand as statistics; an old version of a row of these holds what was deleted.
_STATISTICS = ("pg_statistic", "pg_statistic_ext_data")
#: How long transactions from before the deletion are waited for, and locks asked for, seconds.
PATIENCE_S = 10.0


class Physical(StrEnum):
    """What is done about the bytes of deleted rows."""

    VACUUM = "vacuum"
    REWRITE = "rewrite"


@dataclass
class _Work:
    """One settling: its session, and what came of it."""

    conn: Connection
    store: str
    physical: Physical
    patience_s: float
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Do it; what the server forbids, or is not free in time, is left and named."""
        complaints: list[str] = []

        def listen(notice: psycopg.errors.Diagnostic) -> None:
            if notice.severity_nonlocalized == "WARNING":
                complaints.append(str(notice.message_primary))

        self.conn.add_notice_handler(listen)
        try:
            act()
        except (pg.InsufficientPrivilege, pg.LockNotAvailable, pg.DeadlockDetected) as exc:
            complaints.append(str(exc.diag.message_primary))
        finally:
            self.conn.remove_notice_handler(listen)
        if complaints:
            self.left.append(f"{what}: {'; '.join(complaints)}")
        else:
            self.done.append(what)
        return not complaints

    def run(self, what: str, statement: sql.Composed) -> bool:
        """A statement whose locks are asked for with a short time-out, again and again."""
        return self.attempt(what, lambda: persistently(self.conn, statement, self.patience_s))


def settle(
    database: Database,
    erasing: Erasing,
    sets: Sequence[str],
    check: Check,
    physical: Physical = Physical.VACUUM,
    patience_s: float = PATIENCE_S,
) -> Settled:
    """Everything that follows the deletion of these sets; bears repetition.

    Raises:
        Fenced: a newer driver was here.
    """
    with translating(database.name), database.connect("erasure settles") as conn:
        take_over(conn, erasing)
        work = _Work(conn, database.name, physical, patience_s)
        work.left += leftovers.clear(conn, database, erasing)
        conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_MS}ms",))
        snapshots = pinned.wait_for_snapshots(conn, pinned.now(conn), patience_s, check)
        relations = touched(conn, sets)
        for name in relations:
            check()
            _reclaim(work, name)
        check()
        views = _refresh(work, relations)
        _statistics(work, [*relations, *views])
        if reset := reset_statements(conn, erasing.tenant):
            work.done.append(f"{reset} texts of statements forgotten")
        work.attempt("checkpoint", lambda: conn.execute("CHECKPOINT"))
        check()
        work.left += dangling(conn, relations)
        work.left += [*snapshots, *pinned.pins(conn)]
        return Settled(tuple(work.done), tuple(work.left), _traces(physical, relations))


def _traces(physical: Physical, relations: Sequence[TableName]) -> tuple[str, ...]:
    if physical is Physical.REWRITE or not relations:
        return ()
    return (
        f"bytes of deleted rows stay in free space of {len(relations)} tables and their indexes until it is used "
        "again; physical: rewrite removes them",
    )


def touched(conn: Connection, sets: Sequence[str]) -> list[TableName]:
    """The relations with storage that the sets are in and that still are there: leaves for partitioned tables."""
    tables = read_tables(conn)
    known = erasable.row_sets(tables)
    found: list[TableName] = [TableName(OUR_SCHEMA, "planted"), TableName(OUR_SCHEMA, "applied")]
    for name in sets:
        rows = known.get(name)
        if rows is not None:
            found += [rows.table.name, *rows.table.partitions]
        elif name == erasable.LARGE_OBJECTS:
            found.append(TableName("pg_catalog", "pg_largeobject"))
        elif PARTITION in name:
            # The partition is gone; its table has statistics over all of them.
            found += [t for t in tables if name.startswith(f"{t}{PARTITION}")]
        if rows is None and name not in (erasable.LARGE_OBJECTS, erasable.PLANTED):
            found += [TableName("pg_catalog", one) for one in _NAMING_CATALOGUES]
    return list(dict.fromkeys(found))


def _reclaim(work: _Work, name: TableName) -> None:
    if work.physical is Physical.REWRITE:
        work.run(f"{name} written anew", sql.SQL("VACUUM (FULL, ANALYZE) {}").format(table_sql(name)))
    else:
        work.run(f"{name} vacuumed", sql.SQL("VACUUM (ANALYZE) {}").format(table_sql(name)))


def _refresh(work: _Work, relations: Sequence[TableName]) -> list[TableName]:
    """Fill views that read the relations anew; returns their names."""
    views = materialised_readers(work.conn, relations)
    for view in views:
        concurrently = work.physical is Physical.VACUUM and view.can_concurrently
        refresh = (
            "REFRESH MATERIALIZED VIEW CONCURRENTLY {}" if concurrently else "REFRESH MATERIALIZED VIEW {}"
        )
        work.run(f"{view.name} refreshed", sql.SQL(refresh).format(table_sql(view.name)))
        _reclaim(work, view.name)
    return [view.name for view in views]


def _statistics(work: _Work, relations: Sequence[TableName]) -> None:
    cleared: list[str] = []
    work.attempt(
        "statistics of empty tables cleared", lambda: cleared.extend(clear_statistics(work.conn, relations))
    )
    work.done += [f"statistics of {name} cleared" for name in cleared]
    for catalogue in _STATISTICS:
        _reclaim(work, TableName("pg_catalog", catalogue))
