"""The gradual cutover on real databases: requests move behind gates, and come back by themselves.

The router and the health numbers are stand-ins (`standin`); everything else is real.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import standin
from rig import TENANT, Rig, make_rig
from sample_fixtures import SandboxPair
from standin import FileHealth, FileRouter
from tenant_lifecycle.model.operation import Json, State
from tenant_lifecycle.model.policy import MigrationOptions

#: Gates quick enough for a test: a step takes half a second.
QUICK = (
    "policies: {gates: {soak: 500ms, interval: 50ms, samples: 100, recent: 10s, looks: 2, watch: 30s%s}}\n"
)


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

    def report(self, id: str, number: int = 1) -> Json:
        path = self.rig.lifecycle.installation.state_folder / "postmortems" / f"{id}-{number}.json"
        return json.loads(path.read_text())


@pytest.fixture
def new_shifting(
    sandbox_pair: Callable[..., SandboxPair], tmp_path: Path
) -> Iterator[Callable[..., Shifting]]:
    made: list[Shifting] = []

    def make(gates: str = "") -> Shifting:
        rig = make_rig(sandbox_pair(), tmp_path, policies=QUICK % gates)
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
        rig.lifecycle.signal(id, "promote", actor="test")
        rig.wait(id, "flip/1")
        assert shifting.shares() == [10, 25, 0, 10, 25, 50, 100]
