"""The archiver's process: it goes on after errors, says how it is, and there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tenant_lifecycle.errors import StoreUnavailable
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.operations.archive import pressure, service
from tenant_lifecycle.operations.archive.line import Reach


@dataclass
class _Source:
    name: str = "blue/postgres"


@dataclass
class Failing:
    """Fails a few times, then works."""

    failures: list[Exception]
    source: _Source = field(default_factory=_Source)
    reach: Reach | None = None
    findings: list[Finding] = field(default_factory=list)
    closed: int = 0
    steps: int = 0

    def step(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.steps += 1
        self.reach = Reach(self.steps, self.steps)
        time.sleep(0.01)

    def close(self) -> None:
        self.closed += 1


def test_an_error_ends_a_run_and_not_the_archiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_NOTED_S", 0.02)
    monkeypatch.setattr(service, "_FIRST_PAUSE_S", 0.01)
    one = Failing([StoreUnavailable("blue/postgres: no answer", store="blue/postgres"), ZeroDivisionError()])
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=([one], stop, tmp_path))
    thread.start()
    _until(lambda: one.steps > 3)
    stop.set()
    thread.join()
    assert one.closed == 3, "after each error, and at the end"
    said = service.status(tmp_path)
    assert said is not None and said["pid"] is None
    (log,) = said["logs"]
    assert log["log"] == "blue/postgres" and log["trouble"] == "" and log["complete_until_us"] == one.steps


def test_what_stops_a_log_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_NOTED_S", 0.02)
    one = Failing([StoreUnavailable("blue/postgres: no answer", store="blue/postgres")] * 100)
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=([one], stop, tmp_path))
    thread.start()
    _until(lambda: (service.status(tmp_path) or {"logs": [{"trouble": ""}]})["logs"][0]["trouble"] != "")
    stop.set()
    thread.join()
    said = service.status(tmp_path)
    assert said is not None and "no answer" in said["logs"][0]["trouble"]


def test_a_host_without_an_archiver_has_no_status(tmp_path: Path) -> None:
    assert service.status(tmp_path) is None


@pytest.mark.parametrize(
    ("held", "limit", "severity"),
    [
        (10, 1000, None),
        (250, 1000, Severity.WARNING),
        (500, 1000, Severity.REFUSAL),
        ((1 << 30) - 1, None, None),
        (1 << 30, None, Severity.WARNING),
        (4 << 30, None, Severity.REFUSAL),
    ],
)
def test_log_that_piles_up_is_told_long_before_it_is_full(
    held: int, limit: int | None, severity: Severity | None
) -> None:
    assert [finding.severity for finding in pressure.room("blue/postgres", held, limit)] == (
        [] if severity is None else [severity]
    )


@pytest.mark.parametrize(
    ("behind", "severity"), [(9.9, None), (10, Severity.WARNING), (50, Severity.REFUSAL)]
)
def test_lateness_is_measured_by_the_promise(behind: float, severity: Severity | None) -> None:
    assert [finding.severity for finding in pressure.lateness("blue/postgres", behind, 5.0)] == (
        [] if severity is None else [severity]
    )


def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.01)
