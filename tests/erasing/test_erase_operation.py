"""An erasure from the request to the outcome, and everything that must not become "done"."""

from __future__ import annotations

import threading
import time

import pytest
from erasing_stage import ACME, Stage

from tenant_lifecycle.errors import InvariantViolated, WrongState
from tenant_lifecycle.model.erasure.policy import RetentionRule
from tenant_lifecycle.model.erasure.request import Exception17, RequestState
from tenant_lifecycle.model.operation import State


def test_an_approved_tenant_is_erased_everywhere_and_neighbours_are_untouched(each_stage: Stage) -> None:
    before = each_stage.neighbours()
    request = each_stage.approved()
    operation_id = each_stage.started(request)
    operation = each_stage.drive(operation_id)
    assert operation.state is State.SUCCEEDED, operation
    assert operation.result is not None and operation.result["overall"] == "COMPLETE"
    assert each_stage.state(request.id) is RequestState.COMPLETED
    assert all(shelf.keys(ACME) == [] for shelf in each_stage.shelves.values())
    after = {
        name: [k for k in keys if "tlcontrol" not in k] for name, keys in each_stage.neighbours().items()
    }
    assert after == before
    judged = each_stage.output(operation_id, "judge/1")
    assert judged["neighbours"] == 4 and judged["neighbours_changed"] == []


def test_the_manifest_cannot_be_read_any_more_when_it_is_over(stage: Stage) -> None:
    operation_id = stage.started()
    stage.drive(operation_id)
    with pytest.raises(InvariantViolated, match="destroyed"):
        list(stage.manifests.batches(operation_id, 1, "blue/rows"))
    assert stage.manifests.frozen(operation_id, 1, "blue/rows").batches == 4, "counts and digests stay"


def test_a_store_that_says_deleted_and_did_not_is_found_out(stage: Stage) -> None:
    stage.with_policy(rounds=1)
    stage.shelves["blue/rows"].fault("lies")
    request = stage.approved()
    operation_id = stage.started(request)
    operation = stage.drive(operation_id)
    assert operation.state is State.WAITING
    assert stage.verdicts(operation_id) == {"blue/cache": "VERIFIED", "blue/rows": "RESIDUAL"}
    assert stage.state(request.id) is RequestState.NEEDS_HUMAN
    stage.shelves["blue/rows"].mend()
    assert stage.again(operation_id).state is State.SUCCEEDED
    assert stage.state(request.id) is RequestState.COMPLETED


def test_leftovers_go_in_another_round_without_a_person(stage: Stage) -> None:
    stage.shelves["blue/rows"].fault("lies")
    operation_id = stage.started()
    timer = threading.Timer(0.0, lambda: None)
    timer.start()

    def mend_after_judging() -> None:
        while not any(step.key == "freeze/2/blue/rows" for step in stage.operations.steps(operation_id)):
            time.sleep(0.01)
        stage.shelves["blue/rows"].mend()

    mender = threading.Thread(target=mend_after_judging)
    mender.start()
    operation = stage.drive(operation_id)
    mender.join()
    assert operation.state is State.SUCCEEDED and operation.result is not None
    assert operation.result["overall"] == "COMPLETE"


def test_an_undeclared_hit_blocks_completion_and_waits_for_a_person(stage: Stage) -> None:
    stage.shelves["blue/rows"].put(ACME, "export.csv", place="hidden cache")
    request = stage.approved()
    operation_id = stage.started(request)
    stage.drive(operation_id)
    assert stage.verdicts(operation_id)["blue/rows"] == "RESIDUAL"
    assert stage.state(request.id) is RequestState.NEEDS_HUMAN
    residue = stage.manifests.residue(operation_id, "look/1/2/blue/rows")
    assert residue["blue/rows"][0]["proposal"] == "add hidden cache"
    assert not any(step.key == "judge/2" for step in stage.operations.steps(operation_id)), "no round helps"


