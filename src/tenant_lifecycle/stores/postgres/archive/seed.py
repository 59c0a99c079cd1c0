"""Fills the index from the database as it is at one moment; the slot must be there already, so that nothing is missed.

Transactions that the moment contains are skipped when they come in the stream: the archive begins here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.stores.postgres.archive.index import OwnerIndex
from tenant_lifecycle.stores.postgres.archive.routing import Bound, Router
from tenant_lifecycle.stores.postgres.backup.form import items_of
from tenant_lifecycle.stores.postgres.backup.snapshot import seeing_one_moment
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.copy import read_blocks
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql

_BEHIND = "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8, (extract(epoch FROM clock_timestamp()) * 1000000)::int8"


def seed(database: Database, router: Router, index: OwnerIndex, bounds: Sequence[Bound]) -> None:
    """Read what decides of every row, and note the moment: meta ``seen``, ``position``, ``begins`` and ``complete_us``.

    The stream is read from ``position`` on, which lies before the snapshot; what the snapshot sees is skipped. So a
    stretch of the log begins at ``begins``, which lies behind it: whatever was skipped is in no stretch.

    The caller saves. ``router`` must throw its ops away.
    """
    with seeing_one_moment(database) as (conn, moment):
        row = conn.execute(_BEHIND).fetchone()
        assert row is not None, "a SELECT without FROM has a row"
        for bound in bounds:
            if bound.rule.indexed:
                for item in _rows(database, conn, bound):
                    router.insert(bound, item.cells, whole=_whole(bound))
    index.set_meta("seen", _written(moment.snapshot))
    index.set_meta("position", str(moment.snapshot.lsn))
    index.set_meta("begins", str(row[0]))
    index.set_meta("complete_us", str(row[1]))


def seen(index: OwnerIndex) -> Snapshot | None:
    """What the index contained when it was filled; None: it never was."""
    text = index.meta("seen")
    if text is None:
        return None
    lsn, _, rest = text.partition(" ")
    return Snapshot.parse(rest, int(lsn))


def _written(snapshot: Snapshot) -> str:
    running = ",".join(str(one) for one in sorted(snapshot.running))
    return f"{snapshot.lsn} {snapshot.xmin}:{snapshot.xmax}:{running}"


def _rows(database: Database, conn: Connection, bound: Bound) -> Iterator[Item]:
    """Rows with the columns that decide; the others are NULL, but where a row's cells are kept."""
    rule = bound.rule
    needed = {name for way in rule.ways for name in way.columns} | set(rule.key)
    needed |= {name for look in rule.looks for name in look.columns}
    columns = sql.SQL(", ").join(
        sql.Identifier("t", one.name) if _whole(bound) or one.name in needed else sql.SQL("NULL")
        for one in bound.shape.columns
    )
    query = sql.SQL("COPY (SELECT {} FROM {} t) TO STDOUT").format(columns, table_sql(rule.name))
    return items_of(bound.shape, read_blocks(database.name, conn, query))


def _whole(bound: Bound) -> bool:
    return bound.rule.kept or not bound.rule.key
