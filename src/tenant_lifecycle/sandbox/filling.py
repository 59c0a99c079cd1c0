"""What the stores of a sandbox hold at first: rows by COPY, then objects, vectors and keys for the same documents.

Emulators forget everything when they end. What they held is made again from the rows, which are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from typing import Any

import psycopg

from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.sandbox.sample import DATABASE, create_indexes, create_schema
from tenant_lifecycle.sandbox.seed import seed, seed_residents
from tenant_lifecycle.sandbox.verifier import POSTGRES_GRANTS, POSTGRES_ROLE

#: Residents of green have so much of what they would have at the same scale.
_RESIDENT_SHARE = 0.05


class Fill(StrEnum):
    """What green has before anybody moves there."""

    #: An empty database: provisioning creates what is missing.
    EMPTY = "empty"
    #: The tables, and nobody in them.
    SCHEMA = "schema"
    #: The tables, and two tenants that live there and never move.
    RESIDENTS = "residents"


def fill_postgres(server: PostgresServer, green: Fill | None, scale: float) -> str:
    """Make the sample application's database; ``green`` None: with all tenants, as on blue. Say what is there now."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        # What was left by an attempt that did not come to its end.
        conn.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
        conn.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0".encode())
    dsn = server.dsn(DATABASE)
    if green is None:
        seed(dsn, scale=scale)
    elif green is Fill.RESIDENTS:
        seed_residents(dsn, scale=scale * _RESIDENT_SHARE)
    elif green is Fill.SCHEMA:
        with psycopg.connect(dsn) as conn:
            create_schema(conn)
            create_indexes(conn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(POSTGRES_ROLE.encode())
        conn.execute(POSTGRES_GRANTS.encode())
    return "tenants" if green is None else green.value


def fill_keyed(
    dsn: str,
    environment: str,
    stores: Mapping[str, Mapping[str, Any]],
    scale: float,
    filled: MutableMapping[str, str],
    processes: Mapping[str, int | None],
) -> None:
    """Fill what is empty among the keyed stores of one environment, and note it in ``filled``.

    ``stores``: settings by name. ``processes``: process ids of those that are empty whenever they are started.
    """
    from tenant_lifecycle.sandbox import seed_items

    for part, fill in seed_items.FILLERS.items():
        place, held = f"{environment}/{part}", f"pid {processes[part]}" if part in processes else "kept"
        if part in stores and filled.get(place) != held:
            with psycopg.connect(dsn) as conn:
                if conn.execute("SELECT to_regclass('public.documents')").fetchone() != (None,):
                    if place not in filled and part is Part.OBJECTS:
                        seed_items.choose_documents(conn, scale)
                    fill(conn, stores[part], scale)
            filled[place] = held
