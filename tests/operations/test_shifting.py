"""The gradual cutover on real databases: requests move behind gates, and come back by themselves.

The router and the health numbers are stand-ins (`standin`); everything else is real.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import standin
from rig import TENANT, Rig, make_rig
from sample_fixtures import SandboxPair
from standin import FileHealth, FileRouter
from tenant_lifecycle.model.operation import Json, State
from tenant_lifecycle.model.policy import MigrationOptions

#: Gates quick enough for a test: a step takes half a second.
QUICK = {
    "soak": "500ms", "interval": "50ms", "samples": 100, "recent": "10s", "looks": 2, "watch": "30s",
}  # fmt: skip


class Shifting:
    """A rig whose requests go through the stand-in."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.lifecycle = standin.open_with_standin(rig.folder / "lifecycle.yaml")
        self.router = FileRouter(rig.folder)
        self.health = FileHealth(rig.folder, self.router)

    def start(self, **options: object) -> str:
        chosen = MigrationOptions(settle_s=3600.0, workers=2, **options)
        return self.rig.lifecycle.start_migration(TENANT, "blue", "green", chosen, actor="test")

    def shares(self) -> list[int]:
        """What green got, change by change."""
        found: list[int] = []
        for route in self.router.routes():
            share = route["share"].get("green", 0)
            if not found or found[-1] != share:
                found.append(share)
        return found

    def begun(self, id: str, key: str) -> None:
        deadline = time.monotonic() + 120
        while key not in {step.key for step in self.rig.lifecycle.steps(id)}:
            operation = self.rig.lifecycle.operation(id)
            assert time.monotonic() < deadline and operation.state is not State.ATTENTION, operation.error
            time.sleep(0.02)

    def shown(self, id: str, key: str) -> Json:
        return next(step.detail for step in self.rig.lifecycle.steps(id) if step.key == key)

    def holds(self, id: str) -> None:
        """Wait until it waits for a person after requests went back; a promote counts from then on."""
        self.begun(id, "hold/1")
        wait_until(lambda: self.shown(id, "hold/1").get("why"))

    def report(self, id: str, number: int = 1) -> Json:
        path = self.rig.lifecycle.installation.state_folder / "postmortems" / f"{id}-{number}.json"
        return json.loads(path.read_text())


@pytest.fixture
def new_shifting(
    sandbox_pair: Callable[..., SandboxPair], tmp_path: Path
) -> Iterator[Callable[..., Shifting]]:
    made: list[Shifting] = []

    def make(**gates: object) -> Shifting:
        policies = f"policies: {{gates: {json.dumps(QUICK | gates)}}}\n"
        rig = make_rig(sandbox_pair(), tmp_path, policies=policies)
        rig.lifecycle.close()
        made.append(Shifting(rig))
        return made[-1]

    yield make
    for one in made:
        one.rig.lifecycle.close()


@pytest.fixture
def shifting(new_shifting: Callable[..., Shifting]) -> Shifting:
    return new_shifting()


def test_requests_move_step_by_step_and_all_of_them_with_the_writer(shifting: Shifting) -> None:
    rig = shifting.rig
    with rig.load(30), rig.lifecycle.runner():
        id = shifting.start()
        operation = rig.wait(id, "flip/1")
        assert operation.state is not State.ATTENTION, operation.error
        assert shifting.shares() == [10, 25, 50, 100]
        assert [route["writer"] for route in shifting.router.routes()] == ["blue", "blue", "blue", "green"]
        rig.lifecycle.signal(id, "complete", actor="test")
        assert rig.wait(id).state is State.SUCCEEDED
    report = rig.judge("green")
    assert report.ok and not report.failed, report.violations[:5]
    passed = rig.output(id, "shift/25")
    assert passed["next"] == "on" and passed["seconds"] >= 0.5
    assert passed["health"]["numbers"]["other"]["requests"] == 1000


@pytest.mark.parametrize(
    ("bad", "gate"),
    [({"errors": 120}, "errors"), ({"p99_ms": 400.0}, "latency"), ({"business": 0.3}, "business")],
)
def test_a_gate_that_fails_at_a_step_sends_the_requests_back_by_itself(
    shifting: Shifting, bad: dict[str, float], gate: str
) -> None:
    rig = shifting.rig
    shifting.health.say(when=25, **bad)
    with rig.lifecycle.runner():
        id = shifting.start()
        operation = rig.wait(id, "postmortem/1")
        assert operation.state is not State.ATTENTION, operation.error
        assert shifting.shares() == [10, 25, 0]
        assert rig.output(id, "shift/25")["failed"][0]["gate"] == gate
        assert 0 < rig.output(id, "back/1")["detect_to_traffic_back_ms"] < 60_000
        assert rig.lifecycle.home(TENANT) == "blue"
        told = shifting.report(id)
        assert told["failed"][0]["gate"] == gate and told["percent"] == 25
        assert told["failed"][0]["target"] != told["failed"][0]["other"]
        assert any("25 % of the requests to green" in moment["what"] for moment in told["timeline"])
        assert told["done"] and told["to_do"]
        # The copy was kept: mended, it goes up again from the first step.
        shifting.health.say()
        shifting.holds(id)
        rig.lifecycle.signal(id, "promote", actor="test")
        rig.wait(id, "flip/1")
        assert shifting.shares() == [10, 25, 0, 10, 25, 50, 100]


