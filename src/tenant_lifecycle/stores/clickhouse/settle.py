"""What deletions leave on a server for a while: hidden rows, parts that are not active any more, detached parts."""

from __future__ import annotations

import time
from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.clickhouse.server import WAITING, quoted, rows
from tenant_lifecycle.stores.clickhouse.slices import Map
from tenant_lifecycle.stores.erasing import Settled

#: Servers remove parts that are not active after old_parts_lifetime, 480 s by default; longer we do not wait at once.
PATIENCE_S = 20.0

#: A dropped partition leaves an empty part for a while; that one holds nothing.
_INACTIVE = """
SELECT database || '.' || table, name FROM system.parts
 WHERE NOT active AND rows > 0 AND has({tables:Array(String)}, database || '.' || table)
"""
_MASKED = """
SELECT DISTINCT database || '.' || table FROM system.parts
 WHERE active AND has_lightweight_delete AND has({tables:Array(String)}, database || '.' || table) ORDER BY 1
"""
_DETACHED = """
SELECT database || '.' || table, count() FROM system.detached_parts
 WHERE has({tables:Array(String)}, database || '.' || table) GROUP BY 1 ORDER BY 1
"""
_LOGS = """
SELECT name FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log' AND engine LIKE '%MergeTree' ORDER BY 1
"""


def settle(map_: Map, sets: Sequence[str], check: Check, patience_s: float = PATIENCE_S) -> Settled:
    """Apply masks of lightweight deletes, and wait for old parts to be removed; what stays is named."""
    done, left = [], []
    with map_.server.session() as client:
        tables = [one for one in sets if one in map_.tables(client)]
        # Where nothing is hidden, this would write every part anew for nothing.
        for (table,) in rows(client, _MASKED, {"tables": tables}):
            check()
            client.command(f"ALTER TABLE {quoted(str(table))} APPLY DELETED MASK", settings=WAITING)
            done.append(f"{table}: hidden rows removed")
        inactive = _wait(client, tables, patience_s, check)
        left += [
            f"{table}: {count} old parts are still on disk until old_parts_lifetime is over"
            for table, count in inactive
        ]
        detached = rows(client, _DETACHED, {"tables": tables})
        left += [f"{table}: {count} detached parts may hold deleted rows" for table, count in detached]
        logs = [str(one) for (one,) in rows(client, _LOGS)]
        if logs:
            left.append(f"texts of statements stay in system.{', system.'.join(logs)}: give them a TTL")
    return Settled(tuple(done), tuple(left))


def _wait(client: Client, tables: list[str], patience_s: float, check: Check) -> list[tuple[str, int]]:
    """Wait for the parts that are inactive now; others will be by then, and hold nothing that we deleted."""
    old = {(str(table), str(part)) for table, part in rows(client, _INACTIVE, {"tables": tables})}
    give_up = time.monotonic() + patience_s
    while old and time.monotonic() < give_up:
        check()
        time.sleep(min(1.0, patience_s / 10))
        old &= {(str(table), str(part)) for table, part in rows(client, _INACTIVE, {"tables": tables})}
    counts = {table: sum(1 for one, _ in old if one == table) for table, _ in old}
    return sorted(counts.items())
