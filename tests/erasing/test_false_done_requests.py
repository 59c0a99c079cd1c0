"""Ways in which other projects called an erasure done that was not, those that are about requests, holds and retries.

The rest of the collection: tests/erasure/test_false_done.py. What a restore brings back belongs to backups.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from erasing_stage import ACME, Stage
from shelf import ShelfStore

from tenant_lifecycle.errors import LifecycleError, StoreBusy, StoreUnavailable, WrongState
from tenant_lifecycle.model.erasure.policy import ErasurePolicy, RetentionRule
from tenant_lifecycle.model.erasure.request import Exception17, RequestState
from tenant_lifecycle.model.operation import State

ROOT = Path(__file__).parents[2]
CLAIMS = Exception17.LEGAL_CLAIMS


def after_the_first_batch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Once any shelf has deleted one batch, each next one does this before it is deleted."""
    erase, calls = ShelfStore.erase, 0

    def interrupted(self: ShelfStore, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            act()
        return erase(self, *arguments)

    monkeypatch.setattr(ShelfStore, "erase", interrupted)


def left(stage: Stage) -> int:
    return sum(len(shelf.keys(ACME)) for shelf in stage.shelves.values())


def test_what_failed_after_the_first_deletion_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """newtheatre/stage-door#136: the first statement set the key that said "erased", so the rest was never retried."""
    failures = iter(range(3))

    def fail_a_few_times() -> None:
        if next(failures, None) is not None:
            raise StoreUnavailable("no answer", store="blue/rows")

    stage.with_policy(attempts=10)
    after_the_first_batch(monkeypatch, fail_a_few_times)
    assert stage.drive(stage.started()).state is State.SUCCEEDED
    assert left(stage) == 0


def test_what_fails_for_good_after_the_first_deletion_is_not_done_and_goes_when_it_is_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """newtheatre/stage-door#136, with failures that do not pass by themselves."""

    def fail() -> None:
        raise StoreUnavailable("no answer", store="blue/rows")

    with monkeypatch.context() as broken:
        after_the_first_batch(broken, fail)
        request = stage.approved()
        operation_id = stage.started(request)
        stage.drive(operation_id)
        assert left(stage) and any(shelf.deletions() for shelf in stage.shelves.values()), "in the middle"
        assert set(stage.verdicts(operation_id).values()) <= {"RESIDUAL", "UNVERIFIED"}
        assert stage.state(request.id) is RequestState.NEEDS_HUMAN
    assert stage.again(operation_id).state is State.SUCCEEDED
    assert left(stage) == 0 and stage.state(request.id) is RequestState.COMPLETED


def test_a_hold_between_two_batches_stops_every_system_and_is_never_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tale-project/tale#3144, #3178: the hold was read once at the start; a cascade it halted was still done."""

    def hold() -> None:
        if not stage.holds.every():
            with contextlib.suppress(StoreBusy):  # this very batch is in flight; the hold stands all the same
                stage.holds.place("M-1", CLAIMS, [ACME], actor="jura@desk", wait_s=0.0)

    request = stage.approved()
    operation_id = stage.started(request)
    after_the_first_batch(monkeypatch, hold)
    operation = stage.drive(operation_id)
    assert sum(len(shelf.deletions()) for shelf in stage.shelves.values()) <= 4, (
        "two batches of two, no third"
    )
    assert "HELD" in stage.verdicts(operation_id).values()
    assert stage.state(request.id) is RequestState.PARTIAL_HELD
    assert (operation.result or {}).get("overall") != "COMPLETE"


def _planned(stage: Stage) -> None:
    stage.planned()


def _approved(stage: Stage) -> None:
    stage.approved()


@pytest.mark.parametrize("so_far", [Stage.request, _planned, _approved], ids=["asked", "planned", "approved"])
@pytest.mark.parametrize("name", [str(ACME), " ACME"])
def test_a_hold_is_asked_for_at_every_stage_of_a_request(
    stage: Stage, so_far: Callable[[Stage], object], name: str
) -> None:
    """tale-project/tale#1676: the check was a stub, ``blocked = []``."""
    so_far(stage)
    stage.holds.place("M-1", CLAIMS, [name], actor="jura@desk")
    request = stage.requests.find(ACME)
    with contextlib.suppress(WrongState):
        stage.governing.plan(request, stage.systems(), actor="petra@desk", now=time.time())
    request = stage.requests.get(request.id)
    assert request.state is RequestState.BLOCKED_BY_HOLD
    with pytest.raises(LifecycleError):
        stage.governing.approve(request, request.plan_digest or "", actor="ann@desk", now=time.time())
    with pytest.raises(LifecycleError):
        stage.started(request)
    assert left(stage) == 14


#: Fields of the policy that are asked through a question.
ASKED_AS = {"required": "required_of", "retention": "kept"}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ErasurePolicy)])
def test_every_setting_of_erasures_is_read_by_code_that_decides(name: str) -> None:
    """winsenlabs/platos#66: a hold setting was documented, and no code read it."""
    readers = [
        path
        for part in ("operations", "cli", "model", "wiring.py", "wiring")
        for path in _modules(ROOT / "src" / "tenant_lifecycle" / part)
        if path.name != "policy.py" and _reads(path, ASKED_AS.get(name, name))
    ]
    assert readers, f"nothing reads policy.{name}"


