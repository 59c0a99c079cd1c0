"""The archiver of an installation, on a real database and a real repository."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tenant_lifecycle.backups_file import BackupsConfig, RepositoryConfig
from tenant_lifecycle.errors import ConfigError, ConflictError
from tenant_lifecycle.evidence_file import KeyConfig
from tenant_lifecycle.model.backup.manifest import BaseKind, StoreBase
from tenant_lifecycle.model.backup.policy import GOLD, TIERS, BackupPolicies
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, OwnershipMap, Root
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.wiring.archiver import archiver_status, run_archiver, window
from tenant_lifecycle.wiring.installation import Installation, Stores
from tenant_lifecycle.wiring.repository import open_repository

A = TenantId("a'; DROP TABLE docs; --")
MAP = OwnershipMap(
    {TableName("public", "tenants"): Root("id"), TableName("public", "docs"): Direct("tenant_id")}
)


def _installed(dsn: str, folder: Path) -> Installation:
    def open_stores(_: Sequence[str]) -> Stores:
        return {"blue": {"postgres": PostgresStore(Database("blue/postgres", "blue", dsn, MAP))}}

    key = folder / "key"
    key.write_text(bytes(range(32)).hex())
    key.chmod(0o600)
    place = RepositoryConfig(folder / "repository", "", "", KeyConfig("file", str(key)))
    policies = BackupPolicies({**TIERS, "gold": replace(GOLD, rpo_s=0.4)})
    return Installation(
        folder / "control.db", folder / "state", open_stores, backups=BackupsConfig(place, policies=policies)
    )


def test_the_archiver_runs_says_so_and_makes_a_window(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE tenants (id text PRIMARY KEY)")
        conn.execute("CREATE TABLE docs (id int PRIMARY KEY, tenant_id text, body text)")
        conn.execute("INSERT INTO tenants VALUES (%s)", (A,))
    installation = _installed(dsn, tmp_path)
    assert archiver_status(installation)["running"] is False
    stop = threading.Event()
    thread = threading.Thread(target=run_archiver, args=(installation, stop))
    thread.start()
    try:
        _until(lambda: _reach(installation) is not None)
        with pytest.raises(ConflictError, match="an archiver"):
            run_archiver(installation, threading.Event())
        assert window(installation, A).intervals == ()
        _base(installation, dsn)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("INSERT INTO docs VALUES (1, %s, 'body')", (A,))
        wanted_us = time.time_ns() // 1000
        _until(lambda: (_reach(installation) or 0) > wanted_us)
        (interval,) = window(installation, A).intervals
        assert interval.to_us > wanted_us
        assert archiver_status(installation)["running"] is True
    finally:
        stop.set()
        thread.join()
    assert archiver_status(installation)["running"] is False


def test_without_a_repository_nothing_is_archived(new_database: Callable[..., str], tmp_path: Path) -> None:
    installation = Installation(tmp_path / "control.db", tmp_path / "state", lambda _: {})
    with pytest.raises(ConfigError, match="backups"):
        run_archiver(installation, threading.Event())


def _reach(installation: Installation) -> int | None:
    logs = archiver_status(installation)["logs"]
    return logs[0]["complete_until_us"] if logs else None


def _base(installation: Installation, dsn: str) -> None:
    store = PostgresStore(Database("blue/postgres", "blue", dsn, MAP))
    writer = open_repository(installation.backups).tenant(A).begin_base("blue", BaseKind.FULL, None, {})
    with store.read_base(A, lambda: None) as reading:
        sets = {
            name: writer.add("postgres", shape, reading.items(name)) for name, shape in reading.shapes.items()
        }
        assert reading.snapshot is not None
        base = StoreBase("postgres", reading.at_us, reading.snapshot.lsn, reading.snapshot, sets)
    writer.commit({"postgres": base}, time.time_ns() // 1000, None)
    store.close()


def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.05)
