"""The demonstration of the whole tenant: people use it over HTTP while rows, keys, vectors and objects move.

Twice it goes the way 10 -> 25 -> 50 -> 100 %. The first time the application on green is slow on purpose, and the
gate sends the requests back by itself. The second time it is healthy: the tenant flips, comes back under load,
flips again, and blue is emptied. Then every acknowledged request is held against every store.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepStatus
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.demo.load_process import LoadProcess, load_process
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.parts import MOVED_PARTS
from tenant_lifecycle.sandbox.pauses import percentiles
from tenant_lifecycle.wiring import Lifecycle, find_installation

Say = Callable[[str], None]
#: Moves; a small tenant, because the emulators of vectors and objects are slow.
MOVING, NEIGHBOUR = TenantId("wonka"), "gringotts"
ACTOR = "demo"
#: Quick gates: a person who watches a demonstration waits seconds, not five minutes, at every step.
_POLICIES = """\
policies:
  cutover_steps: [10, 25, 50]
  settle: 1h
  workers: 2
  gates: {soak: 3s, interval: 200ms, samples: 8, recent: 5s, p99_floor: 1s, watch: 3s}
"""
_SLOW_MS = 1500
_PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True)
class WholeSettings:
    """How big and how fast."""

    scale: float = 0.2
    #: Requests a second of all sessions.
    rate: float = 16.0
    #: So many that some of them belong to the first 10 %.
    sessions: int = 40
    between_s: float = 2.0


@dataclass(frozen=True, slots=True)
class WholeResult:
    """What was measured and counted; times in milliseconds."""

    seconds: float
    #: Items that were copied, by store.
    stores: Mapping[str, int]
    #: What the last verification found, by store.
    store_differences: Mapping[str, int]
    http_requests: int
    http_failed: int
    http_stale_reads: int
    http_writes_acknowledged: int
    http_writes_lost: int
    http_writes_duplicated: int
    #: Deleted items that came back, old values, and leftovers.
    http_writes_wrong: int
    #: ``detect_to_traffic_back_ms``, the percent it happened at, and the sentence of the gate.
    gate_rollback: Mapping[str, Any]
    whole_flips: int
    whole_write_pause_ms: Mapping[str, float]
    whole_rollback_ms: float

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        bad = (
            self.http_failed + self.http_stale_reads + self.http_writes_lost + self.http_writes_duplicated
            + self.http_writes_wrong + sum(self.store_differences.values())
        )  # fmt: skip
        return bad == 0 and self.http_writes_acknowledged > 0 and bool(self.gate_rollback)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run_whole_demo(settings: WholeSettings, say: Say) -> WholeResult:
    """Run it from nothing to nothing.

    Raises:
        LifecycleError: the migration did not end as it should; the message says why.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("starting PostgreSQL, Redis, emulators of Pinecone and S3, the application twice, and Envoy ...")
        sandbox = Sandbox(folder / "sandbox", parts=MOVED_PARTS)
        with running(sandbox, scale=settings.scale, green=Fill.RESIDENTS):
            say(f"everything is up and filled after {time.monotonic() - began:.1f} s")
            file = sandbox.folder / "lifecycle.yaml"
            file.write_text(file.read_text() + _POLICIES)
            with (
                _load(sandbox, folder / "ledger", settings) as load,
                Lifecycle(find_installation(file)) as lifecycle,
                lifecycle.runner(),
            ):
                story = _Story(sandbox, lifecycle, settings, say)
                story.tell()
                summary = load.stop()
                say("holding the ledger of acknowledged requests against every store ...")
                report = _judge(sandbox, folder / "ledger")
                return story.result(time.monotonic() - began, summary, report)


def _judge(sandbox: Sandbox, ledger: Path) -> LedgerReport:
    report = LedgerReport(0, 0, 0, 0, 0)
    for environment, tenant in (("green", str(MOVING)), ("blue", NEIGHBOUR)):
        with sandbox.items(environment) as items:
            report += check(ledger, sandbox.dsn(environment), [tenant], items)
    return report


