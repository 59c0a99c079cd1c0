"""Opening the control database, and its errors in our words."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tenant_lifecycle.catalog import database
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.errors import StoreBusy, StoreUnavailable
from tenant_lifecycle.model.operation import TenantUpdate


def test_sqlite_survives_a_power_cut_and_serves_readers_beside_a_writer(tmp_path: Path) -> None:
    db = ControlDatabase(tmp_path / "deeper" / "control.db")
    with db.writing() as conn:
        settings = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 30_000,
        }
        with db.reading() as other:
            assert other.execute(sa.select(1)).scalar() == 1
    db.close()


def test_two_writers_of_sqlite_take_turns(tmp_path: Path) -> None:
    """A transaction that only later turned into a writer would fail at once instead of waiting."""
    db = ControlDatabase(tmp_path / "control.db")
    with db.writing() as conn:
        conn.exec_driver_sql("CREATE TABLE n (n INTEGER)")
        conn.exec_driver_sql("INSERT INTO n VALUES (0)")

    def count() -> None:
        for _ in range(20):
            with db.writing() as conn:
                number = conn.exec_driver_sql("SELECT n FROM n").scalar()
                time.sleep(0.0005)
                conn.exec_driver_sql("UPDATE n SET n = ?", (number + 1,))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.reading() as conn:
        assert conn.exec_driver_sql("SELECT n FROM n").scalar() == 80
    db.close()


def test_a_locked_file_is_said_to_be_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    db, other = ControlDatabase(tmp_path / "control.db"), ControlDatabase(str(tmp_path / "control.db"))
    with db.writing():
        with pytest.raises(StoreBusy) as busy:
            with other.writing():
                pass
    assert busy.value.retryable
    db.close()
    other.close()


def test_a_server_that_does_not_answer_is_said_to_be_unavailable() -> None:
    db = ControlDatabase("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StoreUnavailable, match="control database"):
        db.now()


def test_the_clock_is_the_databases_and_runs_within_a_transaction(control: ControlDatabase) -> None:
    with control.reading() as conn:
        first = conn.execute(sa.select(control.clock())).scalar_one()
        time.sleep(0.02)
        second = conn.execute(sa.select(control.clock())).scalar_one()
    assert second >= first + 0.02
    assert control.now() == pytest.approx(second, abs=30)


def test_a_server_restart_costs_one_connection_not_the_program(control: ControlDatabase) -> None:
    if control.sqlite:
        pytest.skip("no server")
    tenants = Tenants(control)
    tenants.upsert(TenantUpdate("acme"))
    with control.reading() as conn:
        pid = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar()
    dsn = psycopg.conninfo.make_conninfo(_dsn(control))
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert tenants.get("acme").id == "acme"


def test_a_stopped_process_cannot_keep_rows_locked(control: ControlDatabase) -> None:
    if control.sqlite:
        pytest.skip("SQLite: one host, and its administrator ends the process")
    with control.reading() as conn:
        limit = conn.execute(sa.text("SHOW idle_in_transaction_session_timeout")).scalar()
    assert limit == "10s"


def _dsn(control: ControlDatabase) -> str:
    with control.reading() as conn:
        info = conn.connection.driver_connection.info  # type: ignore[union-attr]
        return f"host={info.host} port={info.port} dbname={info.dbname} user={info.user}" + (
            f" password={info.password}" if info.password else ""
        )
