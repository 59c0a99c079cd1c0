"""Fixtures for the tests of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from feed_sample import MAP, SCHEMA, THEM, US, MakePair, Pair

from tenant_lifecycle.stores.postgres.database import Database


@pytest.fixture
def make_pair(new_database: Callable[..., str], tmp_path: Path) -> Iterator[MakePair]:
    """``make_pair(16, 18)``: two databases with the sample schema; feeds and followers are gone afterwards."""
    pairs: list[Pair] = []

    def make(
        source: int = 16, target: int = 18, *, feed: bool = True, tenants: tuple[str, ...] = (US, THEM)
    ) -> Pair:
        sides = []
        for major, name in ((source, "blue"), (target, "green")):
            dsn = new_database(major)
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(SCHEMA)
            sides.append(Database(f"{name}/postgres", name, dsn, MAP))
        pair = Pair(sides[0], sides[1], tmp_path, tenants[0])
        pairs.append(pair)
        if feed:
            pair.create()
        with psycopg.connect(sides[0].dsn, autocommit=True) as conn:
            for tenant in tenants:
                conn.execute("INSERT INTO tenants VALUES (%s, 'gold')", (tenant,))
        return pair

    yield make
    for pair in pairs:
        for follower in pair.started:
            follower.stop()
        pair.source.close()
        pair.target.close()
