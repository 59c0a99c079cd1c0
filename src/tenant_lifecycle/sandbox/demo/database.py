"""The demonstration: one tenant moved under write load, moved back, moved again; every write accounted for.

Real servers, the real command path (plan, operation, journal, driver), a load generator in a process of its
own, and a ledger of what its clients were promised. The figures of the result are measured or counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepRecord, StepStatus
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.demo.load_process import LoadProcess, load_process
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.load import LoadConfig
from tenant_lifecycle.sandbox.pauses import pauses, percentiles
from tenant_lifecycle.sandbox.sample import PLATINUM, TENANTS
from tenant_lifecycle.wiring import Lifecycle, find_installation

Say = Callable[[str], None]
ACTOR = "demo"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What to show, and how big."""

    #: 1.0: about 200,000 rows, a quarter of them the moving tenant's.
    scale: float = 1.0
    #: Flips in all, at least 3 and odd: forward, back, forward ...
    flips: int = 7
    #: Writes a second of all writers together.
    rate: float = 200.0
    #: Seconds of load between two flips.
    between_s: float = 2.0
    versions: Mapping[str, int] = field(default_factory=lambda: {"blue": 16, "green": 18})


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What was measured and counted."""

    seconds: float
    rows_copied: int
    bytes_copied: int
    copy_rows_per_s: float
    changes_applied: int
    apply_rows_per_s: float
    items_verified: int
    differences: int
    flips: int
    #: From asking for the fence to the new writer being active, milliseconds: p50, p99, max.
    write_pause_ms: Mapping[str, float]
    #: The slowest acknowledged write of the tenant around each flip, as its client saw it.
    client_pause_ms: Mapping[str, float]
    #: From the person's decision to the source being the writer again.
    rollback_ms: Mapping[str, float]
    writes_acknowledged: int
    writes_failed: int
    writes_unknown: int
    writes_lost: int
    writes_duplicated: int
    #: Deleted rows that came back, old values, and leftovers of failed writes.
    writes_wrong: int
    neighbour_writes: int
    neighbour_errors: int
    neighbour_latency_ms: Mapping[str, float]
    rows_left_on_source: int

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        bad = (
            self.writes_failed + self.writes_lost + self.writes_duplicated + self.writes_wrong
            + self.differences + self.neighbour_errors + self.rows_left_on_source
        )  # fmt: skip
        return bad == 0 and self.writes_acknowledged > 0

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"ok": self.ok}


def run_demo(settings: DemoSettings, say: Say) -> DemoResult:
    """Run it from nothing to nothing; servers, folders and processes are gone afterwards, also after Ctrl-C.

    Raises:
        LifecycleError: the migration did not end as it should; the message says why.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say(
            f"starting PostgreSQL {settings.versions['blue']} (blue) and {settings.versions['green']} (green) ..."
        )
        sandbox = Sandbox(folder / "sandbox", versions=settings.versions)
        with running(sandbox, scale=settings.scale, green=Fill.RESIDENTS):
            say(f"20 tenants on blue, 2 residents on green, filled in {time.monotonic() - began:.1f} s")
            ledger = folder / "ledger"
            with (
                _load(sandbox, ledger, settings) as load,
                Lifecycle(find_installation(sandbox.folder / "lifecycle.yaml")) as lifecycle,
                lifecycle.runner(),
            ):
                story = _Story(lifecycle, settings, say)
                story.move()
                summary = load.stop()
                left = lifecycle.stores["blue"]["postgres"].inventory(TenantId(PLATINUM), exact=True)
            say("holding the ledger of acknowledged writes against the databases ...")
            neighbours = [tenant.id for tenant in TENANTS[1:3]]
            moved = check(ledger, sandbox.dsn("green"), [PLATINUM])
            others = check(ledger, sandbox.dsn("blue"), neighbours)
            return story.result(
                time.monotonic() - began, ledger, moved, others, summary, sum(s.items for s in left)
            )


def _load(sandbox: Sandbox, ledger: Path, settings: DemoSettings) -> AbstractContextManager[LoadProcess]:
    """The load on the moving tenant and two neighbours."""
    ledger.mkdir()
    config = LoadConfig(
        environments={name: sandbox.dsn(name, "rag_app") for name in sandbox.dsns},
        tenants={PLATINUM: 3, TENANTS[1].id: 1, TENANTS[2].id: 1},
        ledger=ledger,
        rate=settings.rate,
    )
    return load_process("tenant_lifecycle.sandbox.load", config.to_json())


