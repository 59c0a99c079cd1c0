"""A whole tenant moves while people use it over HTTP: the real client library, router, stores and flip."""

import time

import pytest

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, State, StepStatus
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.http_load.load import HttpLoad
from tenant_lifecycle.sandbox.ledger_check import check
from tenant_lifecycle.wiring import Lifecycle, find_installation

MOVING, STAYING = TenantId("wonka"), "gringotts"


def step_done(lifecycle: Lifecycle, id: str, key: str, timeout_s: float = 200) -> None:
    end = time.monotonic() + timeout_s
    while key not in {step.key for step in lifecycle.steps(id) if step.status is StepStatus.DONE}:
        operation = lifecycle.operation(id)
        assert operation.state not in TERMINAL | {State.ATTENTION}, operation.error
        assert time.monotonic() < end, f"{key}: {operation.state} {operation.why}"
        time.sleep(0.05)


@pytest.mark.slow
def test_nobody_sees_it_and_nothing_is_lost_in_any_store_there_and_back(box, tmp_path) -> None:
    config = HttpLoadConfig([box.urls["router"]], {MOVING: 2, STAYING: 1}, tmp_path, rate=12)
    load = HttpLoad(config)
    with Lifecycle(find_installation(box.folder / "lifecycle.yaml")) as lifecycle, lifecycle.runner():
        options = MigrationOptions(Cutover.MANUAL, 3600.0, 2, cutover_steps=())
        load.start()
        try:
            id = lifecycle.start_migration(MOVING, "blue", "green", options, actor="test")
            for turn, wish in enumerate(("promote", "rollback", "promote"), start=1):
                if turn == 1:
                    step_done(lifecycle, id, "verify")
                lifecycle.signal(id, wish, actor="test")
                step_done(lifecycle, id, f"flip/{turn}")
                before = load.requests
                load.wait(lambda before=before: load.requests > before + 15)
        finally:
            summary = load.stop()
    assert (summary.failed, summary.errors, summary.stale_reads) == (0, [], [])
    for environment, tenant in (("green", MOVING), ("blue", STAYING)):
        with box.items(environment) as items:
            report = check(tmp_path, box.dsn(environment), [tenant], items)
        assert report.violations == ()
        assert report.acknowledged > 10
