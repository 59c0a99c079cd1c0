"""The write pause of flips of a whole tenant: PostgreSQL, Redis, the emulators of vectors and objects, over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.measure import percentile
from bench.report import Budget, Figure, Report
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, State, StepStatus
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.environment import Sandbox, running
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.parts import MOVED_PARTS
from tenant_lifecycle.wiring import Lifecycle, find_installation

MOVING, NEIGHBOUR = TenantId("wonka"), "gringotts"
#: Best floor of a write pause that a peer publishes (research/migration.md): Vitess' built-in wait.
FLOOR_MS, FLOOR = 200.0, "200 ms floor of the best known"
REST_S = 0.7
_PATIENCE_S = 240.0


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Move a tenant by its real operation, then turn it to and fro by signals, as a person would."""
    flips, rate = (3, 8.0) if quick else (52, 16.0)
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-") as name:
        sandbox = Sandbox(Path(name) / "sandbox", parts=MOVED_PARTS)
        with running(sandbox, scale=0.2):
            ledger = Path(name) / "ledger"
            file = sandbox.folder / "lifecycle.yaml"
            with Lifecycle(find_installation(file)) as lifecycle, lifecycle.runner():
                with _load(sandbox, ledger, rate) as summary:
                    steps = _turns(lifecycle, flips, show)
            writer = "green" if flips % 2 else "blue"
            report = _judge(sandbox, ledger, writer)
    return Report("whole", tuple(_figures(steps, summary, report)), _extras(steps, summary, report))


@contextmanager
def _load(sandbox: Sandbox, ledger: Path, rate: float) -> Iterator[dict[str, Any]]:
    """People's requests in another process; the summary is filled in when the block ends."""
    ledger.mkdir()
    config = HttpLoadConfig(
        [sandbox.urls["router"]], {MOVING: 12, NEIGHBOUR: 2}, ledger, rate=rate, first_writer=1000
    )
    command = [sys.executable, "-m", "tenant_lifecycle.sandbox.http_load.load", "--config", config.to_json()]
    summary: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the load did not start; its message stands above")
        try:
            yield summary
        finally:
            process.terminate()
            rest = process.stdout.read().splitlines()
        summary |= json.loads(rest[-1])


def _turns(lifecycle: Lifecycle, flips: int, show: Callable[[str], None]) -> list[Mapping[str, Any]]:
    """Outputs of every flip."""
    options = MigrationOptions(settle_s=3600.0, workers=2, cutover_steps=())
    id = lifecycle.start_migration(MOVING, "blue", "green", options, actor="bench")
    for turn in range(1, flips + 1):
        if turn > 1:
            time.sleep(REST_S)
            lifecycle.signal(id, "promote" if turn % 2 else "rollback", actor="bench")
        _wait(lifecycle, id, f"flip/{turn}")
        if turn == 1:
            show("  copied, followed both ways, verified, flipped once; now to and fro")
    return [s.output for s in lifecycle.steps(id) if s.key.startswith("flip/") and s.output]


def _wait(lifecycle: Lifecycle, id: str, key: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not any(s.key == key and s.status is StepStatus.DONE for s in lifecycle.steps(id)):
        operation = lifecycle.operation(id)
        if operation.state in TERMINAL | {State.ATTENTION} or time.monotonic() > end:
            raise RuntimeError(f"{key}: {operation.state} {operation.why} {operation.error}")
        time.sleep(0.01)


def _judge(sandbox: Sandbox, ledger: Path, writer: str) -> LedgerReport:
    report = LedgerReport(0, 0, 0, 0, 0)
    for environment, tenant in ((writer, str(MOVING)), ("blue", NEIGHBOUR)):
        with sandbox.items(environment) as items:
            report += check(ledger, sandbox.dsn(environment), [tenant], items)
    return report


def _figures(
    outputs: list[Mapping[str, Any]], summary: Mapping[str, Any], report: LedgerReport
) -> Iterator[Figure]:
    pauses = [output["timing"]["pause_ms"] for output in outputs if "timing" in output]
    for name, share, limit in (("p50", 0.5, 15.0), ("p99", 0.99, 150.0), ("max", 1.0, None)):
        budgets = (Budget("value", "at most", limit),) if limit else ()
        yield Figure(
            f"write pause {name}", "ms", percentile(pauses, share), FLOOR_MS, FLOOR, "lower", budgets
        )
    seconds = [output["seconds"] for output in outputs[1::2]]
    limit_s = (Budget("value", "at most", 1.0),)
    yield Figure("rollback p99", "s", percentile(seconds, 0.99), 60.0, "specification", "lower", limit_s)
    none = (Budget("value", "at most", 0.0),)
    for name, count in (
        ("failed requests", summary["failed"]),
        ("stale reads", len(summary["stale_reads"])),
        ("lost, doubled or wrong writes", len(report.violations)),
    ):
        yield Figure(name, "requests", float(count), None, "must be none", "lower", none)


def _extras(
    outputs: list[Mapping[str, Any]], summary: Mapping[str, Any], report: LedgerReport
) -> dict[str, Any]:
    timings = [output["timing"] for output in outputs if "timing" in output]
    parts = ("drain_ms", "marker_ms", "compare_ms", "commit_ms", "activate_ms", "dirty_items")
    return {
        "flips": len(outputs),
        "attempts": sum(output["attempts"] for output in outputs),
        "requests": summary["requests"],
        "writes_acknowledged": report.acknowledged,
        "parts_p50": {p: round(percentile([t[p] for t in timings], 0.5), 3) for p in parts},
        "parts_p99": {p: round(percentile([t[p] for t in timings], 0.99), 3) for p in parts},
        "errors": summary["errors"],
    }