@pytest.mark.parametrize("fault", ["down", "read only"])
def test_a_system_that_is_down_or_read_only_is_never_done_and_the_others_go_on(
    stage: Stage, fault: str
) -> None:
    request = stage.approved()
    operation_id = stage.started(request)

    def break_it() -> None:
        while not any(step.key == "no-return" for step in stage.operations.steps(operation_id)):
            time.sleep(0.005)
        stage.shelves["blue/cache"].fault(fault)

    # Slow enough that the fault is there before the first batch of the second system, whichever is first.
    stage.shelves["blue/cache"].fault("slow", 0.2)
    breaker = threading.Thread(target=break_it)
    breaker.start()
    stage.drive(operation_id)
    breaker.join()
    verdicts = stage.verdicts(operation_id)
    assert verdicts["blue/cache"] in ("RESIDUAL", "UNVERIFIED")
    assert verdicts["blue/rows"] == "VERIFIED"
    assert stage.state(request.id) is RequestState.NEEDS_HUMAN
    stage.shelves["blue/cache"].mend()
    assert stage.again(operation_id).state is State.SUCCEEDED


def test_a_system_that_is_away_for_a_moment_is_tried_again(stage: Stage) -> None:
    stage.with_policy(attempts=10)
    operation_id = stage.started()
    stage.shelves["blue/rows"].fault("down for", 3)
    assert stage.drive(operation_id).state is State.SUCCEEDED


def test_a_verifier_that_finds_no_control_proves_nothing(stage: Stage) -> None:
    stage.shelves["blue/rows"].fault("blind")
    request = stage.approved()
    operation_id = stage.started(request)
    stage.drive(operation_id)
    assert stage.verdicts(operation_id)["blue/rows"] == "INCONCLUSIVE"
    assert stage.state(request.id) is RequestState.NEEDS_HUMAN


def test_a_system_that_nobody_can_search_is_never_done(stage: Stage) -> None:
    stage.without_verifier = ["blue/rows"]
    request = stage.approved()
    operation_id = stage.started(request)
    stage.drive(operation_id)
    assert stage.verdicts(operation_id)["blue/rows"] == "NEEDS_HUMAN"
    assert stage.state(request.id) is RequestState.NEEDS_HUMAN


def test_what_cleaning_out_left_behind_is_not_verified(stage: Stage) -> None:
    stage.shelves["blue/rows"].fault("unsettled", ["a replication slot holds old rows"])
    operation_id = stage.started()
    stage.drive(operation_id)
    assert stage.verdicts(operation_id)["blue/rows"] == "UNVERIFIED"


def test_a_locked_item_makes_it_interim_until_its_date_and_then_it_goes(stage: Stage) -> None:
    until = time.time() + 2.0
    stage.shelves["blue/rows"].fault("locked until", until)
    request = stage.approved()
    operation_id = stage.started(request)
    deadline = time.monotonic() + 20

    def unlock() -> None:
        time.sleep(max(0.0, until - time.time()))
        stage.shelves["blue/rows"].mend()

    threading.Thread(target=unlock).start()
    operation = stage.drive(operation_id)
    assert time.monotonic() < deadline
    assert stage.output(operation_id, "judge/1")["overall"] == "INTERIM"
    assert operation.state is State.SUCCEEDED and operation.result is not None
    assert operation.result["overall"] == "COMPLETE"
    assert all(shelf.keys(ACME) == [] for shelf in stage.shelves.values())


def test_a_providers_promise_is_interim_until_its_date(stage: Stage) -> None:
    stage.shelves["blue/rows"].fault("horizon days", 90)
    request = stage.approved()
    operation_id = stage.started(request)
    operation = stage.drive(operation_id)
    assert operation.state is State.WAITING
    assert operation.wake_at > time.time() + 89 * 86400
    assert stage.output(operation_id, "judge/1")["overall"] == "INTERIM"
    assert stage.state(request.id) is RequestState.BACKUP_AGING


def test_what_a_retention_rule_keeps_stays_and_is_named_with_its_ground(stage: Stage) -> None:
    until = time.time() + 86400.0
    rule = RetentionRule("rows", "messages", Exception17.LEGAL_OBLIGATION, until, "tax records")
    stage.with_policy(retention=(rule,))
    operation_id = stage.started()
    operation = stage.drive(operation_id)
    assert stage.verdicts(operation_id)["blue/rows"] == "RETAINED"
    assert stage.shelves["blue/rows"].keys(ACME) == ["messages/m0", "messages/m1"]
    assert stage.shelves["blue/cache"].keys(ACME) == []
    assert operation.state is State.SUCCEEDED and operation.result is not None
    assert operation.result["overall"] == "COMPLETE_WITH_EXCEPTIONS"


