"""The clock by which an environment's moments are told: the database's."""

from __future__ import annotations

from tenant_lifecycle.stores.postgres.database import Database


def now_us(database: Database) -> int:
    """Microseconds since 1970."""
    with database.session() as conn:
        row = conn.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8").fetchone()
    assert row is not None, "a SELECT without FROM has a row"
    return int(str(row[0]))