@pytest.mark.parametrize("as_ours", [True, False], ids=["as ours", "foreign"])
def test_a_difference_on_the_target_sends_the_requests_back(shifting: Shifting, as_ours: bool) -> None:
    rig = shifting.rig
    shifting.health.say(requests=10)  # never enough: it stays at 10 % until something happens
    with rig.lifecycle.runner():
        id = shifting.start()
        shifting.begun(id, "shift/10")
        wait_until(lambda: shifting.shown(id, "shift/10").get("ready"))
        change_green_behind_our_back(rig, as_ours)
        operation = rig.wait(id, "back/1")
        assert operation.state is not State.ATTENTION, operation.error
    assert shifting.shares() == [10, 0]
    failed = rig.output(id, "shift/10")["failed"]
    assert [result["gate"] for result in failed] == ["data"]
    assert "public.documents" in failed[0]["sentence"]


def test_what_nobody_can_tell_holds_and_says_what_is_missing(new_shifting: Callable[..., Shifting]) -> None:
    shifting = new_shifting(max_inconclusive="1s")
    rig = shifting.rig
    shifting.health.say(requests=40)
    with rig.lifecycle.runner():
        id = shifting.start()
        shifting.begun(id, "shift/10")
        wait_until(lambda: "a person may say" in shifting.shown(id, "shift/10").get("why", ""))
        assert "the target served 40 of 100 requests" in shifting.shown(id, "shift/10")["why"]
        shifting.health.say(down=True)
        wait_until(lambda: "numbers does not answer" in shifting.shown(id, "shift/10")["why"])
        assert shifting.shares() == [10]
        assert "gates-unclear" in {event.kind for event in rig.lifecycle.events(id)}
        # A person may go on all the same; the next step holds again.
        rig.lifecycle.signal(id, "promote", actor="test")
        rig.wait(id, "shift/10")
        shifting.begun(id, "shift/25")
        assert shifting.shares() == [10, 25]


def test_what_nobody_can_tell_for_too_long_fails_where_the_policy_says_so(
    new_shifting: Callable[..., Shifting],
) -> None:
    shifting = new_shifting(max_inconclusive="500ms", on_inconclusive="fail")
    shifting.health.say(down=True)
    with shifting.rig.lifecycle.runner():
        id = shifting.start()
        shifting.rig.wait(id, "postmortem/1")
    assert shifting.shares() == [10, 0]
    assert "nobody could tell" in shifting.report(id)["seen"]


def test_promote_skips_the_time_of_one_step_and_after_a_failure_begins_anew(
    new_shifting: Callable[..., Shifting],
) -> None:
    shifting = new_shifting(soak="1h")
    rig = shifting.rig
    shifting.health.say(when=25, errors=300)
    with rig.lifecycle.runner():
        id = shifting.start()
        wait_until(lambda: shifting.shares() == [10])
        rig.lifecycle.signal(id, "promote", actor="test")
        rig.wait(id, "shift/10")
        shifting.holds(id)
        assert shifting.shares() == [10, 25, 0]
        rig.lifecycle.signal(id, "promote", actor="test")
        wait_until(lambda: shifting.shares() == [10, 25, 0, 10])


def test_a_promote_said_while_the_requests_go_back_does_not_send_them_there_again(
    new_shifting: Callable[..., Shifting],
) -> None:
    shifting = new_shifting()
    rig = shifting.rig
    shifting.health.say(errors=300)
    id = shifting.start()
    # No driver yet: it is there before any step begins, as if it came in between two of them.
    rig.lifecycle.signal(id, "promote", actor="test")
    with rig.lifecycle.runner():
        shifting.begun(id, "hold/1")
        time.sleep(1.5)
        assert shifting.shares() == [10, 0]
        assert "promote-dropped" in {event.kind for event in rig.lifecycle.events(id)}


def test_a_persons_rollback_is_obeyed_at_once_and_reported(new_shifting: Callable[..., Shifting]) -> None:
    shifting = new_shifting(soak="1h", interval="30s")
    rig = shifting.rig
    with rig.load(30), rig.lifecycle.runner():
        id = shifting.start()
        shifting.begun(id, "shift/10")
        rig.lifecycle.signal(id, "rollback", actor="test")
        operation = rig.wait(id, "postmortem/1", timeout_s=25)
        assert operation.state is not State.ATTENTION
        assert shifting.shares() == [10, 0]
        assert shifting.report(id)["failed"][0]["gate"] == "person"
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ABORTED
    assert not any(rig.rows("green").values())
    assert rig.slots() == 0
    assert rig.judge("blue").ok


