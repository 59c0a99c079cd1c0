"""Pre-flight: how much would move, and whether there is room for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from psycopg import sql

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import Pair, Side, size_text
from tenant_lifecycle.stores.postgres.tables import Table
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

#: Rows, their indexes, and WAL and dead rows of the copy itself.
HEADROOM = 1.5


def check_room(pair: Pair) -> Iterator[Finding]:
    """Disk on the target, and WAL that slots may keep on the source, against an estimate of the tenant."""
    size = sum(estimate(pair.source, table)[1] for table in pair.source.moved)
    needed, free = int(size * HEADROOM), pair.target_free_bytes
    text = f"the tenant is about {size_text(size)} (estimated); the move needs {size_text(needed)}"
    if free is None:
        yield warn(
            pair.target.name, "pg.disk", f"{text}; SQL does not show how much disk is free",
            "look at the target's disk, or configure a hook that says",
        )  # fmt: skip
    elif free < needed:
        yield refuse(
            pair.target.name, "pg.disk", f"{text}, and {size_text(free)} of disk are free",
            "make room on the target's disk",
        )  # fmt: skip
    else:
        yield fine(pair.target.name, "pg.disk", f"{text}, and {size_text(free)} of disk are free")
    keep = pair.source.facts.slot_wal_keep_mb * 1_048_576
    if 0 <= keep < size:
        yield warn(
            pair.source.name, "pg.slot-wal-keep-size",
            f"max_slot_wal_keep_size is {size_text(keep)}, less than the tenant's {size_text(size)}:"
            " a mover that stands still during the copy loses the change feed",
            f"ALTER SYSTEM SET max_slot_wal_keep_size = '{max(1, 2 * size // 1_048_576)}MB';"
            " SELECT pg_reload_conf();",
        )  # fmt: skip


def estimate(side: Side, table: Table) -> tuple[int, int]:
    """Rows and bytes of the tenant in a table by the planner's statistics; touches no row."""
    query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {} t WHERE {}").format(
        table_sql(table.name), owned_rows(side.resolved, table.name, "t")
    )
    row = side.conn.execute(query).fetchone()
    assert row is not None, "EXPLAIN gives a row"
    plan = row[0] if isinstance(row[0], list) else json.loads(str(row[0]))
    rows = int(plan[0]["Plan"]["Plan Rows"])
    share = min(1.0, rows / max(table.estimated_rows, rows, 1))
    return rows, int(table.bytes * share)
