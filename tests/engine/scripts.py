"""Operations written in the tests: a definition from a list of steps, and what drives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.driver import Driver, Drove
from tenant_lifecycle.engine.runner import Runner
from tenant_lifecycle.engine.steps import Done, Outcome, Step, StepContext, StepKind
from tenant_lifecycle.model.operation import NewOperation, Operation, Outputs, State, StepRecord

Run = Callable[[StepContext], Outcome]


class Script(Definition):
    """A definition whose steps the test gives."""

    name = "script@1"
    kind = "migrate"

    def __init__(self, *steps: Step) -> None:
        self.script: Callable[[Outputs], Sequence[Step]] = lambda outputs: steps
        self.sessions: list[str] = []

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        return self.script(outputs)

    @contextmanager
    def session(self, operation: Operation, token: int) -> Iterator[list[str]]:
        self.sessions.append("opened")
        try:
            yield self.sessions
        finally:
            self.sessions.append("left")


class Stage:
    """A control database with one definition, and shorthands."""

    def __init__(self, db: ControlDatabase, *steps: Step) -> None:
        self.db = db
        self.definition = Script(*steps)
        self.journal = SqlJournal(db)
        self.operations = Operations(db)
        self.driver = Driver(self.journal, [self.definition])
        self.id = self.new()

    def new(self, tenant: str = "acme", kind: str = "migrate", **spec: Any) -> str:
        return self.operations.create(NewOperation(kind, "script@1", tenant, "test", spec=spec)).id

    def runner(self, **settings: Any) -> Runner:
        return Runner(self.journal, self.driver, **{"poll_s": 0.02, "sweep_s": 0.1, **settings})

    def drive(self) -> Drove:
        return self.driver.drive(self.id)

    @property
    def operation(self) -> Operation:
        return self.operations.get(self.id)

    @property
    def state(self) -> State:
        return self.operation.state

    def step(self, key: str) -> StepRecord:
        return next(step for step in self.operations.steps(self.id) if step.key == key)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.operations.events(self.id)]

    def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> float:
        """Wait for it; return how long it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + timeout_s, self.operation
            time.sleep(0.01)
        return time.monotonic() - began


def step(key: str, run: Run = lambda ctx: Done(), kind: StepKind = StepKind.IDEMPOTENT, **rest: Any) -> Step:
    return Step(key, f"do {key}", kind, run, **rest)


class Log:
    """What ran, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, key: str, **rest: Any) -> Step:
        """A step that notes its run and its undo."""

        def undo(ctx: StepContext) -> Outcome:
            self.lines.append(f"undo {key}")
            return Done()

        def run(ctx: StepContext) -> Outcome:
            self.lines.append(key)
            return Done({"key": key})

        return step(key, rest.pop("run", run), **{"undo": undo, **rest})
