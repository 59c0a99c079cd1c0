"""A tenant's base in memory, and a preview with it, for the tests of restoring rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import BaseReading, Preview, SetDiff, Writing
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore

KEY = b"k" * 32
A, B = TenantId("a"), TenantId("b")


def nothing() -> None:
    """A check that never objects."""


@dataclass(frozen=True)
class Base:
    """What was read of one tenant."""

    reading: BaseReading
    items: Mapping[str, list[Item]]

    @property
    def proofs(self) -> dict[str, Fingerprint]:
        return {name: fingerprint(KEY, some) for name, some in self.items.items()}


def read(store: PostgresStore, tenant: str = A) -> Base:
    with store.read_base(TenantId(tenant), nothing) as reading:
        return Base(reading, {name: list(reading.items(name)) for name in reading.shapes})


def load(store: PostgresStore, base: Base, tenant: str = A, name: str = "test") -> Preview:
    """A preview with all of the base."""
    preview = store.open_preview(TenantId(tenant), name, base.reading.shapes, base.reading.facts)
    for set_name, items in base.items.items():
        assert preview.load(set_name, items, nothing) == len(items)
    assert preview.fingerprints(KEY) == base.proofs
    return preview


def writing(tenant: str = A, token: int = 1) -> Writing:
    return Writing("test", TenantId(tenant), token)


def promote(preview: Preview, *sets: str, token: int = 1) -> Mapping[str, int]:
    """All sets, or these."""
    return preview.promote(writing(token=token), sets or None, nothing)


def unequal(preview: Preview) -> dict[str, tuple[int, int, int]]:
    """Sets that differ from what is live: restored only, live only, changed."""

    def counts(one: SetDiff) -> tuple[int, int, int]:
        return one.only_restored, one.only_live, one.changed

    return {one.set: counts(one) for one in preview.diff(3, nothing) if any(counts(one))}


def run(database: Database, *statements: str) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def ask(database: Database, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def every_row(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of the application, as text."""
    with database.session() as conn:
        return {
            str(name): conn.execute(
                sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(name.schema, name.name))
            ).fetchall()
            for name in database.tables()
        }
