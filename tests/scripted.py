"""The real journal, engine and services, driving a migration whose steps only say what they would do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenant_lifecycle import wiring
from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.runner import Runner
from tenant_lifecycle.engine.steps import Done, Outcome, Step, StepContext, StepKind, Wait
from tenant_lifecycle.errors import StoreRejected, UnknownTenant
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.operation import Operation, Outputs, State
from tenant_lifecycle.model.plan import Cutover, Estimate, MigrationPlan, StorePlan
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.verification import (
    Difference,
    DifferenceKind,
    SetVerdict,
    VerificationReport,
)

REFUSAL = Finding("pg.wal-level", Severity.REFUSAL, "wal_level is replica", "set wal_level = logical", "blue/postgres")  # fmt: skip
WARNING = Finding("pg.slots", Severity.WARNING, "2 slots are free", "raise max_replication_slots", "blue/postgres")  # fmt: skip
FINE = Finding("pg.version", Severity.OK, "PostgreSQL 16.1", subject="blue/postgres")


@dataclass(frozen=True, slots=True)
class Ran:
    """How one command line ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])

    @property
    def error(self) -> Any:
        return json.loads(self.err.splitlines()[-1])["error"]


Run = Callable[..., Ran]


class Script(Definition):
    """The steps of a migration by name; ``hold`` keeps the copy going until it is set."""

    name = "migrate@1"
    kind = "migrate"

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.broken = False

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        steps = [
            _step("arm", "arm the fence"),
            _step("feed", "hold back changes"),
            _step("copy", "copy", self.copy),
        ]
        turn = 1
        while True:
            if turn == 1 and operation.spec.get("cutover") == Cutover.MANUAL:
                steps.append(_step("promote/1", "wait for a person", _waits("promote")))
            steps.append(_step(f"flip/{turn}", "make the other side the writer", _flip))
            steps.append(
                _step(f"settle/{turn}", "keep both sides equal", _waits("rollback", "complete", "promote"))
            )
            settled = outputs.get(f"settle/{turn}")
            if settled is None:
                return steps
            if settled["next"] == "complete":
                return [*steps, _step("leave", "empty the old side")]
            turn += 1

    def abort_steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        return [_step("abort/clean", "remove what was made")]

    def aborted_state(self, operation: Operation, outputs: Outputs) -> State:
        return State.ROLLED_BACK if "flip/1" in outputs.begun else State.ABORTED

    def copy(self, ctx: StepContext) -> Outcome:
        if self.broken:
            raise StoreRejected("green/postgres: permission denied", store="green", next_step="GRANT it")
        ctx.progress(1, 2, detail={"sets": {"public.documents": [1, 2]}})
        while not self.hold.wait(0.02):
            ctx.check()
        return Done({"items": 2, "bytes": 64})


def _step(key: str, title: str, run: Any = lambda ctx: Done()) -> Step:
    return Step(key, title, StepKind.IDEMPOTENT, run)


def _flip(ctx: StepContext) -> Outcome:
    return Done({"writer": "green", "attempts": 1, "timing": {"pause_ms": 7.25}})


def _waits(*signals: str) -> Any:
    def run(ctx: StepContext) -> Outcome:
        signal = ctx.take_signal(*signals)
        if signal is None:
            return Wait(signals=signals, why="both sides are kept equal")
        return Done({"next": signal.kind})

    return run


class ScriptedLifecycle(wiring.Lifecycle):
    """What `wiring` opens, with scripted steps, and stores replaced by what a test says they answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            wiring.Installation(control=folder / "control.db", state_folder=folder, open_stores=lambda _: {})
        )
        self.script = Script()
        self.findings: list[Finding] = [FINE]
        self.differences: tuple[Difference, ...] = ()
        self.driving: Runner | None = None

    def _definitions(self) -> Mapping[str, Any]:
        return {self.script.name: self.script}

    def home(self, tenant: str) -> str:
        if tenant == "nobody":
            raise UnknownTenant("no environment holds tenant 'nobody'", next_step="tenantctl tenant list")
        return "blue"

    def plan_migration(self, tenant: Any, source: Any, target: str, options: Any = None, *, exact: bool = False) -> MigrationPlan:  # fmt: skip
        policy = self.policy(tenant, options)
        sizes = (SetSize("public.documents", 2_500_000, 11_200_000_000, exact),)
        return MigrationPlan(
            tenant=tenant, source=source or self.home(tenant), target=target, cutover=policy.cutover,
            settle_s=policy.settle_s, workers=policy.workers,
            stores=(StorePlan("postgres", "postgres", sizes, "copy in parts"),),
            findings=tuple(self.findings), estimate=Estimate(75.0, "20 MB/s assumed"),
        )  # fmt: skip

    def verify(self, tenant: Any, source: str | None, target: str | None) -> VerificationReport:
        verdict = SetVerdict("postgres", "public.documents", 4, 1, 1, self.differences)
        return VerificationReport(source or "blue", target or "green", (verdict,), 0, 0.5)

    def doctor(self) -> list[Finding]:
        return self.findings

    def ensure_runner(self) -> None:
        if self.driving is None:
            self.driving = Runner(self._journal, self.driver(), poll_s=0.02)
            self.driving.start()

    def close(self) -> None:
        """One command's end is not the end of the test's service."""

    def really_close(self) -> None:
        if self.driving is not None:
            self.driving.stop()
        super().close()


DIFFERENCE = Difference("public.documents", b"\x07", "7", DifferenceKind.DIFFERENT, ("title",))
