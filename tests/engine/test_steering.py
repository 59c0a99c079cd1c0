"""People steer: pause, resume, abort, signals; drivers obey at the next safe point."""

from __future__ import annotations

import time

import pytest
from scripts import Log, Stage, step

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.engine.driver import Drove
from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, StepKind, Wait
from tenant_lifecycle.errors import StoreRejected, WrongState
from tenant_lifecycle.model.operation import Operation, Outputs, State


def endless(ctx: StepContext) -> Outcome:
    """Work in chunks, until a person stops it or tells it to end."""
    chunk = ctx.cursor or 0
    while ctx.take_signal("enough") is None:
        ctx.check()
        chunk += 1
        ctx.progress(chunk, cursor=chunk)
        time.sleep(0.01)
    return Done({"chunks": chunk})


def test_a_pause_is_obeyed_within_a_second_and_resume_goes_on_from_the_cursor(
    control: ControlDatabase,
) -> None:
    stage = Stage(control, step("copy", endless))
    with stage.runner():
        stage.until(lambda: stage.state is State.RUNNING and bool(stage.operations.steps(stage.id)))
        time.sleep(0.1)
        stage.operations.pause(stage.id, actor="anna", reason="load")
        assert stage.until(lambda: stage.state is State.PAUSED) < 1.5
        assert stage.operation.owner is None
        assert stage.definition.sessions == ["opened", "left"]
        cursor = stage.step("copy").cursor
        assert cursor > 0
        assert stage.drive() is Drove.DENIED
        stage.operations.resume(stage.id, actor="anna")
        stage.operations.signal(stage.id, "enough", actor="anna")
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert stage.operation.result is not None
    assert stage.operation.result["chunks"] >= cursor
    assert stage.definition.sessions == ["opened", "left"] * 2


def test_a_pause_of_what_nobody_drives_is_immediate(control: ControlDatabase) -> None:
    stage = Stage(control, step("one"))
    stage.operations.pause(stage.id, actor="anna")
    assert stage.state is State.PAUSED
    assert stage.drive() is Drove.DENIED
    stage.operations.resume(stage.id, actor="anna")
    assert stage.drive() is Drove.ENDED
    with pytest.raises(WrongState, match="over"):
        stage.operations.pause(stage.id, actor="anna")


def test_an_abort_undoes_what_began_newest_first(control: ControlDatabase) -> None:
    log = Log()
    stage = Stage(
        control, log.step("one"), log.step("two"), log.step("three", run=endless), log.step("never")
    )
    with stage.runner():
        stage.until(lambda: any(each.key == "three" for each in stage.operations.steps(stage.id)))
        stage.operations.abort(stage.id, actor="anna", reason="wrong tenant")
        stage.until(lambda: stage.state is State.ABORTED)
    assert log.lines == ["one", "two", "undo three", "undo two", "undo one"]
    assert stage.operation.reason == "wrong tenant"
    assert stage.new()  # the tenant is free again


def test_a_killed_abort_goes_on_where_it_was(control: ControlDatabase) -> None:
    log, dies = Log(), [True]

    def undo_two(ctx: StepContext) -> Outcome:
        if dies and dies.pop():
            raise SystemExit
        log.lines.append("undo two")
        return Done()

    def wait(ctx: StepContext) -> Outcome:
        return Wait(signals=("go",))

    stage = Stage(control, log.step("one"), log.step("two", undo=undo_two), step("wait", wait, StepKind.WAIT))
    assert stage.drive() is Drove.RELEASED
    stage.operations.abort(stage.id, actor="anna")
    with pytest.raises(SystemExit):
        stage.drive()
    assert stage.state is State.ABORTING
    assert stage.drive() is Drove.ENDED
    assert stage.state is State.ABORTED
    assert log.lines == ["one", "two", "undo two", "undo one"]


def test_an_abort_may_be_paused(control: ControlDatabase) -> None:
    def undo(ctx: StepContext) -> Outcome:
        return endless(ctx)

    stage = Stage(
        control, step("one", undo=undo), step("wait", lambda ctx: Wait(signals=("go",)), StepKind.WAIT)
    )
    with stage.runner():
        stage.until(lambda: stage.state is State.WAITING)
        stage.operations.abort(stage.id, actor="anna")
        stage.until(lambda: any(each.key == "undo/one" for each in stage.operations.steps(stage.id)))
        stage.operations.pause(stage.id, actor="anna")
        stage.until(lambda: stage.state is State.PAUSED)
        stage.operations.resume(stage.id, actor="anna")
        assert stage.operation.aborting
        stage.operations.signal(stage.id, "enough", actor="anna")
        stage.until(lambda: stage.state is State.ABORTED)


def test_an_abort_after_the_point_of_no_return_is_refused_at_once(control: ControlDatabase) -> None:
    log = Log()
    wait = step("wait", lambda ctx: Wait(signals=("go",)), StepKind.WAIT)
    stage = Stage(control, log.step("one"), log.step("drop", critical=True), wait)
    stage.drive()
    with pytest.raises(WrongState, match=r"too late.*'do drop'"):
        stage.operations.abort(stage.id, actor="anna")
    assert stage.state is State.WAITING


def test_an_abort_in_the_middle_of_the_point_of_no_return_is_refused_by_the_driver(
    control: ControlDatabase,
) -> None:
    log = Log()
    stage = Stage(control, log.step("one"), log.step("drop", run=endless, critical=True))
    with stage.runner():
        stage.until(lambda: any(each.key == "drop" for each in stage.operations.steps(stage.id)))
        stage.operations.abort(stage.id, actor="anna")
        stage.until(lambda: "abort_refused" in stage.kinds())
        stage.operations.signal(stage.id, "enough", actor="anna")
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert log.lines == ["one"]


