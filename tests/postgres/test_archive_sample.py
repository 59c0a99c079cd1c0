"""The sandbox's application, with everything that makes a schema hard, is archived whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from archive_sample import Archiving

from tenant_lifecycle.sandbox.sample import SAMPLE_MAP
from tenant_lifecycle.stores.postgres.archive import reader, slot
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.inventory import tenants

WRITES = (
    "UPDATE documents SET title = title || '!' WHERE number % 3 = 0",
    "UPDATE chunks SET content = content || ' more' WHERE id % 7 = 0",
    "DELETE FROM documents WHERE number % 11 = 0",
    "UPDATE users SET full_name = full_name || ' jr' WHERE email < 'm'",
    "DELETE FROM memberships WHERE user_id IN (SELECT id FROM users ORDER BY id LIMIT 5)",
    "DELETE FROM conversations WHERE id IN (SELECT id FROM conversations ORDER BY id LIMIT 10)",
    "UPDATE api_keys SET label = label || 'x'",
)


@pytest.mark.parametrize("major", [16, 18])
def test_the_sample_application_is_archived_whole(
    new_database: Callable[..., str],
    sample_template: Callable[[int, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    major: int,
) -> None:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.05)
    dsn = new_database(major, template=sample_template(major, "tenants"))
    one = Archiving(Database("blue/postgres", "blue", dsn, SAMPLE_MAP), tmp_path / "spool")
    everybody = tenants(one.database)
    assert slot.uncovered(one.database) == {}
    archive = one.open()
    try:
        one.base(*everybody)
        with psycopg.connect(dsn, autocommit=True) as conn:
            for statement in WRITES:
                conn.execute(statement)
        one.pump()
        one.equal()
        assert sum(bool(state.last) for state in one.folded.values()) == len(everybody)
        assert not any(state.unknown for state in one.folded.values())
    finally:
        archive.close()
        one.database.close()
