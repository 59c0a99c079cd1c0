"""Who may say what to a request, and when it counts."""

from __future__ import annotations

import time

import pytest
from erasing_stage import ACME, Stage

from tenant_lifecycle.errors import (
    ConflictError,
    LifecycleError,
    PlanChanged,
    PreconditionRefused,
    UsageError,
    WrongState,
)
from tenant_lifecycle.model.erasure.request import RequestState
from tenant_lifecycle.operations.erase.planning import plan_erasure
from tenant_lifecycle.operations.erase.systems import systems_of

DAY = 86400.0


@pytest.mark.parametrize("spelling", ["petra@desk", "PETRA@laptop", " petra@desk"])
def test_who_asked_cannot_approve_however_the_name_is_written(stage: Stage, spelling: str) -> None:
    request = stage.planned()
    with pytest.raises(PreconditionRefused, match="another person"):
        stage.governing.approve(request, request.plan_digest or "", actor=spelling, now=time.time())
    assert stage.requests.events(request.id)[-1].kind == "refused", "the refusal is on record"


def test_the_same_person_cannot_approve_twice(stage: Stage) -> None:
    request = stage.planned()
    request = stage.governing.approve(request, request.plan_digest or "", actor="ann@desk", now=time.time())
    with pytest.raises(PreconditionRefused, match="already"):
        stage.governing.approve(request, request.plan_digest or "", actor="Ann@phone", now=time.time())
    assert stage.state(request.id) is RequestState.AWAITING_APPROVAL


def test_a_stale_plan_cannot_be_approved(stage: Stage) -> None:
    request = stage.planned()
    old = request.plan_digest or ""
    stage.shelves["blue/rows"].put(ACME, "one more")
    stage.governing.plan(request, stage.systems(), actor="petra@desk", now=time.time())
    with pytest.raises(PlanChanged):
        stage.governing.approve(stage.requests.get(request.id), old, actor="ann@desk", now=time.time())


def test_a_new_plan_needs_new_approvals(stage: Stage) -> None:
    request = stage.approved()
    stage.shelves["blue/rows"].put(ACME, "one more")
    stage.governing.plan(request, stage.systems(), actor="petra@desk", now=time.time())
    with pytest.raises(WrongState):
        stage.started(stage.requests.get(request.id))


def test_approvals_expire(stage: Stage) -> None:
    request = stage.approved()
    with pytest.raises(PreconditionRefused, match="expire"):
        stage.governing.begin(request, actor="petra@desk", now=time.time() + 8 * DAY)
    assert stage.state(request.id) is RequestState.AWAITING_APPROVAL


def test_a_clock_set_back_makes_no_approval_count(stage: Stage) -> None:
    request = stage.approved()
    with pytest.raises(LifecycleError):
        stage.governing.begin(request, actor="petra@desk", now=time.time() - DAY)


def test_nothing_starts_before_the_cooling_off_is_over(stage: Stage) -> None:
    stage.with_policy(cooling_off_s=DAY)
    request = stage.approved()
    with pytest.raises(PreconditionRefused, match="cooling-off"):
        stage.started(request)
    stage.governing.begin(request, actor="petra@desk", now=time.time() + DAY + 1)


def test_nothing_starts_without_approval_or_with_another_plan(stage: Stage) -> None:
    request = stage.planned()
    with pytest.raises(WrongState):
        stage.started(request)
    request = stage.governing.approve(request, request.plan_digest or "", actor="ann@desk", now=time.time())
    request = stage.governing.approve(request, request.plan_digest or "", actor="bob@desk", now=time.time())
    with pytest.raises(PlanChanged):
        stage.governing.begin(request, actor="petra@desk", now=time.time(), if_plan="sha256:other")


def test_a_denial_needs_a_reason_and_ends_the_request(stage: Stage) -> None:
    request = stage.planned()
    with pytest.raises(PreconditionRefused):
        stage.governing.deny(request, actor="ann@desk", reason=" ")
    assert stage.governing.deny(request, actor="ann@desk", reason="not ours").state is RequestState.CANCELLED
    rejected = stage.governing.deny(stage.request(), actor="ann@desk", reason="identity in doubt")
    assert rejected.state is RequestState.REJECTED


def test_a_second_open_request_for_a_tenant_is_refused(stage: Stage) -> None:
    stage.request()
    with pytest.raises(ConflictError, match="open request"):
        stage.request()


def test_two_people_who_change_a_request_at_once_do_not_overwrite_each_other(stage: Stage) -> None:
    request = stage.planned()
    stage.governing.deny(request, actor="ann@desk", reason="no")
    with pytest.raises(WrongState):
        stage.governing.approve(request, request.plan_digest or "", actor="bob@desk", now=time.time())


def test_an_extension_is_kept_and_moves_the_due_date(stage: Stage) -> None:
    request = stage.request()
    longer = stage.governing.extend(request, "complex", "mail-7", actor="ann@desk", now=time.time())
    assert longer.deadline.due_at > request.deadline.due_at + 50 * DAY
    assert stage.requests.get(request.id).deadline == longer.deadline


def test_no_system_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="no system"):
        systems_of({}, {})
    with pytest.raises(UsageError, match="no system"):
        systems_of({"blue": {}}, {})


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(UsageError, match="green"):
        systems_of({"blue": {}}, {}, ["green"])


def test_a_tenant_that_nothing_is_found_of_cannot_be_approved(stage: Stage) -> None:
    for shelf in stage.shelves.values():
        with shelf.open() as db:
            db.execute("DELETE FROM item WHERE owner = 'acme'")
    request = stage.planned()
    assert request.state is RequestState.PLAN_READY
    assert "is the id right" in request.why


def test_a_system_that_is_down_cannot_be_planned_around(stage: Stage) -> None:
    stage.shelves["blue/rows"].fault("down")
    request = stage.planned()
    assert request.state is RequestState.PLAN_READY
    with pytest.raises(WrongState):
        stage.governing.approve(request, request.plan_digest or "", actor="ann@desk", now=time.time())


def test_a_system_that_is_declared_out_of_scope_has_to_exist(stage: Stage) -> None:
    request = stage.request()
    from dataclasses import replace

    wrong = replace(request, out_of_scope={"blue/nowhere": "because"})
    plan = plan_erasure(wrong, stage.systems(), stage.policy, [], time.time())
    assert [finding.code for finding in plan.refusals] == ["erase.out-of-scope"]


def test_a_request_that_is_late_says_so_in_its_plan(stage: Stage) -> None:
    request = stage.request()
    plan = plan_erasure(request, stage.systems(), stage.policy, [], request.deadline.due_at + DAY)
    assert any(finding.code == "erase.late" for finding in plan.findings)
    assert not plan.refusals, "being late is no reason not to begin"
