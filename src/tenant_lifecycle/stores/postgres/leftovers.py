"""What earlier operations of ours left about a tenant in a data database: rows of feeds, slots, publications."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.erasing import Erasing
from tenant_lifecycle.stores.postgres.close import is_tombstone
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.feed.slots import drop_feed
from tenant_lifecycle.stores.postgres.fence import fence_row
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA

#: Tables of ours that say whom they are about, or which feed; asked of the catalogue, so none is forgotten.
_COLUMNS = """
SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND a.attname IN ('tenant', 'feed')
   AND c.relname <> 'fence' AND NOT a.attisdropped ORDER BY 2 DESC, 1
"""


def clear(conn: Connection, database: Database, erasing: Erasing) -> Iterator[str]:
    """Delete rows about the tenant in our own schema, and slots of its feeds; says what stays, one line each.

    Only where the tenant is closed for good: a move that is being finished still needs them.
    """
    row = fence_row(database, erasing.tenant)
    if row is None or not is_tombstone(row):
        return
    feeds = [feed for feed in _feeds(conn, erasing.tenant) if feed != erasing.name]
    for feed in feeds:
        active = conn.execute(
            "SELECT active FROM pg_replication_slots WHERE slot_name = %s", (feed,)
        ).fetchone()
        if active == (True,):
            yield f"slot {feed} of an earlier move is being read"
            continue
        drop_feed(database, Feed(feed, erasing.tenant, erasing.token))
    for table, column in conn.execute(_COLUMNS, (OUR_SCHEMA,)).fetchall():
        delete = sql.SQL("DELETE FROM {} WHERE {} = ANY (%s)").format(
            sql.Identifier(OUR_SCHEMA, str(table)), sql.Identifier(str(column))
        )
        conn.execute(delete, ([str(erasing.tenant)] if column == "tenant" else feeds,))


def _feeds(conn: Connection, tenant: TenantId) -> list[str]:
    found: set[str] = set()
    for table in ("applied", "journaled"):
        if conn.execute("SELECT to_regclass(%s)", (f"{OUR_SCHEMA}.{table}",)).fetchone() != (None,):
            query = sql.SQL("SELECT feed FROM {} WHERE tenant = %s").format(sql.Identifier(OUR_SCHEMA, table))
            found |= {str(feed) for (feed,) in conn.execute(query, (tenant,))}
    return sorted(found)
