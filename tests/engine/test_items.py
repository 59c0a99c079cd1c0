"""Work items: each done once, by any number of threads and processes, over crashes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from scripts import Stage, step

from tenant_lifecycle.catalog import work_items
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.tables import work_item
from tenant_lifecycle.engine.driver import Drove
from tenant_lifecycle.engine.items import ItemCounts, WorkItem
from tenant_lifecycle.engine.runner import sweep
from tenant_lifecycle.engine.steps import Done, Outcome, Retry, StepContext
from tenant_lifecycle.engine.workers import Crew, assist
from tenant_lifecycle.errors import StoreRejected, StoreUnavailable
from tenant_lifecycle.model.operation import Json, State

QUICK = Retry(attempts=3, first_s=0.02, jitter=0.0)


def items(number: int) -> list[WorkItem]:
    return [WorkItem(f"part {n}", {"n": n}) for n in range(number)]


def test_threads_share_the_items_and_each_is_done_once(control: ControlDatabase) -> None:
    done: list[str] = []
    threads = set()

    def work(item: WorkItem) -> Json:
        threads.add(threading.get_ident())
        time.sleep(0.02)
        done.append(item.key)
        return {"twice": item.payload["n"] * 2}

    def run(ctx: StepContext) -> Outcome:
        assert ctx.items.seed(items(30)) == 30
        assert ctx.items.seed(items(30)) == 30
        assert ctx.items.run(work, workers=4) == ItemCounts(30, 30, 0)
        return Done({"sum": sum(output["twice"] for output in ctx.items.outputs().values())})

    stage = Stage(control, step("copy", run))
    assert stage.drive() is Drove.ENDED
    assert sorted(done) == sorted(item.key for item in items(30))
    assert len(threads) == 4
    assert stage.operation.result == {"sum": 2 * sum(range(30))}


def test_a_step_is_not_done_without_the_items_of_a_thread_that_died_without_a_word(
    control: ControlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    labour, threads = Crew._labour, 0

    def die_at_first(crew: Crew) -> None:
        nonlocal threads
        threads += 1
        if threads > 1:
            labour(crew)

    monkeypatch.setattr(Crew, "_labour", die_at_first)

    def run(ctx: StepContext) -> Outcome:
        ctx.items.seed(items(3))
        assert ctx.items.run(lambda item: done.append(item.key)) == ItemCounts(3, 3, 0)
        return Done()

    assert Stage(control, step("copy", run)).drive() is Drove.ENDED
    assert sorted(done) == sorted(item.key for item in items(3))


def test_a_failed_item_is_tried_again_while_others_go_on(control: ControlDatabase) -> None:
    tries: dict[str, int] = {}

    def work(item: WorkItem) -> None:
        tries[item.key] = item.attempt
        if item.key == "part 0" and item.attempt < 3:
            raise StoreUnavailable("cut", store="green")

    def run(ctx: StepContext) -> Outcome:
        ctx.items.seed(items(5))
        ctx.items.run(work, workers=2)
        return Done()

    stage = Stage(control, step("copy", run, retry=QUICK))
    assert stage.drive() is Drove.ENDED
    assert tries == {"part 0": 3, **{f"part {n}": 1 for n in range(1, 5)}}


@pytest.mark.parametrize(
    "error", [StoreRejected("no right", store="green"), StoreUnavailable("cut", store="green")]
)
def test_an_item_that_fails_for_good_asks_a_person_and_retry_takes_only_what_is_left(
    control: ControlDatabase, error: Exception
) -> None:
    broken, done = [True], []

    def work(item: WorkItem) -> None:
        if item.key == "part 2" and broken:
            raise error
        done.append(item.key)

    def run(ctx: StepContext) -> Outcome:
        ctx.items.seed(items(4))
        ctx.items.run(work)
        return Done()

    stage = Stage(control, step("copy", run, retry=QUICK))
    stage.drive()
    assert stage.state is State.ATTENTION
    assert stage.operation.error is not None
    assert str(error) in stage.operation.error.message
    broken.clear()
    stage.operations.retry(stage.id, actor="anna")
    assert stage.drive() is Drove.ENDED
    assert sorted(done) == [f"part {n}" for n in range(4)]


def test_a_pause_reaches_every_thread_and_items_go_on_later(control: ControlDatabase) -> None:
    done: list[str] = []
    released = threading.Event()

    def run(ctx: StepContext) -> Outcome:
        def work(item: WorkItem) -> None:
            while not released.wait(0.01):
                ctx.check()
            done.append(item.key)

        ctx.items.seed(items(6))
        ctx.items.run(work, workers=3)
        return Done()

    stage = Stage(control, step("copy", run))
    with stage.runner():
        stage.until(lambda: bool(stage.operations.steps(stage.id)))
        stage.operations.pause(stage.id, actor="anna")
        stage.until(lambda: stage.state is State.PAUSED)
        assert not done
        released.set()
        stage.operations.resume(stage.id, actor="anna")
        stage.until(lambda: stage.state is State.SUCCEEDED)
    assert sorted(done) == [f"part {n}" for n in range(6)]


def helped(stage: Stage, folder: Path, number: int, *, sleep_s: float) -> None:
    """A step whose items write files; the files say who did them."""

    def work(item: WorkItem) -> None:
        with (folder / "log").open("a") as log:
            log.write(f"{item.key} {os.getpid()}\n")
        time.sleep(sleep_s)

    def run(ctx: StepContext) -> Outcome:
        ctx.items.seed(items(number))
        ctx.items.run(work)
        return Done()

    stage.definition.script = lambda outputs: [step("copy", run)]


def help_in_a_child(stage: Stage, folder: Path, sleep_s: float) -> int:
    stage.db.close()
    if (pid := os.fork()) == 0:
        code = 1
        try:

            def work(item: WorkItem, token: int) -> None:
                with (folder / "log").open("a") as log:
                    log.write(f"{item.key} {os.getpid()}\n")
                time.sleep(sleep_s)

            while not stage.operation.terminal:
                assist(stage.journal, stage.id, "copy", work)
                time.sleep(0.02)
            code = 0
        finally:
            os._exit(code)
    return pid


def lines(folder: Path) -> list[list[str]]:
    return [line.rsplit(" ", 1) for line in (folder / "log").read_text().splitlines()]


def test_other_processes_take_items_of_a_running_operation(control: ControlDatabase, tmp_path: Path) -> None:
    stage = Stage(control)
    helped(stage, tmp_path, 24, sleep_s=0.05)
    helpers = [help_in_a_child(stage, tmp_path, 0.05) for _ in range(2)]
    assert stage.drive() is Drove.ENDED
    for pid in helpers:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    done = lines(tmp_path)
    assert sorted(key for key, _ in done) == sorted(item.key for item in items(24)), "each exactly once"
    assert len({pid for _, pid in done}) == 3


def test_the_item_of_a_killed_helper_is_done_by_somebody_else(
    control: ControlDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_items, "CLAIM_S", 0.6)
    stage = Stage(control)
    helped(stage, tmp_path, 6, sleep_s=0.05)
    helper = help_in_a_child(stage, tmp_path, 60.0)

    def kill() -> None:
        stage.until(
            lambda: (tmp_path / "log").exists() and any(pid == str(helper) for _, pid in lines(tmp_path))
        )
        os.kill(helper, signal.SIGKILL)
        os.waitpid(helper, 0)

    killer = threading.Thread(target=kill)
    killer.start()
    assert stage.drive() is Drove.ENDED
    killer.join()
    done = lines(tmp_path)
    assert {key for key, pid in done if pid != str(helper)} == {item.key for item in items(6)}


def test_items_of_a_killed_driver_are_free_at_once_for_the_next(
    control: ControlDatabase, tmp_path: Path
) -> None:
    stage = Stage(control)
    helped(stage, tmp_path, 4, sleep_s=0.0)
    stage.db.close()
    if (pid := os.fork()) == 0:
        try:
            helped(stage, tmp_path, 4, sleep_s=60.0)
            stage.drive()
        finally:
            os._exit(8)
    stage.until(lambda: (tmp_path / "log").exists() and bool(lines(tmp_path)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert sweep(stage.journal) == [stage.id]
    began = time.monotonic()
    assert stage.drive() is Drove.ENDED
    assert time.monotonic() - began < 3.0
    with control.reading() as conn:
        attempts = {row.key: row.attempt for row in conn.execute(sa.select(work_item))}
    assert attempts == {"part 0": 2, "part 1": 1, "part 2": 1, "part 3": 1}


def test_a_worker_that_lost_its_claim_does_not_record_an_outcome(control: ControlDatabase) -> None:
    stage = Stage(control, step("copy"))
    lease = stage.journal.acquire(stage.id, "me", 10.0, ["script@1"], 0)
    assert lease is not None
    stage.journal.seed_items(lease, "copy", items(1))
    assert stage.journal.claim_item(lease, "copy", "slow", -1.0) is not None
    again = stage.journal.claim_item(lease, "copy", "quick", 10.0)
    assert again is not None
    assert again.attempt == 2
    assert not stage.journal.finish_item(lease, "copy", "slow", "part 0", {"by": "slow"})
    assert stage.journal.finish_item(lease, "copy", "quick", "part 0", {"by": "quick"})
    assert stage.journal.item_outputs(stage.id, "copy") == {"part 0": {"by": "quick"}}
