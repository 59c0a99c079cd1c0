"""A driver that was stopped, replaced and revived can change neither the journal nor the data.

The mutants at the end take one safeguard away each: that the same checks then fail shows that they can.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from crashes import Target, Tracer, World, count, crash, kill
from effects import FENCED

from tenant_lifecycle.catalog import journal as catalog_journal
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.tables import operation as operation_table
from tenant_lifecycle.engine.attempt import Attempt
from tenant_lifecycle.engine.driver import Drove
from tenant_lifecycle.engine.steps import Done
from tenant_lifecycle.model.operation import State, StepRecord, StepStatus

PLACES = ["before claim", "after claim", "before chunk", "before retire", "after retire"]


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def stopped(world: World, drive: Callable[[], Any]) -> int | None:
    """Fork ``drive`` and wait until it stopped itself; None if it ended before."""
    pid = world.fork(drive)
    _, status = os.waitpid(pid, os.WUNTRACED)
    return pid if os.WIFSTOPPED(status) else None


def revive(pid: int) -> Drove:
    """Let it go on, and say how its drive ended."""
    os.kill(pid, signal.SIGCONT)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code >= 10, f"the revived driver died of an exception or signal ({code})"
    return list(Drove)[code - 10]


def take_over(world: World, operation_id: str) -> None:
    """The lease runs out (without waiting for it) and another driver finishes."""
    for _, owner, token in world.journal.holders():
        assert world.journal.expire(operation_id, owner, token)
    world.recover(operation_id)


def zombie_in_a_step(world: World, place: str) -> Drove:
    """Stop a driver at a place of a step, replace it, revive it."""
    world.definition.only = FENCED
    operation_id = world.new()

    def stop_here(where: str) -> None:
        if where == place:
            stop()

    world.definition.hook = stop_here
    pid = stopped(world, lambda: world.driver().drive(operation_id))
    world.definition.hook = lambda where: None
    assert pid is not None
    try:
        take_over(world, operation_id)
    finally:
        ended = revive(pid)
    world.check(operation_id)
    return ended


def zombie_of_an_abandoned_operation(world: World) -> None:
    """Stop a driver before its effect, abort its operation, run a newer one, revive the driver."""
    world.definition.only = ("claim", "retire")
    world.definition.undoes = False
    world.definition.hook = lambda where: stop() if where == "before claim" else None
    old = world.new(tenant="acme")
    pid = stopped(world, lambda: world.driver().drive(old))
    world.definition.hook = lambda where: None
    assert pid is not None
    try:
        world.operations.abort(old, actor="test")
        take_over(world, old)
        newer = world.new(tenant="acme")
        world.recover(newer)
    finally:
        ended = revive(pid)
    world.check(old, State.ABORTED)
    world.check(newer)
    assert [operation for operation, _ in world.effects.of_tenant("acme")] == [newer, newer], (
        "an abandoned operation acted under a newer one"
    )
    assert ended is Drove.LOST


@pytest.mark.parametrize("place", PLACES)
def test_a_revived_driver_is_refused(world: World, place: str) -> None:
    assert zombie_in_a_step(world, place) is Drove.LOST


@pytest.mark.slow
def test_a_driver_revived_between_any_two_steps_is_refused(world: World) -> None:
    """Stops at lines of the engine itself, where no transaction is open."""
    world.definition.only = FENCED
    lines = count(world)
    # A stop in a transaction would lock the others out of an SQLite file until the driver is revived or killed.
    quiet = ("engine/driver.py", "engine/attempt.py", "engine/decide.py")
    held = next(n for n, ((file, _), _) in enumerate(lines) if file.endswith("heartbeat.py"))
    between = [target for target in lines[held:-200] if target[0][0].endswith(quiet)]
    for target in random.SystemRandom().sample(between, 6):
        operation_id = world.new()

        def drive(operation_id: str = operation_id, target: Target = target) -> Drove:
            return Tracer(target, stop).run(lambda: world.driver().drive(operation_id))

        pid = stopped(world, drive)
        assert pid is not None
        try:
            take_over(world, operation_id)
        finally:
            revive(pid)
        world.check(operation_id)


def test_a_driver_that_was_away_longer_than_its_lease_is_replaced_without_help(world: World) -> None:
    world.definition.only = FENCED
    operation_id = world.new()
    world.definition.hook = lambda where: stop() if where == "after claim" else None
    pid = stopped(world, lambda: world.driver(ttl_s=1.0).drive(operation_id))
    world.definition.hook = lambda where: None
    assert pid is not None
    assert world.driver().drive(operation_id) is Drove.DENIED
    time.sleep(1.1)
    assert world.driver().drive(operation_id) is Drove.ENDED
    assert revive(pid) is Drove.LOST
    world.check(operation_id)


def test_a_revived_driver_of_an_abandoned_operation_is_refused(world: World) -> None:
    zombie_of_an_abandoned_operation(world)


# Mutants. On one database each: they are about the engine's order of things.


@pytest.fixture
def sqlite_world(world: World) -> World:
    if not world.db.sqlite:
        pytest.skip("a mutant is shown once")
    return world


def lines_of(world: World, file: str) -> list[Target]:
    """Each line of a file the first time it is executed."""
    return [target for target in count(world) if target[0][0].endswith(file) and target[1] == 1]


def test_without_receipts_an_effect_is_doubled(sqlite_world: World) -> None:
    world = sqlite_world
    world.definition.only = ("claim",)
    lines = lines_of(world, "engine/attempt.py")
    crash(world, lines, kill)
    world.effects.receipts = False
    with pytest.raises(AssertionError, match="after a crash"):
        crash(world, lines, kill)


def test_without_intent_before_the_effect_a_probe_is_not_asked(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sqlite_world
    world.definition.only = ("announce",)
    lines = lines_of(world, "engine/attempt.py")
    crash(world, lines, kill)

    def effect_first(self: Any) -> None:
        step = self._step
        record = StepRecord(
            "", step.key, "", 1, step.kind, False, StepStatus.INTENT, 1, 0, 0, None, None, None, True,
            {}, None, None, 0.0, 0.0, None, None,
        )  # fmt: skip
        outcome = self._act(record)
        self._journal.intent(self._lease, step, self._before)
        assert isinstance(outcome, Done)
        self._journal.done(self._lease, step.key, outcome, ())

    monkeypatch.setattr(Attempt, "run", effect_first)
    with pytest.raises(AssertionError, match="after a crash"):
        crash(world, lines_of(world, "engine/attempt.py"), kill)


def no_guard(db: Any, conn: sa.Connection, lease: Any, **changes: Any) -> Any:
    return conn.execute(
        operation_table.update()
        .where(operation_table.c.id == lease.operation_id)
        .values({"rev": operation_table.c.rev + 1, **changes})
        .returning(operation_table.c.desired, operation_table.c.aborting, operation_table.c.state)
    ).one()


def test_without_the_guard_a_revived_driver_writes_the_journal(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_journal, "guard", no_guard)
    with pytest.raises(AssertionError, match="old driver wrote"):
        zombie_in_a_step(sqlite_world, "after retire")


def test_with_a_guard_that_locks_nothing_a_revived_driver_writes_the_journal(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, done = sqlite_world, SqlJournal.done
    main = os.getpid()

    def look_then_write(self: SqlJournal, lease: Any, key: str, *rest: Any) -> None:
        if key != "claim" or os.getpid() == main:
            return done(self, lease, key, *rest)
        assert self.standing(lease).held
        stop()
        with monkeypatch.context() as patched:
            patched.setattr(catalog_journal, "guard", no_guard)
            return done(self, lease, key, *rest)

    monkeypatch.setattr(SqlJournal, "done", look_then_write)
    with pytest.raises(AssertionError, match="old driver wrote"):
        zombie_in_a_step(world, "never")


def test_without_the_fence_an_abandoned_operation_acts(sqlite_world: World) -> None:
    sqlite_world.effects.fenced = False
    with pytest.raises(AssertionError, match="acted under a newer one"):
        zombie_of_an_abandoned_operation(sqlite_world)


def test_with_a_fence_per_operation_an_abandoned_operation_acts(sqlite_world: World) -> None:
    sqlite_world.effects.resource = lambda operation: operation.id
    with pytest.raises(AssertionError, match="acted under a newer one"):
        zombie_of_an_abandoned_operation(sqlite_world)