def test_something_that_comes_back_reopens_the_request(stage: Stage) -> None:
    stage.with_policy(rescans_s=(3600.0,))
    request = stage.approved()
    operation_id = stage.started(request)
    assert stage.drive(operation_id).state is State.WAITING
    assert stage.state(request.id) is RequestState.LIVE_ERASED
    with stage.shelves["blue/rows"].open() as db:
        db.execute("INSERT INTO item VALUES ('documents', 'acme', 'late', 'acme:late')")
    operation = stage.again(operation_id)
    assert any(event.kind == "resurrection" for event in stage.operations.events(operation_id))
    assert operation.state is State.WAITING, "the rescans begin anew"
    assert stage.shelves["blue/rows"].keys(ACME) == []
    assert stage.again(operation_id).state is State.SUCCEEDED


def test_a_rescan_that_cannot_read_is_not_clean(stage: Stage) -> None:
    stage.with_policy(rescans_s=(3600.0,), attempts=1)
    request = stage.approved()
    operation_id = stage.started(request)
    stage.drive(operation_id)
    stage.shelves["blue/rows"].fault("verifier down")
    operation = stage.again(operation_id)
    assert operation.state is State.WAITING and "could not search blue/rows" in operation.why
    stage.shelves["blue/rows"].mend()
    assert stage.again(operation_id).state is State.SUCCEEDED


def test_before_the_point_of_no_return_it_can_be_cancelled_and_writes_are_open_again(stage: Stage) -> None:
    request = stage.approved()
    operation_id = stage.started(request)
    stage.holds.place("M-1", Exception17.LEGAL_CLAIMS, [ACME], actor="jura@desk")
    stage.drive(operation_id)
    assert stage.state(request.id) is RequestState.BLOCKED_BY_HOLD
    with pytest.raises(Exception, match="closed"):
        stage.shelves["blue/rows"].put(ACME, "d9")
    stage.operations.abort(operation_id, actor="petra@desk", reason="withdrawn")
    assert stage.drive(operation_id).state is State.ABORTED
    assert stage.state(request.id) is RequestState.CANCELLED
    stage.shelves["blue/rows"].put(ACME, "d9")
    assert "documents/d0" in stage.shelves["blue/rows"].keys(ACME)


def test_after_the_point_of_no_return_it_cannot_be_cancelled(stage: Stage) -> None:
    stage.with_policy(rescans_s=(3600.0,))
    request = stage.approved()
    operation_id = stage.started(request)
    stage.drive(operation_id)
    with pytest.raises(WrongState, match="too late"):
        stage.operations.abort(operation_id, actor="petra@desk")
    with pytest.raises(WrongState, match="point of no return"):
        stage.governing.cancel(stage.requests.get(request.id), actor="petra@desk", reason="")


def test_what_grew_beyond_what_was_approved_is_not_deleted(stage: Stage) -> None:
    request = stage.approved()
    stage.shelves["blue/rows"].put(ACME, *(f"new{number}" for number in range(200)))
    operation_id = stage.started(request)
    operation = stage.drive(operation_id)
    assert operation.state is State.FAILED and operation.cause is not None
    assert operation.cause.kind == "PlanChanged"
    assert stage.state(request.id) is RequestState.SCOPING, "it needs a new plan and new approvals"
    assert stage.shelves["blue/rows"].deletions() == []
    stage.shelves["blue/rows"].put(ACME, "open again")


def test_a_new_set_that_nobody_approved_is_not_deleted(stage: Stage) -> None:
    request = stage.approved()
    stage.shelves["blue/rows"].put(ACME, "x", place="invoices")
    operation = stage.drive(stage.started(request))
    assert operation.state is State.FAILED
    assert stage.shelves["blue/rows"].deletions() == []
