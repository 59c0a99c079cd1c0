"""A hold placed while an erasure runs: when the call returns nothing is in flight, and nothing more goes."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa
from erasing_stage import ACME, Stage

from tenant_lifecycle.catalog.erasure_tables import hold as hold_table
from tenant_lifecycle.errors import PreconditionRefused, StoreBusy
from tenant_lifecycle.model.erasure.holds import HoldAct
from tenant_lifecycle.model.erasure.request import Exception17, RequestState
from tenant_lifecycle.model.operation import State

CLAIMS = Exception17.LEGAL_CLAIMS


def test_when_placing_a_hold_returns_nothing_is_in_flight_and_nothing_more_is_deleted(
    each_stage: Stage,
) -> None:
    for shelf in each_stage.shelves.values():
        shelf.fault("slow", 0.15)
    request = each_stage.approved()
    operation_id = each_stage.started(request)
    driving = threading.Thread(target=each_stage.drive, args=(operation_id,))
    driving.start()
    while not each_stage.shelves["blue/cache"].deletions():
        time.sleep(0.005)
    each_stage.holds.place("M-1", CLAIMS, ["ACME "], actor="jura@desk")
    at_return = {name: shelf.deletions() for name, shelf in each_stage.shelves.items()}
    counted = each_stage.manifests.destroyed(operation_id)
    driving.join()
    assert {name: shelf.deletions() for name, shelf in each_stage.shelves.items()} == at_return
    assert sum(counted.values()) == sum(len(gone) for gone in at_return.values()), "the answer is exact"
    assert any(shelf.keys(ACME) for shelf in each_stage.shelves.values()), "it came in the middle"
    assert "HELD" in each_stage.verdicts(operation_id).values()
    assert each_stage.state(request.id) is RequestState.PARTIAL_HELD


def test_after_the_release_and_a_new_approval_the_rest_goes(stage: Stage) -> None:
    request = stage.approved()
    stage.holds.place("M-1", CLAIMS, [ACME], actor="jura@desk", systems=["rows"])
    request = _replanned_and_approved(stage)
    operation_id = stage.started(request)
    operation = stage.drive(operation_id)
    assert operation.result is not None and operation.result["overall"] == "COMPLETE_WITH_EXCEPTIONS"
    assert stage.verdicts(operation_id) == {"blue/cache": "VERIFIED", "blue/rows": "HELD"}
    assert stage.state(request.id) is RequestState.PARTIAL_HELD
    (hold,) = stage.holds.every()
    stage.holds.append(hold.id, HoldAct.RELEASE_REQUESTED, actor="jura@desk", reason="settled")
    stage.holds.append(hold.id, HoldAct.RELEASE_CONFIRMED, actor="chief@desk", delay_s=0.0)
    request = _replanned_and_approved(stage)
    operation = stage.drive(stage.started(request))
    assert operation.state is State.SUCCEEDED
    assert stage.state(request.id) is RequestState.COMPLETED
    assert all(shelf.keys(ACME) == [] for shelf in stage.shelves.values())


def _replanned_and_approved(stage: Stage):  # type: ignore[no-untyped-def]
    request = stage.requests.find(ACME)
    stage.governing.plan(request, stage.systems(), actor="petra@desk", now=time.time())
    request = stage.requests.get(request.id)
    for person in ("ann@desk", "bob@desk"):
        request = stage.governing.approve(request, request.plan_digest or "", actor=person, now=time.time())
    return request


def test_a_hold_on_one_set_keeps_that_set_and_no_other(stage: Stage) -> None:
    stage.holds.place("M-2", CLAIMS, [ACME], actor="jura@desk", systems=["blue/rows"], sets=["messages"])
    operation_id = stage.started()
    stage.drive(operation_id)
    assert stage.shelves["blue/rows"].keys(ACME) == ["messages/m0", "messages/m1"]
    assert stage.shelves["blue/cache"].keys(ACME) == []


def test_a_hold_that_is_placed_after_approval_makes_the_approval_lapse(stage: Stage) -> None:
    request = stage.approved()
    stage.holds.place("M-1", CLAIMS, [ACME], actor="jura@desk")
    with pytest.raises(PreconditionRefused, match="keeps all of it"):
        stage.started(request)
    assert stage.state(request.id) is RequestState.BLOCKED_BY_HOLD


def test_one_hold_released_does_not_free_what_another_keeps(stage: Stage) -> None:
    first = stage.holds.place("M-1", CLAIMS, [ACME], actor="jura@desk")
    stage.holds.place("M-2", CLAIMS, [ACME], actor="jura@desk")
    stage.holds.append(first.id, HoldAct.RELEASE_REQUESTED, actor="jura@desk", reason="settled")
    stage.holds.append(first.id, HoldAct.RELEASE_CONFIRMED, actor="chief@desk", delay_s=0.0)
    assert [one.matter for one in stage.holds.blocking([ACME])] == ["M-2"]


def test_a_register_that_cannot_be_understood_holds_everything(stage: Stage) -> None:
    operation_id = stage.started()
    stage.holds.place("M-1", CLAIMS, ["somebody else"], actor="jura@desk")
    with stage.db.writing() as conn:
        conn.execute(sa.update(hold_table).values(ground="no such ground"))
    operation = stage.drive(operation_id)
    assert "hold" in operation.why
    assert all(shelf.deletions() == [] for shelf in stage.shelves.values())


def test_a_hold_about_a_name_that_only_begins_alike_stops_nothing(stage: Stage) -> None:
    stage.holds.place("M-1", CLAIMS, ["acme2"], actor="jura@desk")
    stage.holds.place("M-2", CLAIMS, ["ac"], actor="jura@desk")
    assert stage.drive(stage.started()).state is State.SUCCEEDED


def test_a_batch_that_does_not_end_is_told_and_the_hold_stands(stage: Stage) -> None:
    stage.shelves["blue/cache"].fault("slow", 1.0)
    operation_id = stage.started()
    driving = threading.Thread(target=stage.drive, args=(operation_id,))
    driving.start()
    while not any(step.key == "erase/1/blue/cache" for step in stage.operations.steps(operation_id)):
        time.sleep(0.01)
    time.sleep(0.3)
    with pytest.raises(StoreBusy, match="stands"):
        stage.holds.place("M-1", CLAIMS, [ACME], actor="jura@desk", wait_s=0.1)
    assert stage.holds.blocking([ACME])
    driving.join()


def test_a_driver_that_died_in_a_batch_does_not_keep_a_hold_waiting(each_stage: Stage) -> None:
    operation_id = each_stage.started()
    lease = each_stage.journal.acquire(operation_id, "dead", 0.2, ["erase@1"], 0)
    assert lease is not None
    assert each_stage.holds.begin(operation_id, lease.token, [ACME], "blue/rows", "documents") is None
    time.sleep(0.3)
    began = time.monotonic()
    each_stage.holds.place("M-1", CLAIMS, [ACME], actor="jura@desk", wait_s=5.0)
    assert time.monotonic() - began < 2.0