def _load(sandbox: Sandbox, ledger: Path, settings: WholeSettings) -> AbstractContextManager[LoadProcess]:
    """People with sessions, of the moving tenant and a neighbour."""
    ledger.mkdir()
    config = HttpLoadConfig(
        [sandbox.urls["router"]],
        {MOVING: settings.sessions, NEIGHBOUR: 2},
        ledger,
        rate=settings.rate,
        first_writer=1000,
    )
    return load_process("tenant_lifecycle.sandbox.http_load.load", config.to_json())


class _Story:
    """Both migrations, told while they happen."""

    def __init__(self, sandbox: Sandbox, lifecycle: Lifecycle, settings: WholeSettings, say: Say) -> None:
        self._sandbox = sandbox
        self._lifecycle = lifecycle
        self._settings = settings
        self._say = say
        self._gate: Mapping[str, Any] = {}
        self._rollback_ms = 0.0
        self._id = ""

    def tell(self) -> None:
        """A migration that a gate sends back, mended and brought to its end."""
        lifecycle = self._lifecycle
        self._slow_green(_SLOW_MS)
        plan = lifecycle.plan_migration(MOVING, "blue", "green", MigrationOptions())
        for store in plan.stores:
            self._say(f"  {store.store:<10} {store.items:>7,} items  {store.how}")
        self._id = lifecycle.start_migration(
            MOVING, "blue", "green", MigrationOptions(), if_plan=plan.hash, actor=ACTOR
        )
        self._say(
            f"{MOVING} moves blue -> green; the application on green answers {_SLOW_MS} ms late on purpose"
        )
        self._wait_for_the_gate()
        self._slow_green(0)
        self._until(lambda: self._holds() > 0, "it to wait for a person")
        self._say("green is mended; promote: the steps begin again")
        lifecycle.signal(self._id, "promote", actor=ACTOR)
        self._wait("flip/1", promote_again=True)
        self._say(f"green is the writer: {self._pause('flip/1')}")
        time.sleep(self._settings.between_s)
        self._flip("rollback", "flip/2")
        time.sleep(self._settings.between_s)
        self._flip("promote", "flip/3")
        time.sleep(self._settings.between_s)
        lifecycle.signal(self._id, "complete", actor=ACTOR)
        self._wait_end()
        self._say("blue is empty, and everybody who uses the tenant is on green")

    def _slow_green(self, milliseconds: int) -> None:
        body = json.dumps({"latency_ms": milliseconds}).encode()
        request = urllib.request.Request(
            f"{self._sandbox.urls['green']}/_fault", body, {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def _wait_for_the_gate(self) -> None:
        def back() -> bool:
            return any(event.kind == "requests-back" for event in self._lifecycle.events(self._id))

        self._until(back, "the gate to send the requests back")
        events = {event.kind: event.detail for event in self._lifecycle.events(self._id)}
        failed, returned = events["gate-failed"], events["requests-back"]
        self._gate = {
            "percent": failed["percent"],
            "why": failed["why"],
            "detect_to_traffic_back_ms": returned["detect_to_traffic_back_ms"],
        }
        self._say(f"at {failed['percent']} % a gate failed: {failed['why']}")
        self._say(
            f"requests back on blue {returned['detect_to_traffic_back_ms']:.0f} ms after the deciding look"
        )

    def _flip(self, wish: str, step: str) -> None:
        asked = time.monotonic()
        self._lifecycle.signal(self._id, wish, actor=ACTOR)
        self._wait(step, promote_again=wish == "promote")
        took = (time.monotonic() - asked) * 1e3
        if wish == "rollback":
            self._rollback_ms = took
        self._say(f"{wish} under load: {took:.0f} ms from decision to writer; {self._pause(step)}")

    def _pause(self, step: str) -> str:
        timing = self._output(step).get("timing", {})
        parts = ", ".join(
            f"{name} {timing.get(f'{name}_ms', 0.0):.0f}"
            for name in ("drain", "marker", "compare", "commit", "activate")
        )
        return f"writes paused {timing.get('pause_ms', 0.0):.0f} ms ({parts})"

    def _output(self, key: str) -> Mapping[str, Any]:
        return next((step.output or {} for step in self._lifecycle.steps(self._id) if step.key == key), {})

    def _wait(self, key: str, *, promote_again: bool = False) -> None:
        """Until the step is done. A busy machine may fail a gate once more; then a person would promote again."""
        seen = self._holds()

        def done() -> bool:
            nonlocal seen
            if promote_again and self._holds() > seen:
                seen = self._holds()
                self._say("a gate failed once more; promote again")
                self._lifecycle.signal(self._id, "promote", actor=ACTOR)
            return any(s.key == key and s.status is StepStatus.DONE for s in self._lifecycle.steps(self._id))

        self._until(done, key)

    def _holds(self) -> int:
        """How often it began to wait for a person after a failed gate; a promote said earlier is dropped."""
        return sum(step.key.startswith("hold/") for step in self._lifecycle.steps(self._id))

    def _wait_end(self) -> Operation:
        self._until(lambda: self._lifecycle.operation(self._id).state in TERMINAL, "the end")
        return self._lifecycle.operation(self._id)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            operation = self._lifecycle.operation(self._id)
            if operation.state in (State.ATTENTION, State.FAILED, State.ABORTED) or time.monotonic() > end:
                error = operation.error
                raise LifecycleError(
                    f"waiting for {what}: the migration is {operation.state}: "
                    f"{error.message if error else operation.why}",
                    next_step=error.next_step if error else "",
                )
            time.sleep(0.02)

    def result(self, seconds: float, summary: Mapping[str, Any], report: LedgerReport) -> WholeResult:
        """Everything measured and counted, from the journal, the ledger and the stores."""
        flips = [s for s in self._lifecycle.steps(self._id) if s.key.startswith("flip/") and s.output]
        pauses = [s.output["timing"]["pause_ms"] for s in flips if s.output and "timing" in s.output]
        copied, verified = self._output("copy"), self._output("final-verify")
        return WholeResult(
            seconds=round(seconds, 1),
            stores=copied.get("stores", {}),
            store_differences=verified.get("stores", {}),
            http_requests=summary["requests"],
            http_failed=summary["failed"],
            http_stale_reads=len(summary["stale_reads"]),
            http_writes_acknowledged=report.acknowledged,
            http_writes_lost=report.lost,
            http_writes_duplicated=report.duplicated,
            http_writes_wrong=report.resurrected + report.stale + report.phantom,
            gate_rollback=self._gate,
            whole_flips=len(flips),
            whole_write_pause_ms=percentiles(pauses),
            whole_rollback_ms=round(self._rollback_ms, 1),
        )


def whole_lines(result: WholeResult) -> list[str]:
    """The summary for people."""
    pause, gate = result.whole_write_pause_ms, result.gate_rollback
    rows = [
        ("copied", ", ".join(f"{name} {items:,}" for name, items in result.stores.items())),
        ("differences", ", ".join(f"{name} {items}" for name, items in result.store_differences.items())),
        (
            "requests over HTTP",
            f"{result.http_requests:,}, {result.http_failed} failed, {result.http_stale_reads} stale reads",
        ),
        ("writes acknowledged", f"{result.http_writes_acknowledged:,}"),
        (
            "lost / doubled / wrong",
            f"{result.http_writes_lost} / {result.http_writes_duplicated} / {result.http_writes_wrong}",
        ),
        (
            "gate",
            f"failed at {gate['percent']} %, requests back after {gate['detect_to_traffic_back_ms']:.0f} ms",
        ),
        ("flips, all stores", f"{result.whole_flips}"),
        ("write pause", f"p50 {pause['p50']:.0f}   p99 {pause['p99']:.0f}   max {pause['max']:.0f} ms"),
        ("rollback", f"{result.whole_rollback_ms:.0f} ms (decision to writer back)"),
        ("time", f"{result.seconds:.0f} s"),
    ]
    return [f"{name:<24} {value}" for name, value in rows]
