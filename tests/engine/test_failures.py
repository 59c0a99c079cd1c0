"""Errors: tried again in rows, undone, or left for a person; drivers that die are replaced."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from scripts import Log, Stage, step

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.leases import MAX_STALLS
from tenant_lifecycle.engine.driver import Driver, Drove
from tenant_lifecycle.engine.heartbeat import Heartbeat
from tenant_lifecycle.engine.owner import Owner
from tenant_lifecycle.engine.runner import sweep
from tenant_lifecycle.engine.steps import Done, OnError, Outcome, Probed, Retry, StepContext, StepKind
from tenant_lifecycle.errors import (
    Fenced,
    LeaseLost,
    PreconditionRefused,
    StoreRejected,
    StoreUnavailable,
    WrongState,
)
from tenant_lifecycle.model.operation import State, StepStatus

QUICK = Retry(attempts=3, first_s=0.05, jitter=0.0)


def unavailable(ctx: StepContext) -> Outcome:
    raise StoreUnavailable("green does not answer", store="green", next_step="start it")


def test_the_pause_before_another_try_is_a_row(control: ControlDatabase) -> None:
    stage = Stage(control, step("copy", unavailable, retry=Retry(first_s=3600.0)))
    assert stage.drive() is Drove.RELEASED
    record = stage.step("copy")
    assert (stage.state, record.status, record.failures) == (State.WAITING, StepStatus.FAILED, 1)
    assert record.next_try_at == pytest.approx(stage.operation.wake_at)
    assert record.error is not None
    assert record.error.kind == "StoreUnavailable"
    assert "green does not answer" in stage.operation.why
    assert stage.drive() is Drove.DENIED
    stage.operations.retry(stage.id, actor="anna")
    assert stage.drive() is Drove.RELEASED
    assert stage.step("copy").failures == 1, "a person's retry starts the count again"


def test_a_retryable_error_is_tried_again(control: ControlDatabase) -> None:
    calls = []

    def run(ctx: StepContext) -> Outcome:
        calls.append(ctx.attempt)
        return Done() if len(calls) == 3 else unavailable(ctx)

    stage = Stage(control, step("copy", run, retry=QUICK))
    with stage.runner():
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert calls == [1, 2, 3]
    assert stage.definition.sessions == ["opened", "left"] * 3, "each try has a session of its own"


def test_after_all_tries_a_person_is_asked_and_retry_goes_on(control: ControlDatabase) -> None:
    broken = [True]

    def run(ctx: StepContext) -> Outcome:
        return unavailable(ctx) if broken else Done()

    stage = Stage(control, step("copy", run, retry=QUICK))
    with stage.runner() as runner:
        assert runner.wait(stage.id, 10).state is State.ATTENTION
        error = stage.operation.error
        assert error is not None
        assert (error.kind, error.next_step, error.step) == ("StoreUnavailable", "start it", "copy")
        assert stage.step("copy").failures == 3
        broken.clear()
        stage.operations.retry(stage.id, actor="anna")
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert stage.operation.error is None


def test_progress_forgets_failures(control: ControlDatabase) -> None:
    def run(ctx: StepContext) -> Outcome:
        if ctx.attempt > 6:
            return Done()
        ctx.progress(ctx.attempt, 6, cursor=ctx.attempt)
        return unavailable(ctx)

    stage = Stage(control, step("copy", run, retry=QUICK))
    with stage.runner():
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert stage.step("copy").attempt == 7


def test_a_fatal_error_keeps_everything_and_names_its_cause(control: ControlDatabase) -> None:
    log = Log()

    def run(ctx: StepContext) -> Outcome:
        raise StoreRejected(
            "no privilege to create a slot", store="blue", next_step="ALTER ROLE … REPLICATION"
        )

    stage = Stage(control, log.step("one"), step("two", run))
    assert stage.drive() is Drove.RELEASED
    assert stage.state is State.ATTENTION
    assert stage.operation.error is not None
    assert stage.operation.error.next_step == "ALTER ROLE … REPLICATION"
    assert log.lines == ["one"]
    assert stage.drive() is Drove.DENIED
    with pytest.raises(WrongState, match="stands already"):
        stage.operations.pause(stage.id, actor="anna")


def test_a_strangers_error_leaves_no_row_in_the_journal(control: ControlDatabase) -> None:
    def run(ctx: StepContext) -> Outcome:
        raise ValueError("duplicate key (email)=(jane@testdomain.example)")

    stage = Stage(control, step("copy", run))
    stage.drive()
    assert stage.state is State.ATTENTION
    record = stage.step("copy")
    assert record.error is not None
    assert record.error.message.startswith("unexpected ValueError at test_failures.py:")
    said = f"{stage.operation} {record} {stage.operations.events(stage.id)}"
    assert "jane" not in said


def test_a_refusal_before_anything_was_changed_ends_as_failed(control: ControlDatabase) -> None:
    def run(ctx: StepContext) -> Outcome:
        raise PreconditionRefused("wal_level is replica", next_step="set it to logical")

    stage = Stage(control, step("check", run, on_error=OnError.FAIL))
    assert stage.drive() is Drove.ENDED
    assert stage.state is State.FAILED
    assert stage.operation.error is not None
    assert stage.operation.error.next_step == "set it to logical"
    assert stage.new()


def test_a_step_that_fails_the_operation_has_the_others_undone(control: ControlDatabase) -> None:
    log = Log()
    stage = Stage(
        control, log.step("one"), step("two", unavailable, retry=Retry(attempts=1), on_error=OnError.FAIL)
    )
    stage.drive()
    assert stage.state is State.FAILED
    assert log.lines == ["one", "undo one"]


def test_an_error_while_undoing_asks_a_person_and_keeps_the_first_cause(control: ControlDatabase) -> None:
    log, broken = Log(), [True]

    def undo(ctx: StepContext) -> Outcome:
        if broken:
            raise StoreRejected("no privilege to drop the slot", store="blue")
        return Done()

    def refuse(ctx: StepContext) -> Outcome:
        raise PreconditionRefused("the target is full")

    stage = Stage(control, log.step("one", undo=undo), step("two", refuse, on_error=OnError.FAIL))
    stage.drive()
    assert stage.state is State.ATTENTION
    assert stage.operation.aborting
    broken.clear()
    stage.operations.retry(stage.id, actor="anna")
    assert stage.state is State.ABORTING
    stage.drive()
    assert stage.state is State.FAILED
    assert stage.operation.error is not None
    assert stage.operation.error.message == "the target is full"


def test_a_definition_with_a_bug_asks_a_person(control: ControlDatabase) -> None:
    stage = Stage(control)
    stage.definition.script = lambda outputs: [][0]
    assert stage.drive() is Drove.RELEASED
    assert stage.state is State.ATTENTION
    stage.definition.script = lambda outputs: []
    stage.operations.retry(stage.id, actor="anna")
    assert stage.drive() is Drove.ENDED


@pytest.mark.parametrize(
    ("answer", "state", "calls"),
    [
        (Probed.DONE, State.SUCCEEDED, 1),
        (Probed.NOT_DONE, State.SUCCEEDED, 2),
        (Probed.UNKNOWN, State.ATTENTION, 1),
    ],
)
def test_an_attempt_cut_off_is_asked_about_before_a_second(
    control: ControlDatabase, answer: Probed, state: State, calls: int
) -> None:
    ran = []

    def run(ctx: StepContext) -> Outcome:
        ran.append(1)
        if len(ran) == 1:
            raise SystemExit
        return Done()

    stage = Stage(control, step("mail", run, StepKind.PROBE, probe=lambda ctx: answer))
    with pytest.raises(SystemExit):
        stage.drive()
    stage.drive()
    assert stage.state is state
    assert len(ran) == calls


@pytest.mark.parametrize("happened", [True, False])
def test_a_person_says_what_became_of_an_unknown_outcome(control: ControlDatabase, happened: bool) -> None:
    ran = []

    def run(ctx: StepContext) -> Outcome:
        ran.append(1)
        if len(ran) == 1:
            raise SystemExit
        return Done()

    stage = Stage(control, step("mail", run, StepKind.PROBE, probe=lambda ctx: Probed.UNKNOWN))
    with pytest.raises(SystemExit):
        stage.drive()
    stage.drive()
    assert stage.step("mail").status is StepStatus.UNKNOWN
    stage.operations.resolve(stage.id, "mail", happened=happened, actor="anna")
    stage.operations.retry(stage.id, actor="anna")
    stage.drive()
    assert stage.state is State.SUCCEEDED
    assert len(ran) == (1 if happened else 2)


def test_a_driver_killed_again_and_again_without_progress_is_quarantined(control: ControlDatabase) -> None:
    def die(ctx: StepContext) -> Outcome:
        os._exit(9)

    stage = Stage(control, step("copy", die))
    for taken in range(1, MAX_STALLS + 1):
        die_in_a_child(stage)
        assert stage.operation.stalls == taken
        assert sweep(stage.journal) == [stage.id]
    assert stage.drive() is Drove.DENIED
    assert stage.state is State.ATTENTION
    assert stage.operation.error is not None
    assert stage.operation.error.kind == "Stalled"
    stage.definition.script = lambda outputs: [step("copy")]
    stage.operations.retry(stage.id, actor="anna")
    assert stage.drive() is Drove.ENDED


def test_progress_is_no_stall(control: ControlDatabase) -> None:
    def die(ctx: StepContext) -> Outcome:
        ctx.progress(ctx.attempt, cursor=ctx.attempt)
        os._exit(9)

    stage = Stage(control, step("copy", die))
    for _ in range(MAX_STALLS + 2):
        die_in_a_child(stage)
        assert stage.operation.stalls == 0
        sweep(stage.journal)
    assert stage.state is State.RUNNING


def die_in_a_child(stage: Stage) -> None:
    stage.db.close()
    if (pid := os.fork()) == 0:
        try:
            stage.drive()
        finally:
            os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_a_driver_killed_on_this_host_is_replaced_within_a_second(control: ControlDatabase) -> None:
    def run(ctx: StepContext) -> Outcome:
        if ctx.attempt == 1:
            ctx.progress(1, cursor=1)
            time.sleep(60)
        return Done({"from": ctx.cursor})

    stage = Stage(control, step("copy", run))
    stage.db.close()
    if (pid := os.fork()) == 0:
        try:
            stage.drive()
        finally:
            os._exit(8)
    stage.until(lambda: bool(stage.operations.steps(stage.id)) and stage.step("copy").cursor == 1)
    with stage.runner(poll_s=0.25, sweep_s=0.5):
        time.sleep(0.6)
        assert stage.operation.token == 1, "a living driver keeps its lease"
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        assert stage.until(lambda: stage.state is State.SUCCEEDED) < 1.0
    assert stage.operation.result == {"from": 1}


def test_only_a_proven_death_counts() -> None:
    me = Owner.of_this_process()
    assert not me.is_dead()
    assert Owner.parse(str(me)) == me
    assert Owner(me.host, me.boot, me.pid, me.start_ticks + 1, "x").is_dead(), (
        "the pid is another process' now"
    )
    assert not Owner("elsewhere", me.boot, me.pid, me.start_ticks + 1, "x").is_dead()
    assert not Owner(me.host, "another boot", me.pid, me.start_ticks + 1, "x").is_dead()
    assert not Owner(me.host, "", me.pid, me.start_ticks + 1, "x").is_dead()
    assert Owner.parse("worker-7") is None


def test_a_driver_without_an_answer_stops_before_its_lease_ends(control: ControlDatabase) -> None:
    stage = Stage(control, step("copy"))
    lease = stage.journal.acquire(stage.id, "me", 1.0, ["script@1"], 0)
    assert lease is not None

    class Cut:
        """A journal behind a cut network."""

        def __getattr__(self, name: str) -> Callable[..., object]:
            def fail(*args: object) -> object:
                raise StoreUnavailable("no answer", store="control")

            return fail

    started = time.monotonic()
    with Heartbeat(Cut(), lease, lambda: False, started) as pulse:  # type: ignore[arg-type]
        pulse.check()
        with pytest.raises(LeaseLost):
            while time.monotonic() < started + 1.0:
                pulse.check()
                time.sleep(0.01)


def test_long_work_keeps_its_lease(control: ControlDatabase) -> None:
    def run(ctx: StepContext) -> Outcome:
        for _ in range(20):
            ctx.check()
            time.sleep(0.1)
        return Done()

    stage = Stage(control, step("index", run))
    stage.driver = Driver(stage.journal, [stage.definition], ttl_s=1.2)
    assert stage.drive() is Drove.ENDED
    assert stage.operation.token == 1


def test_after_a_restored_journal_the_token_is_above_what_stores_have_seen(control: ControlDatabase) -> None:
    stage = Stage(control)
    seen, tokens = {"acme": 41}, list[int]()

    def run(ctx: StepContext) -> Outcome:
        tokens.append(ctx.token)
        if ctx.token < seen["acme"]:
            raise Fenced("a newer token was seen")
        return Done()

    stage.definition.script = lambda outputs: [step("copy", run, retry=QUICK)]
    with stage.runner():
        stage.until(lambda: stage.step("copy").failures > 0 if stage.operations.steps(stage.id) else False)
    stage.driver = Driver(stage.journal, [stage.definition], floor=lambda tenant: seen[tenant])
    with stage.runner():
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert tokens[-1] == 42


def test_tokens_grow_over_operations_of_a_tenant(control: ControlDatabase) -> None:
    tokens = []

    def run(ctx: StepContext) -> Outcome:
        tokens.append(ctx.token)
        return Done()

    stage = Stage(control, step("one", run))
    stage.drive()
    for _ in range(3):
        stage.id = stage.new()
        stage.drive()
    assert tokens == [1, 2, 3, 4]


def test_retry_pauses_grow_to_a_ceiling_and_are_spread() -> None:
    retry = Retry(first_s=1.0, factor=2.0, ceiling_s=60.0, jitter=0.5)
    assert [retry.delay_s(n, draw=0.5) for n in (1, 2, 3, 7, 10_000)] == [1.0, 2.0, 4.0, 60.0, 60.0]
    assert retry.delay_s(1, draw=0.0) == 0.5
    assert 1.4 < retry.delay_s(1, draw=0.99) < 1.5
