"""Dying at a chosen executed line: count the lines of a clean run, then die at one of them, then recover.

Line events come from `sys.settrace` in a forked child, for the engine's and the catalog's own files; C code of
the drivers is one instruction to this method.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from effects import CHUNKS, PARTS, Effects, Short

import tenant_lifecycle
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.engine.driver import Driver, Drove
from tenant_lifecycle.engine.runner import sweep
from tenant_lifecycle.model.operation import TERMINAL, NewOperation, State, StepStatus

_ROOT = Path(tenant_lifecycle.__file__).parent
_TRACED = (f"{_ROOT / 'engine'}{os.sep}", f"{_ROOT / 'catalog'}{os.sep}")
#: Threads whose lines depend on the clock.
_UNTRACED = ("heartbeat", "claims")

#: File and number of a line.
Point = tuple[str, int]
#: A line at the nth time it is executed.
Target = tuple[Point, int]


@dataclass
class World:
    """One control database and one store, used for many operations of different tenants."""

    db: ControlDatabase
    effects: Effects
    made: int = 0
    definition: Short = field(init=False)

    def __post_init__(self) -> None:
        self.journal = SqlJournal(self.db)
        self.operations = Operations(self.db)
        self.definition = Short(self.effects)

    def driver(self, ttl_s: float = 30.0) -> Driver:
        return Driver(self.journal, [self.definition], ttl_s=ttl_s)

    def new(self, *, go: bool = True, tenant: str | None = None) -> str:
        """An operation on a tenant of its own, told to go."""
        self.made += 1
        tenant = tenant or f"tenant {self.made}"
        operation = self.operations.create(NewOperation("migrate", "short@1", tenant, "test"))
        if go:
            self.operations.signal(operation.id, "go", actor="test")
        return operation.id

    def fork(self, work: Callable[[], Any]) -> int:
        """Run ``work`` in a child process, which then ends without cleaning up; return its pid.

        Exit code: 1 after an exception, else the position of a `Drove` in its class, plus 10.
        """
        self.db.close()  # no connection may be in two processes
        pid = os.fork()
        if pid == 0:
            gc.disable()
            code = 1
            try:
                result = work()
                code = 10 + list(Drove).index(result) if isinstance(result, Drove) else 0
            except SystemExit:
                pass
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        return pid

    def recover(self, operation_id: str) -> None:
        """What a runner does: sweep, and drive while it is not over."""
        for _ in range(50):
            if self.operations.get(operation_id).state in TERMINAL | {State.ATTENTION, State.PAUSED}:
                return
            sweep(self.journal)
            self.driver().drive(operation_id)
        raise AssertionError(f"{operation_id} does not get anywhere: {self.operations.get(operation_id)}")

    def check(self, operation_id: str, state: State = State.SUCCEEDED) -> None:
        """The promises: a terminal state, every effect once and in order, tokens that grow, nothing held."""
        operation = self.operations.get(operation_id)
        assert operation.state is state, operation
        assert operation.owner is None
        events = self.operations.events(operation_id)
        tokens = [event.token for event in events if event.actor == "engine"]
        assert tokens == sorted(tokens), "an old driver wrote after a newer one"
        leases = [event.token for event in events if event.kind == "lease"]
        assert leases == sorted(set(leases)), "a token was given twice"
        effects = self.effects.of(operation_id)
        assert [token for _, token in effects] == sorted(token for _, token in effects)
        if state is State.SUCCEEDED:
            self._check_all_done(operation_id, [what for what, _ in effects])

    def _check_all_done(self, operation_id: str, effects: list[str]) -> None:
        only = self.definition.only
        assert effects == [what for what in ("claim", "announce", "retire") if what in only]
        parts = {f"chunk {number}" for number in range(CHUNKS) if "copy" in only}
        parts |= {f"item {number}" for number in range(PARTS) if "items" in only}
        assert self.effects.parts(operation_id) == parts
        steps = self.operations.steps(operation_id)
        assert [step.key for step in steps] == list(only)
        assert all(step.status is StepStatus.DONE for step in steps)
        done = [
            each.detail["step"] for each in self.operations.events(operation_id) if each.kind == "step_done"
        ]
        assert done == list(only), "an outcome was recorded twice"
        assert "go" not in only or not self.operations.signals(operation_id)
        if "switch" in only:
            operation = self.operations.get(operation_id)
            assert Tenants(self.db).get(operation.tenant_id).environment == "green"


class Tracer:
    """Counts executed lines, and acts when one of them is executed for the ``nth`` time."""

    def __init__(self, target: Target | None = None, act: Callable[[], None] = lambda: None) -> None:
        self.targets: list[Target] = []
        self._hits: Counter[Point] = Counter()
        self._target = target
        self._act = act
        self._ours: dict[Any, bool] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(_TRACED)
        if not ours or any(word in threading.current_thread().name for word in _UNTRACED):
            return None
        # Not at "return": an exception raised there passes the frame's own handlers by, which none really does.
        if event == "line":
            point = (code.co_filename, frame.f_lineno)
            self._hits[point] += 1
            target = (point, self._hits[point])
            self.targets.append(target)
            if target == self._target:
                self._act()
        return self

    def run(self, work: Callable[[], Any]) -> Any:
        threading.settrace(self)
        sys.settrace(self)
        try:
            return work()
        finally:
            sys.settrace(None)
            threading.settrace(None)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    raise SystemExit("cold shutdown")


def count(world: World) -> list[Target]:
    """The executed lines of a clean run (the second one: the first fills caches, and takes other lines)."""
    for _ in range(2):
        operation_id, tracer = world.new(), Tracer()
        world.db.close()  # as in a child, which has to connect
        tracer.run(lambda operation_id=operation_id: world.driver().drive(operation_id))
        world.check(operation_id)
    return tracer.targets


def sample(targets: Sequence[Target], every: int, draw: random.Random) -> list[Target]:
    """Every ``every``-th distinct line, each at one of the times it is executed."""
    by_line: dict[Point, list[Target]] = {}
    for target in targets:
        by_line.setdefault(target[0], []).append(target)
    chosen = [draw.choice(hits) for hits in by_line.values()]
    return chosen[draw.randrange(every) :: every]


def crash(world: World, targets: Sequence[Target], act: Callable[[], None]) -> None:
    """For each target: drive in a child that acts there, recover, and check the promises."""
    missed = 0
    for target in targets:
        operation_id = world.new()

        def drive(operation_id: str = operation_id, target: Target = target) -> Drove:
            return Tracer(target, act).run(lambda: world.driver().drive(operation_id))

        _, status = os.waitpid(world.fork(drive), 0)
        missed += os.waitstatus_to_exitcode(status) >= 10
        try:
            world.recover(operation_id)
            world.check(operation_id)
        except Exception as error:
            raise AssertionError(f"after a crash at {target}: {error}") from error
    # How often a line is executed varies a little with the time, but nearly every child must have died.
    assert missed <= 1 + len(targets) // 10, f"{missed} of {len(targets)} children ended unharmed"
