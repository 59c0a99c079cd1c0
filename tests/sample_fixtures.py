"""The sample application in databases of a test's own, copied from templates that are filled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest

from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.sandbox.environment import Fill
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.sandbox.sample import SAMPLE_MAP, create_indexes, create_schema
from tenant_lifecycle.sandbox.seed import seed, seed_residents

#: Rows of the sample application in tests, against the demonstration's.
TEST_SCALE = 0.005


@dataclass(frozen=True)
class SandboxPair:
    """The sample application in two databases of the test's own: all tenants on blue, ``green_fill`` on green."""

    blue: str
    green: str
    blue_server: PostgresServer
    green_server: PostgresServer
    map: OwnershipMap = SAMPLE_MAP

    @property
    def dsns(self) -> dict[str, str]:
        return {"blue": self.blue, "green": self.green}


@pytest.fixture(scope="session")
def sample_template(pg_servers: Callable[[int], PostgresServer]) -> Callable[[int, str], str]:
    """``sample_template(18, "tenants")`` is a filled database to be copied, made once per version and kind."""
    made: set[tuple[int, str]] = set()

    def template(major: int, kind: str) -> str:
        server, name = pg_servers(major), f"sample_{kind}"
        if (major, kind) not in made:
            with psycopg.connect(server.dsn(), autocommit=True) as conn:
                conn.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            if kind == "tenants":
                seed(server.dsn(name), scale=TEST_SCALE)
            elif kind == Fill.RESIDENTS:
                seed_residents(server.dsn(name), scale=TEST_SCALE / 5)
            elif kind == Fill.SCHEMA:
                with psycopg.connect(server.dsn(name)) as conn:
                    create_schema(conn)
                    create_indexes(conn)
            made.add((major, kind))
        return name

    return template


@pytest.fixture
def sandbox_pair(
    pg_servers: Callable[[int], PostgresServer],
    new_database: Callable[..., str],
    sample_template: Callable[[int, str], str],
) -> Callable[..., SandboxPair]:
    """``sandbox_pair(blue=16, green=18, fill=Fill.RESIDENTS)``: two seeded databases; dropped afterwards."""

    def make(blue: int = 16, green: int = 18, fill: Fill = Fill.RESIDENTS) -> SandboxPair:
        return SandboxPair(
            new_database(blue, template=sample_template(blue, "tenants")),
            new_database(green, template=sample_template(green, fill)),
            pg_servers(blue),
            pg_servers(green),
        )

    return make
