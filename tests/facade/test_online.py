"""The functions online: the real journal and engine behind them, with steps that only say what they would do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import l3_m14_tenant_lifecycle as facade
from l3_m14_tenant_lifecycle import MigrationStatus
from scripted import DIFFERENCE, REFUSAL, ScriptedLifecycle
from tenant_lifecycle import wiring
from tenant_lifecycle.errors import PreconditionRefused, TenantBusy, UnknownOperation, WrongState


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedLifecycle]:
    opened = ScriptedLifecycle(tmp_path)
    monkeypatch.setattr(wiring, "open_lifecycle", lambda path: opened)
    yield opened
    opened.script.hold.set()
    opened.really_close()


def move(timeout_s: float | None = 20.0) -> dict[str, object]:
    return facade.migrate_tenant_blue_green("acme", "blue", "green", offline=False, timeout_s=timeout_s)


def test_a_migration_returns_when_the_target_is_the_writer(service: ScriptedLifecycle) -> None:
    result = move()
    assert result["status"] in (MigrationStatus.CUTOVER, MigrationStatus.SETTLING)
    assert result["traffic_percentage"] == 100
    assert result["write_pause_ms"] == 7.25
    assert "skipped" not in result


def test_a_rollback_returns_when_the_source_is_the_writer_again(service: ScriptedLifecycle) -> None:
    move()
    result = facade.rollback_migration("acme", rollback_snapshot="b0", timeout_s=20.0)
    assert result["status"] == MigrationStatus.ROLLED_BACK
    assert result["snapshot_used"] is False
    assert result["duration_seconds"] < 20
    with pytest.raises(WrongState, match="nothing to roll back"):
        facade.rollback_migration("acme")


def test_a_refusal_is_raised_and_nothing_begins(service: ScriptedLifecycle) -> None:
    service.findings = [REFUSAL]
    with pytest.raises(PreconditionRefused, match="wal_level"):
        move()
    with pytest.raises(UnknownOperation):
        facade.rollback_migration("acme")


def test_a_migration_that_stands_is_no_success(service: ScriptedLifecycle) -> None:
    service.script.broken = True
    result = move()
    assert result["status"] == MigrationStatus.NEEDS_ATTENTION
    assert result["traffic_percentage"] == 0
    assert "permission denied" in str(result["error"])


def test_a_timeout_returns_what_is_true_by_then(service: ScriptedLifecycle) -> None:
    service.script.hold.clear()
    result = move(timeout_s=0.3)
    assert result["traffic_percentage"] == 0
    assert result["write_pause_ms"] is None
    with pytest.raises(TenantBusy):
        move()


def test_a_comparison_tells_which_systems_differ(service: ScriptedLifecycle) -> None:
    same = facade.verify_data_consistency("acme", "blue", "green")
    assert (same["consistent"], same["differences"], same["systems_checked"]) == (True, [], ["postgres"])
    assert "note" not in same
    service.differences = (DIFFERENCE,)
    other = facade.verify_data_consistency("acme", "blue", "green")
    (difference,) = other["differences"]
    assert other["consistent"] is False
    assert (difference["system"], difference["items"]) == ("postgres", 1)
    assert difference["source_checksum"] != difference["target_checksum"]