def test_a_definition_says_what_an_abort_is(control: ControlDatabase) -> None:
    log = Log()
    wait = step("settle", lambda ctx: Wait(signals=("go",)), StepKind.WAIT)
    stage = Stage(control, log.step("flip/1"), wait)

    def back(operation: Operation, outputs: Outputs) -> list[object]:
        assert operation.desired == "abort" or operation.aborting
        return [log.step("flip/back")] if "flip/1" in outputs else []

    stage.definition.abort_steps = back  # type: ignore[method-assign,assignment]
    stage.definition.aborted_state = lambda operation, outputs: State.ROLLED_BACK  # type: ignore[method-assign]
    stage.drive()
    stage.operations.abort(stage.id, actor="anna")
    stage.drive()
    assert stage.state is State.ROLLED_BACK
    assert log.lines == ["flip/1", "flip/back"]


def test_an_abort_leaves_attention(control: ControlDatabase) -> None:
    log = Log()

    def refuse(ctx: StepContext) -> Outcome:
        raise StoreRejected("no privilege", store="green", next_step="grant it")

    stage = Stage(control, log.step("one"), log.step("two", run=refuse))
    stage.drive()
    assert stage.state is State.ATTENTION
    stage.operations.abort(stage.id, actor="anna")
    stage.drive()
    assert stage.state is State.ABORTED
    assert log.lines == ["one", "undo two", "undo one"]


def settle(ctx: StepContext) -> Outcome:
    signal = ctx.take_signal("rollback", "complete")
    if signal is None:
        return Wait(
            signals=("rollback", "complete"), why="waits for a decision", hold=ctx.operation.spec["hold"]
        )
    return Done({"decision": signal.kind, "note": signal.payload.get("note")})


@pytest.mark.parametrize("hold", [False, True])
def test_a_signal_wakes_a_waiting_operation_and_is_taken_once(control: ControlDatabase, hold: bool) -> None:
    stage = Stage(control)

    def flow(outputs: Outputs) -> list[object]:
        """flip/1, settle/1, then again as often as a rollback is asked for."""
        steps, turn = [], 0
        while True:
            turn += 1
            steps += [step(f"flip/{turn}"), step(f"settle/{turn}", settle, StepKind.WAIT)]
            if outputs.get(f"settle/{turn}", {}).get("decision") != "rollback":
                return steps

    stage.definition.script = flow  # type: ignore[assignment]
    stage.operations.abort(stage.id, actor="test")
    stage.drive()
    stage.id = stage.new(hold=hold)
    stage.definition.sessions.clear()
    with stage.runner():
        for turn in (1, 2):
            stage.until(lambda: stage.state is State.WAITING)
            assert stage.operation.why == "waits for a decision"
            assert (stage.operation.owner is not None) is hold
            stage.operations.signal(stage.id, "rollback", {"note": turn}, actor="anna")
            stage.until(
                lambda turn=turn: f"flip/{turn + 1}" in {s.key for s in stage.operations.steps(stage.id)}
            )
        stage.until(lambda: stage.state is State.WAITING)
        stage.operations.signal(stage.id, "complete", actor="anna")
        stage.until(lambda: stage.state is State.SUCCEEDED)
    outputs = [each.output for each in stage.operations.steps(stage.id) if each.key.startswith("settle")]
    assert [output and output["decision"] for output in outputs] == ["rollback", "rollback", "complete"]
    assert [output and output["note"] for output in outputs] == [1, 2, None]
    assert not stage.operations.signals(stage.id)
    assert len(stage.definition.sessions) == (2 if hold else 8)


def test_a_signal_sent_before_the_wait_is_not_lost(control: ControlDatabase) -> None:
    stage = Stage(control)

    def run(ctx: StepContext) -> Outcome:
        if ctx.take_signal("go"):
            return Done()
        # Sent after the step looked, before the operation is released.
        stage.operations.signal(stage.id, "go", actor="anna")
        return Wait(signals=("go",))

    stage.definition.script = lambda outputs: [step("wait", run, StepKind.WAIT)]
    assert stage.drive() is Drove.RELEASED
    assert stage.drive() is Drove.ENDED


def test_a_signal_taken_by_an_attempt_that_died_is_seen_again(control: ControlDatabase) -> None:
    seen = []

    def run(ctx: StepContext) -> Outcome:
        signal = ctx.take_signal("go")
        assert signal is not None
        assert ctx.take_signal("go") is None
        seen.append(signal.seq)
        if len(seen) == 1:
            raise SystemExit
        return Done()

    stage = Stage(control, step("wait", run, StepKind.WAIT))
    stage.operations.signal(stage.id, "go", actor="anna")
    with pytest.raises(SystemExit):
        stage.drive()
    stage.drive()
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert not stage.operations.signals(stage.id)


def test_a_timer_wakes_the_operation_not_before_its_time(control: ControlDatabase) -> None:
    woken = []

    def run(ctx: StepContext) -> Outcome:
        woken.append(ctx.now())
        until = woken[0] + 0.5
        return Done() if ctx.now() >= until else Wait(until=until, why="soaks")

    stage = Stage(control, step("soak", run, StepKind.WAIT))
    with stage.runner():
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert len(woken) == 2
    assert woken[1] >= woken[0] + 0.5
    assert stage.step("soak").attempt == 1
