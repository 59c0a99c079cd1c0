"""Where a migration is, in one word, from its journal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l3_m14_tenant_lifecycle import MigrationStatus
from l3_m14_tenant_lifecycle.status import _OF_STATE, _OF_STEP, status_of
from tenant_lifecycle.model.operation import (
    Desired,
    Operation,
    State,
    StepKind,
    StepRecord,
    StepStatus,
)
from tenant_lifecycle.operations.migrate.definition import Migrate


def operation(state: State) -> Operation:
    return Operation(
        id="op_1", kind="migrate", definition="migrate@1", tenant_id="acme", spec={"cutover": "manual"}, plan={},
        plan_hash=None, state=state, desired=Desired.RUN, aborting=False, why="", owner="w", token=5,
        lease_until=0.0, wake_at=0.0, wake_signals=(), stalls=0, rev=1, reason="", requested_by="me",
        parent_id=None, created_at=0.0, started_at=0.0, finished_at=None, result=None, error=None,
    )  # fmt: skip


def steps(*keys: str) -> list[StepRecord]:
    """Steps in order, all done but the last."""
    return [
        StepRecord(
            operation_id="op_1", key=key, title=key, ord=number, kind=StepKind.IDEMPOTENT, critical=False,
            status=StepStatus.INTENT if number == len(keys) else StepStatus.DONE, attempt=1, failures=0, token=5,
            cursor=None, done_units=None, total_units=None, exact=True, detail={}, output=None, error=None,
            first_at=0.0, last_at=0.0, done_at=None, next_try_at=None,
        )
        for number, key in enumerate(keys, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "keys", "status"),
    [
        (State.QUEUED, [], MigrationStatus.QUEUED),
        (State.RUNNING, [], MigrationStatus.QUEUED),
        (State.RUNNING, ["preflight", "copy"], MigrationStatus.COPYING),
        (State.WAITING, ["copy", "catch-up"], MigrationStatus.CATCHING_UP),
        (State.RUNNING, ["verify", "promote/1"], MigrationStatus.READY),
        (State.RUNNING, ["verify", "flip/1"], MigrationStatus.CUTOVER),
        (State.RUNNING, ["flip/1", "settle/1"], MigrationStatus.SETTLING),
        (State.RUNNING, ["flip/1", "settle/1", "flip/2", "settle/2"], MigrationStatus.ROLLED_BACK),
        (State.RUNNING, ["flip/1", "settle/1", "final-verify", "leave"], MigrationStatus.DECOMMISSIONING),
        (State.SUCCEEDED, ["leave"], MigrationStatus.COMPLETED),
        (State.ATTENTION, ["copy"], MigrationStatus.NEEDS_ATTENTION),
    ],
)
def test_status(state: State, keys: list[str], status: MigrationStatus) -> None:
    assert status_of(operation(state), steps(*keys)) is status


def test_every_state_is_told_by_itself_or_by_the_step_at_work() -> None:
    assert set(_OF_STATE) == set(State) - {State.RUNNING, State.WAITING}


def test_every_step_of_a_migration_belongs_to_a_phase() -> None:
    from tenant_lifecycle.model.operation import Outputs

    definition = Migrate(lambda operation, token: pytest.fail("not opened"))
    gradual = replace(operation(State.RUNNING), spec={"cutover": "manual", "steps": [10]})
    back = {"next": "back"}
    known = {
        step.key.partition("/")[0]
        for outputs in (
            Outputs({"shift/10": {"next": "on"}, "settle/1": {"next": "complete"}}),
            Outputs({"shift/10": back, "back/1": {"next": "hold"}}),
            Outputs({"shift/10": back, "back/1": {"next": "abort"}}),
        )
        for step in definition.steps(gradual, outputs)
    }
    assert known == set(_OF_STEP)
