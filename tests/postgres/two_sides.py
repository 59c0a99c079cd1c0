"""Two databases with the same tables, for tests of everything that compares one with the other."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.base import Difference, Feed
from tenant_lifecycle.stores.postgres import ours
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.digests import compare, sets
from tenant_lifecycle.stores.postgres.keycheck import compare_keys
from tenant_lifecycle.stores.postgres.repair import repair

ACME = TenantId("acme")


@dataclass
class TwoSides:
    """A source and a target, and one tenant."""

    source: Database
    target: Database
    tenant: TenantId = ACME

    @property
    def feed(self) -> Feed:
        return Feed("tl_test_fwd", self.tenant, 1)

    def on_both(self, *statements: str) -> None:
        for side in (self.source, self.target):
            self.on(side, *statements)

    def on(self, side: Database, *statements: str) -> None:
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            conn.execute("SET timezone = 'UTC'")
            for statement in statements:
                conn.execute(statement)

    def ask(self, side: Database, query: str) -> list[tuple]:
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            return conn.execute(query).fetchall()

    def suspects(self, *names: str) -> Mapping[str, frozenset[bytes]]:
        found: dict[str, frozenset[bytes]] = {}
        for name in names or sets(self.source, self.tenant):
            found.update(compare(self.source, self.target, self.tenant, name, lambda: None).suspects)
        return found

    def differences(self, *names: str) -> list[Difference]:
        return compare_keys(self.source, self.target, self.tenant, self.suspects(*names))

    def repair(self) -> int:
        return repair(self.source, self.target, self.feed, self.suspects())


@contextmanager
def two_sides(
    pg_servers: Callable[[int], PostgresServer],
    versions: tuple[int, int],
    map_: OwnershipMap,
    *,
    options: tuple[str, str] = ("", ""),
) -> Iterator[TwoSides]:
    """New databases on servers of these versions, with our schema in the target; dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    names = (f"{name}_a", f"{name}_b")
    servers = [pg_servers(version) for version in versions]
    for server, database, option in zip(servers, names, options, strict=True):
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{database}" TEMPLATE template0 {option}')
    source = Database("blue/postgres", "blue", servers[0].dsn(names[0]), map_)
    target = Database("green/postgres", "green", servers[1].dsn(names[1]), map_)
    for side in (source, target):
        with psycopg.connect(side.dsn, autocommit=True) as conn:
            ours.install(conn)
    try:
        yield TwoSides(source, target)
    finally:
        source.close()
        target.close()
        for server, database in zip(servers, names, strict=True):
            with psycopg.connect(server.dsn(), autocommit=True) as conn:
                conn.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