class _Story:
    """The migration, told while it happens."""

    def __init__(self, lifecycle: Lifecycle, settings: DemoSettings, say: Say) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._say = say
        self._asked: dict[int, float] = {}
        self._operation: Operation | None = None

    def move(self) -> None:
        """Plan, start, flip back and forth, complete."""
        lifecycle, tenant = self._lifecycle, TenantId(PLATINUM)
        options = MigrationOptions(settle_s=3600.0)
        plan = lifecycle.plan_migration(tenant, "blue", "green", options)
        rows, size = sum(s.items for s in plan.stores), sum(s.bytes for s in plan.stores)
        self._say(
            f"plan {plan.hash[:19]}: {plan.tenant} blue -> green, {rows:,} rows, {size / 1e6:.0f} MB (estimated), "
            f"{len(plan.findings)} checks, {len(plan.refusals)} refusals"
        )
        id = lifecycle.start_migration(tenant, "blue", "green", options, if_plan=plan.hash, actor=ACTOR)
        self._tell_steps(id, until="flip/1")
        for turn in range(2, self._settings.flips + 1):
            time.sleep(self._settings.between_s)
            self._flip(id, turn)
        time.sleep(self._settings.between_s)
        lifecycle.signal(id, "complete", actor=ACTOR)
        self._tell_steps(id, until="leave", after=f"settle/{self._settings.flips}")
        self._operation = self._wait_end(id)

    def _flip(self, id: str, turn: int) -> None:
        back = turn % 2 == 0
        self._asked[turn] = time.time()
        self._lifecycle.signal(id, "rollback" if back else "promote", actor=ACTOR)
        step = self._wait_step(id, f"flip/{turn}")
        timing = (step.output or {}).get("timing", {})
        took = ((step.done_at or 0.0) - self._asked[turn]) * 1e3
        self._say(
            f"{'rollback to blue' if back else 'forward to green'} under load: {took:.0f} ms from decision to new "
            f"writer, writes paused {timing.get('pause_ms', 0.0):.1f} ms ({_parts(timing)})"
        )

    def _tell_steps(self, id: str, *, until: str, after: str | None = None) -> None:
        told: set[str] = set()
        if after is not None:
            told = {step.key for step in self._lifecycle.steps(id) if step.status is StepStatus.DONE} | {
                after
            }
        while until not in told:
            self._check(id)
            for step in self._lifecycle.steps(id):
                if step.status is StepStatus.DONE and step.key not in told:
                    told.add(step.key)
                    self._say(f"  {step.title:<44} {_seconds(step):6.2f} s  {_facts(step)}")
            time.sleep(0.05)

    def _wait_step(self, id: str, key: str) -> StepRecord:
        while True:
            self._check(id)
            for step in self._lifecycle.steps(id):
                if step.key == key and step.status is StepStatus.DONE:
                    return step
            time.sleep(0.01)

    def _wait_end(self, id: str) -> Operation:
        while True:
            operation = self._check(id)
            if operation.state in TERMINAL:
                return operation
            time.sleep(0.05)

    def _check(self, id: str) -> Operation:
        operation = self._lifecycle.operation(id)
        if operation.state in (State.ATTENTION, State.FAILED, State.ABORTED):
            error = operation.error
            raise LifecycleError(
                f"the migration is {operation.state}: {error.message if error else operation.why}",
                next_step=error.next_step if error else "",
            )
        return operation

    def result(
        self,
        seconds: float,
        ledger: Path,
        moved: LedgerReport,
        others: LedgerReport,
        summary: Mapping[str, Any],
        left: int,
    ) -> DemoResult:
        """Everything measured and counted, from the journal, the ledger and the databases."""
        assert self._operation is not None
        steps = {step.key: step for step in self._lifecycle.steps(self._operation.id)}
        out = {key: step.output or {} for key, step in steps.items()}
        flips = [step for key, step in steps.items() if key.startswith("flip/") and step.output]
        timings = [
            step.output["timing"]["pause_ms"] for step in flips if step.output and "timing" in step.output
        ]
        windows = [((s.done_at or 0.0) - 0.25, (s.done_at or 0.0) + 0.05) for s in flips]
        both = moved + others
        backs = [
            ((steps[f"flip/{turn}"].done_at or 0.0) - asked) * 1e3
            for turn, asked in self._asked.items()
            if turn % 2 == 0
        ]
        neighbour_latency = [summary["latency_ms"][tenant.id] for tenant in TENANTS[1:3]]
        return DemoResult(
            seconds=round(seconds, 1),
            rows_copied=out["copy"]["items"],
            bytes_copied=out["copy"]["bytes"],
            copy_rows_per_s=_rate(out["copy"]["items"], out["copy"]["seconds"]),
            changes_applied=out["catch-up"]["applied"],
            apply_rows_per_s=_rate(out["catch-up"]["applied"], out["catch-up"]["seconds"]),
            items_verified=out["verify"]["items"] + out["final-verify"]["items"],
            differences=out["verify"]["differences"] + out["final-verify"]["differences"],
            flips=len(flips),
            write_pause_ms=percentiles(timings),
            client_pause_ms=percentiles(p.latency_ms for p in pauses(ledger, PLATINUM, windows)),
            rollback_ms=percentiles(backs),
            writes_acknowledged=both.acknowledged,
            writes_failed=both.failed,
            writes_unknown=both.unknown,
            writes_lost=both.lost,
            writes_duplicated=both.duplicated,
            writes_wrong=both.resurrected + both.stale + both.phantom,
            neighbour_writes=others.acknowledged,
            neighbour_errors=others.failed + others.unknown,
            neighbour_latency_ms={
                k: max(each[k] for each in neighbour_latency) for k in ("p50", "p99", "max")
            },
            rows_left_on_source=left,
        )


