"""A rolling move on one real database that two environments share: requests move, no data does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

import standin
from rig import TENANT, Rig, make_rig
from sample_fixtures import SandboxPair
from standin import FileHealth, FileRouter
from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.wiring import Lifecycle, find_installation

QUICK = "{soak: 300ms, interval: 50ms, samples: 100, recent: 10s, looks: 2, watch: 30s}"
OPTIONS = MigrationOptions(settle_s=3600.0, strategy=Strategy.ROLLING)


class Rolling:
    """Two names of one database, requests through the stand-in."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.router = FileRouter(rig.folder)
        self.health = FileHealth(rig.folder, self.router)

    def start(self) -> str:
        return self.rig.lifecycle.start_migration(TENANT, None, "green", OPTIONS, actor="test")

    def shares(self) -> list[int]:
        return [route["share"].get("green", 0) for route in self.router.routes()]


@pytest.fixture
def new_rolling(sandbox_pair: Callable[..., SandboxPair], tmp_path: Path) -> Iterator[Callable[..., Rolling]]:
    """``new_rolling(shared=False)``: two databases after all."""
    made: list[Rolling] = []

    def make(*, shared: bool = True, steered: bool = True, policies: str = "") -> Rolling:
        pair = sandbox_pair()
        # Another spelling of the same address, as a pooler or an alias would be.
        green = pair.blue.replace("127.0.0.1", "localhost") if shared else pair.green
        text = f"policies: {{gates: {QUICK}{policies}}}\n"
        rig = make_rig(pair, tmp_path, policies=text, dsns={"blue": pair.blue, "green": green})
        rig.lifecycle.close()
        file = tmp_path / "lifecycle.yaml"
        rig.lifecycle = (
            standin.open_with_standin(file) if steered else Lifecycle(replace(find_installation(file)))
        )
        made.append(Rolling(rig))
        return made[-1]

    yield make
    for one in made:
        one.rig.lifecycle.close()


def rows(rig: Rig) -> int:
    with psycopg.connect(rig.pair.blue) as conn:
        return conn.execute("SELECT count(*) FROM documents").fetchone()[0]


def test_requests_roll_to_the_other_environment_and_no_data_is_touched(
    new_rolling: Callable[..., Rolling],
) -> None:
    rolling = new_rolling()
    rig, before = rolling.rig, rows(rolling.rig)
    assert rig.lifecycle.home(TenantId(TENANT)) == "blue"
    with rig.lifecycle.runner():
        id = rolling.start()
        operation = rig.wait(id, "flip/1")
        assert not operation.terminal and operation.state is not State.ATTENTION, operation.error
        assert rolling.shares() == [10, 25, 50, 100]
        rig.lifecycle.signal(id, "complete", actor="test")
        assert rig.wait(id).state is State.SUCCEEDED
    assert [step.key for step in rig.lifecycle.steps(id)] == [
        "preflight", "shift/10", "shift/25", "shift/50", "flip/1", "settle/1", "leave",
    ]  # fmt: skip
    assert rows(rig) == before and rig.slots() == 0
    assert rig.lifecycle.home(TenantId(TENANT)) == "green", "where the tenant's code runs now"


def test_a_gate_that_fails_sends_a_rolling_move_back_by_itself(new_rolling: Callable[..., Rolling]) -> None:
    rolling = new_rolling()
    rolling.health.say(when=25, errors=200)
    with rolling.rig.lifecycle.runner():
        id = rolling.start()
        rolling.rig.wait(id, "postmortem/1")
        assert rolling.shares()[:2] == [10, 25] and rolling.shares()[-1] == 0
        rolling.rig.lifecycle.abort(id, actor="test")
        assert rolling.rig.wait(id).state is State.ABORTED
    assert rolling.shares()[-1] == 0


def test_a_gate_that_fails_after_the_last_step_sends_everything_back(
    new_rolling: Callable[..., Rolling],
) -> None:
    rolling = new_rolling()
    with rolling.rig.lifecycle.runner():
        id = rolling.start()
        rolling.rig.wait(id, "flip/1")
        rolling.health.say(errors=300)
        rolling.rig.wait(id, "flip/2", "postmortem/1")
        assert rolling.router.routes()[-1]["share"] == {"blue": 100}
        assert rolling.rig.lifecycle.tenant(TenantId(TENANT)).environment == "blue"
        rolling.rig.lifecycle.abort(id, actor="test")
        rolling.rig.wait(id)


def test_rolling_is_refused_when_data_would_have_to_move_and_names_the_stores(
    new_rolling: Callable[..., Rolling],
) -> None:
    rolling = new_rolling(shared=False)
    plan = rolling.rig.lifecycle.plan_migration(TenantId(TENANT), "blue", "green", OPTIONS)
    refused = [finding for finding in plan.refusals if finding.code == "roll.data"]
    assert [finding.subject for finding in refused] == ["postgres"]
    assert "blue/postgres and green/postgres" in refused[0].message
    with pytest.raises(PreconditionRefused):
        rolling.start()


def test_rolling_is_refused_without_a_router(new_rolling: Callable[..., Rolling]) -> None:
    rolling = new_rolling(steered=False)
    plan = rolling.rig.lifecycle.plan_migration(TenantId(TENANT), "blue", "green", OPTIONS)
    assert [finding.code for finding in plan.refusals] == ["roll.no-router"]
    assert plan.pause is not None and plan.pause.seconds == 0
    assert {store.how for store in plan.stores} == {"stays where it is"}
