"""Why an operation is where it is: one sentence, whatever the state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tenant_lifecycle.cli.why import _SENTENCES, why
from tenant_lifecycle.model.operation import (
    Desired,
    ErrorRecord,
    Operation,
    State,
    StepKind,
    StepRecord,
    StepStatus,
)

NOW = 1_800_000_000.0
ERROR = ErrorRecord("StoreUnavailable", "green/postgres: connection refused", "see whether it runs", True)
OPERATION = Operation(
    id="op_1", kind="migrate", definition="migrate@1", tenant_id="acme", spec={}, plan={}, plan_hash=None,
    state=State.RUNNING, desired=Desired.RUN, aborting=False, why="", owner="w-3", token=5,
    lease_until=NOW + 8, wake_at=0.0, wake_signals=(), stalls=0, rev=1, reason="", requested_by="me",
    parent_id=None, created_at=NOW - 90, started_at=NOW - 80, finished_at=None, result=None, error=None,
)  # fmt: skip
STEP = StepRecord(
    operation_id="op_1", key="copy", title="copy what is there", ord=5, kind=StepKind.IDEMPOTENT,
    critical=False, status=StepStatus.INTENT, attempt=1, failures=0, token=5, cursor=None, done_units=None,
    total_units=None, exact=True, detail={}, output=None, error=None, first_at=NOW - 41, last_at=NOW,
    done_at=None, next_try_at=None,
)  # fmt: skip


def of(steps: list[StepRecord] | None = None, **changes: Any) -> str:
    return why(replace(OPERATION, **changes), [STEP] if steps is None else steps, NOW)


def test_every_state_has_a_sentence() -> None:
    assert set(_SENTENCES) == set(State)
    for state in State:
        for steps in ([], [STEP], [replace(STEP, status=StepStatus.FAILED, error=ERROR)]):
            said = of(steps, state=state)
            assert said[0].isupper() and said.endswith("."), said


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("Runs: copy what is there, for 0:41 now.", {}),
        ("Its driver does not report since 0:12; another takes over where it was.", {"lease_until": NOW - 12}),
        ("A person wants a pause; it is obeyed at the next safe point.", {"desired": Desired.PAUSE}),
        ("Waits for a driver, for 1:30 now; tenantctl worker run starts one here.", {"state": State.QUEUED}),
        ("Paused by a person at: copy what is there; tenantctl op resume op_1 goes on.", {"state": State.PAUSED}),
        (
            "Stopped at: copy what is there. green/postgres: connection refused. see whether it runs. "
            "Then: tenantctl op retry op_1, or abort it.",
            {"state": State.ATTENTION, "error": ERROR},
        ),
        ("Done in 1:20; nothing is left to do.", {"state": State.SUCCEEDED, "finished_at": NOW}),
    ],
)  # fmt: skip
def test_sentences(said: str, changes: dict[str, Any]) -> None:
    assert of(**changes) == said


def test_a_step_that_is_tried_again_says_why_and_when() -> None:
    failed = replace(STEP, status=StepStatus.FAILED, error=ERROR, failures=3, next_try_at=NOW + 9)
    assert of([failed], state=State.WAITING) == (
        "Copy what is there failed: green/postgres: connection refused. see whether it runs. "
        "Next try in 9.0 s (failure 3)."
    )


def test_a_step_that_waits_says_what_for_and_how_long() -> None:
    settling = replace(STEP, title="keep the old side ready", detail={"why": "complete empties it", "until": NOW + 7200})  # fmt: skip
    assert of([settling]) == "Keep the old side ready: complete empties it (2 h left)."


def test_what_is_not_ready_for_a_flip_comes_before_what_is_waited_for() -> None:
    detail = {"why": "complete empties it", "ready": False, "not_ready": "green/postgres: no answer"}
    assert "no answer" in of([replace(STEP, detail=detail)])


def test_the_step_at_work_is_the_latest_that_is_not_done() -> None:
    done = replace(STEP, key="verify", ord=9, status=StepStatus.DONE, title="verify")
    undoing = replace(STEP, key="abort/clean", ord=12, title="remove the copy")
    assert "remove the copy" in of([STEP, done, undoing], state=State.ABORTING)
