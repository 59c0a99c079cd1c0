"""The verifier's eyes on ClickHouse: every table of every database, hidden rows included, and what the server knows.

Whole tables are streamed to us as raw text; no identifier is in any question.
"""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.clickhouse.server import UNMASKED, Server, quoted, rows
from tenant_lifecycle.stores.erasing import Found, Looked, Place
from tenant_lifecycle.stores.tally import Tally

CATALOGUE = "catalogue"
_BLOCK, _OVERLAP = 4 << 20, 8 << 10

#: Those of the server itself have no rows of applications, but for its logs of what it was asked.
_TABLES = """
SELECT database || '.' || name, coalesce(total_bytes, 0) FROM system.tables
 WHERE NOT is_temporary AND NOT has(['INFORMATION_SCHEMA', 'information_schema'], database)
   AND engine NOT IN ('View', 'MaterializedView', 'LiveView', 'WindowView', 'Distributed', 'Merge')
   AND (database <> 'system' OR (name LIKE '%\\_log' AND engine LIKE '%MergeTree')) ORDER BY 1
"""
_TEXTS = {
    "database": "SELECT concat(name, ' ', comment) FROM system.databases",
    "table": "SELECT concat(name, ' ', comment, ' ', create_table_query) FROM system.tables WHERE database <> 'system'",
    "column": "SELECT concat(name, ' ', comment, ' ', default_expression) FROM system.columns WHERE database <> 'system'",
    "partition": "SELECT DISTINCT partition FROM system.parts WHERE active",
    "mutation": "SELECT command FROM system.mutations",
    "detached part": "SELECT coalesce(partition_id, name) FROM system.detached_parts",
    "dictionary": "SELECT concat(name, ' ', comment, ' ', source) FROM system.dictionaries",
    "function": "SELECT create_query FROM system.functions WHERE origin <> 'System'",
    "named collection": "SELECT name FROM system.named_collections",
    "user": "SELECT name FROM system.users UNION ALL SELECT name FROM system.roles",
}


def places(server: Server, declared: frozenset[str]) -> list[Place]:
    """Every table that this user can see, and the catalogue."""
    with server.session() as client:
        found = rows(client, _TABLES)
    return [
        Place(CATALOGUE, True),
        *(Place(str(one), one in declared, int(str(size))) for one, size in found),
    ]


def search(server: Server, place: Place, found: Found, check: Check) -> Looked:
    """Go through one place; what cannot be read is said."""
    tally = Tally(place.name, found)
    try:
        with server.session() as client:
            if place.name == CATALOGUE:
                _texts(tally, client, check)
            else:
                _rows(tally, client, place, check)
    except LifecycleError as exc:
        tally.could_not_read(str(exc))
    return tally.looked()


def _rows(tally: Tally, client: Client, place: Place, check: Check) -> None:
    proposal = "" if place.declared else f"{place.name}: {{column: tenant_id}}"
    # Only tables of this family can hide rows, and only they know the setting's columns.
    with client.raw_stream(f"SELECT * FROM {quoted(place.name)}", fmt="TSVRaw", settings=UNMASKED) as stream:
        end, number = b"", 0
        while piece := stream.read(_BLOCK):
            check()
            tally.look(f"piece {number}", end + piece, proposal)
            tally.items += piece.count(b"\n")
            end, number = piece[-_OVERLAP:], number + 1


def _texts(tally: Tally, client: Client, check: Check) -> None:
    for what, query in _TEXTS.items():
        check()
        try:
            texts = [(what, str(text).encode()) for (text,) in rows(client, query) if text]
        except Exception as exc:  # one table that cannot be read does not hide the others
            tally.could_not_read(f"{what}: {type(exc).__name__}")
            continue
        if texts:
            tally.look_through(texts)