def _parts(timing: Mapping[str, float]) -> str:
    """Where the pause went."""
    names = ("drain", "marker", "compare", "counters", "commit", "activate")
    parts = [f"{name} {timing[f'{name}_ms']:.1f}" for name in names if f"{name}_ms" in timing]
    return ", ".join([*parts, f"{timing.get('dirty_items', 0):.0f} items compared"])


def _seconds(step: StepRecord) -> float:
    return (step.done_at or step.last_at) - step.first_at


def _rate(items: int, seconds: float) -> float:
    return round(items / seconds, 1) if seconds else 0.0


def _facts(step: StepRecord) -> str:
    """What a step's output says, in a few words."""
    output = step.output or {}
    facts = {
        name: value for name, value in output.items() if isinstance(value, (int, float)) and name != "seconds"
    }
    if "timing" in output:
        facts |= {"pause_ms": output["timing"]["pause_ms"]}
    return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in facts.items())


def report_lines(result: DemoResult) -> list[str]:
    """The summary for people."""

    def three(values: Mapping[str, float]) -> str:
        return f"p50 {values['p50']:.1f}   p99 {values['p99']:.1f}   max {values['max']:.1f} ms"

    rows = [
        (
            "copied",
            f"{result.rows_copied:,} rows, {result.bytes_copied / 1e6:.1f} MB, {result.copy_rows_per_s:,.0f} rows/s",
        ),
        ("caught up", f"{result.changes_applied:,} changes, {result.apply_rows_per_s:,.0f} rows/s"),
        ("verified", f"{result.items_verified:,} items, {result.differences} differences"),
        ("flips", f"{result.flips} (forward and back) under load"),
        ("write pause", three(result.write_pause_ms)),
        ("slowest write at a flip", three(result.client_pause_ms) + "  (as its client saw it)"),
        ("rollback", three(result.rollback_ms) + "  (decision to writer back)"),
        (
            "writes acknowledged",
            f"{result.writes_acknowledged:,}, of them {result.neighbour_writes:,} by two neighbours",
        ),
        ("failed / unknown", f"{result.writes_failed} / {result.writes_unknown}"),
        (
            "lost / doubled / wrong",
            f"{result.writes_lost} / {result.writes_duplicated} / {result.writes_wrong}",
        ),
        ("neighbours", f"{result.neighbour_errors} errors; " + three(result.neighbour_latency_ms)),
        ("left on blue", f"{result.rows_left_on_source} rows"),
        ("time", f"{result.seconds:.0f} s"),
    ]
    return [f"{name:<24} {value}" for name, value in rows]