def _modules(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _reads(path: Path, name: str) -> bool:
    """Whether a module says ``….policy.NAME`` or ``policy.NAME``."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == name
        and re.search(r"(^|\.)policy(\(\))?$", ast.unparse(node.value)) is not None
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_the_evidence_of_an_open_request_stays_until_it_is_closed(stage: Stage) -> None:
    """margince/margince#3380: what an open request rested on could be deleted while it was open."""
    stage.with_policy(rounds=1)
    stage.shelves["blue/rows"].fault("lies")
    request = stage.approved()
    operation_id = stage.started(request)
    stage.drive(operation_id)
    assert stage.state(request.id) is RequestState.NEEDS_HUMAN
    frozen = list(stage.manifests.batches(operation_id, 1, "blue/rows"))
    assert sum(len(one.batch.keys) for one in frozen) >= 7, "the manifest can still be looked at"
    stage.shelves["blue/rows"].mend()
    stage.again(operation_id)
    assert stage.state(request.id) is RequestState.COMPLETED
    assert stage.requests.plan(request.id) is not None
    assert {one.by for one in stage.requests.approvals(request.id)} == {"ann@desk", "bob@desk"}
    assert stage.requests.events(request.id) and stage.manifests.frozen(operation_id, 1, "blue/rows").batches


def test_a_plan_shows_counts_and_grounds_changes_nothing_and_is_all_that_can_run(stage: Stage) -> None:
    """ConductionNL/openregister#3759, intrafind/ihub-apps#2404: wanted, a preview with counts and grounds."""
    rule = RetentionRule(
        "rows", "messages", Exception17.LEGAL_OBLIGATION, time.time() + 86400.0, "tax records"
    )
    stage.with_policy(retention=(rule,))
    stage.holds.place("M-7", CLAIMS, [ACME], actor="jura@desk", systems=["blue/cache"], sets=["messages"])
    before = {name: shelf.keys(ACME) for name, shelf in stage.shelves.items()}
    request = stage.planned()
    plan = stage.requests.plan(request.id)
    assert plan is not None
    shown = {one.system: {each.set: each.items for each in one.sets} for one in plan.systems}
    assert shown == {name: {"documents": 5, "messages": 2} for name in stage.shelves}
    rows = next(one for one in plan.systems if one.system == "blue/rows")
    cache = next(one for one in plan.systems if one.system == "blue/cache")
    assert "tax records" in (rows.retained or {})["messages"]
    assert (cache.held or {})["messages"] == "M-7"
    assert {name: shelf.keys(ACME) for name, shelf in stage.shelves.items()} == before
    with pytest.raises(WrongState):
        stage.started(request)