def test_a_failure_takes_everything_back_where_the_policy_says_so(
    new_shifting: Callable[..., Shifting],
) -> None:
    shifting = new_shifting(on_failure="abort")
    rig = shifting.rig
    shifting.health.say(errors=500)
    with rig.lifecycle.runner():
        id = shifting.start()
        operation = rig.wait(id)
    assert operation.state is State.FAILED
    assert operation.error is not None and "a gate failed at 10 %" in operation.error.message
    assert shifting.shares() == [10, 0]
    assert shifting.report(id)["failed"][0]["gate"] == "errors"
    assert not any(rig.rows("green").values())
    assert rig.slots() == 0


def test_a_failure_after_the_flip_flips_back_by_itself_and_loses_no_write(shifting: Shifting) -> None:
    rig = shifting.rig
    shifting.health.say(when=100, errors=200)
    with rig.load(40), rig.lifecycle.runner():
        id = shifting.start()
        operation = rig.wait(id, "flip/2", "postmortem/1")
        assert operation.state is not State.ATTENTION, operation.error
        time.sleep(0.3)
        assert shifting.shares() == [10, 25, 50, 100, 0]
        assert rig.lifecycle.home(TENANT) == "blue"
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ROLLED_BACK
    report = rig.judge("blue")
    assert report.ok and not report.failed, report.violations[:5]
    told = shifting.report(id)
    assert told["percent"] == 100 and told["failed"][0]["gate"] == "errors"
    assert 0 < told["detect_to_traffic_back_ms"] < 60_000


def test_requests_are_not_left_with_a_target_that_nobody_watches(
    new_shifting: Callable[..., Shifting],
) -> None:
    shifting = new_shifting(soak="1h")
    rig = shifting.rig
    with rig.lifecycle.runner():
        id = shifting.start()
        shifting.begun(id, "shift/10")
        wait_until(lambda: shifting.shares() == [10])
        rig.lifecycle.pause(id, actor="test")
        assert rig.wait(id).state is State.PAUSED
        assert shifting.shares() == [10, 0]
        rig.lifecycle.resume(id, actor="test")
        wait_until(lambda: shifting.shares() == [10, 0, 10])
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ABORTED
        assert shifting.shares() == [10, 0, 10, 0]


def test_a_router_that_is_away_is_waited_for(new_shifting: Callable[..., Shifting]) -> None:
    shifting = new_shifting()
    down = shifting.rig.folder / "router-down"
    down.touch()
    with shifting.rig.lifecycle.runner():
        id = shifting.start()
        shifting.begun(id, "shift/10")
        wait_until(lambda: shifting.rig.lifecycle.operation(id).state is State.WAITING)
        down.unlink()
        assert shifting.rig.wait(id, "flip/1").state is not State.ATTENTION
    assert shifting.shares() == [10, 25, 50, 100]


@pytest.mark.slow
def test_a_driver_killed_at_a_step_is_replaced_by_one_that_stays_at_that_step(
    new_shifting: Callable[..., Shifting],
) -> None:
    shifting = new_shifting(soak="3s")
    rig = shifting.rig
    with rig.load(30):
        id = shifting.start()
        with worker(rig) as first:
            shifting.begun(id, "shift/25")
            wait_until(lambda: shifting.shares() == [10, 25])
            first.kill()
            first.wait()
        killed = len(shifting.router.routes())
        with worker(rig):
            assert rig.wait(id, "flip/1").state is not State.ATTENTION
            assert shifting.router.routes()[killed]["share"] == {"blue": 75, "green": 25}
            assert shifting.shares() == [10, 25, 50, 100]
            assert {s.key: s.attempt for s in rig.lifecycle.steps(id)}["shift/25"] == 2
            rig.lifecycle.signal(id, "complete", actor="test")
            assert rig.wait(id).state is State.SUCCEEDED
    report = rig.judge("green")
    assert report.ok and not report.failed, report.violations[:5]


@contextlib.contextmanager
def worker(rig: Rig) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process of its own with the stand-in, to be killed."""
    with (rig.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, standin.__file__, str(rig.folder / "lifecycle.yaml")],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def change_green_behind_our_back(rig: Rig, as_ours: bool) -> None:
    """Past the fence; ``as_ours``: so that the feed back takes it for our own and only a comparison finds it."""
    with psycopg.connect(rig.pair.green) as conn:
        conn.execute("SET session_replication_role = replica")
        if as_ours:
            conn.execute("UPDATE tenant_lifecycle.applied SET applied_at = clock_timestamp()")
        changed = conn.execute(
            "UPDATE documents SET title = title || ' forged' WHERE id IN "
            "(SELECT id FROM documents WHERE tenant_id = %s LIMIT 1)",
            (TENANT,),
        ).rowcount
    assert changed == 1
