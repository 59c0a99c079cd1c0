"""Fill the sample application with tenants of unequal size: the same rows on every run, by COPY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import sql

from tenant_lifecycle.sandbox.rows import COLUMNS, SampleRows
from tenant_lifecycle.sandbox.sample import RESIDENTS, TENANTS, SampleTenant, create_indexes, create_schema

#: First value of every sequence for residents of green: nobody who comes from blue has such an id.
RESIDENT_IDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """What `seed` wrote."""

    rows: int
    by_table: dict[str, int]


def seed(
    dsn: str, *, scale: float = 1.0, tenants: Sequence[SampleTenant] = TENANTS, first_id: int = 1
) -> Seeded:
    """Create the schema in the empty database at ``dsn`` and fill it; triggers do not fire.

    ``scale`` multiplies the 200,000 rows; however small, every tenant has rows in every table. Needs a superuser.
    """
    with psycopg.connect(dsn) as conn:
        create_schema(conn)
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute("SET LOCAL synchronous_commit = off")
        as_array = conn.execute("SELECT FROM pg_extension WHERE extname = 'vector'").fetchone() is None
        by_table = _copy(conn, SampleRows(scale, tenants, first_id, as_array))
        create_indexes(conn)
        conn.execute(files(__package__).joinpath("sequences.sql").read_bytes())
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ANALYZE")
    return Seeded(sum(by_table.values()), by_table)


def seed_residents(dsn: str, *, scale: float = 1.0) -> Seeded:
    """Create the schema with two tenants of its own: bigserial ids from `RESIDENT_IDS` on, and some people
    who also work for tenants of blue."""
    return seed(dsn, scale=scale, tenants=RESIDENTS, first_id=RESIDENT_IDS)


def _copy(conn: psycopg.Connection[tuple[object, ...]], sample: SampleRows) -> dict[str, int]:
    by_table: dict[str, int] = {}
    for table, rows in sample.everything():
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, COLUMNS[table]))
        )
        with conn.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
            by_table[table] = by_table.get(table, 0) + cursor.rowcount
    return by_table
