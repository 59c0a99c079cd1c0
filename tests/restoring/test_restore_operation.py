"""A restore: beside what is live first, proved, compared, and only on another person's word in its place."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from restoring_stage import ACME, ASKER, Stage

from tenant_lifecycle.errors import NotRestorable, TenantInMaintenance, UnknownBackup
from tenant_lifecycle.model.backup.policy import RestorePolicy
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.operations.backup.taking import read_back
from tenant_lifecycle.operations.restore.promoting import AFTER, SAFETY
from tenant_lifecycle.stores.base import FenceState


def test_a_tenant_is_as_it_was_and_its_neighbours_are_as_they_are(stage: Stage) -> None:
    before, neighbours = stage.live(), stage.neighbours()
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()

    waiting = stage.restore(base)
    assert waiting.state is State.WAITING and stage.live() != before, "nothing live was touched yet"
    counts = stage.outputs(waiting)["compare/rows"]["sets"]["documents"]
    assert counts == {"only_restored": 1, "only_live": 1, "changed": 1, "equal": 2}

    done = stage.say(waiting, "promote")
    assert done.state is State.SUCCEEDED
    assert stage.live() == before and stage.neighbours() == neighbours
    assert stage.piles() == [], "previews are gone"
    assert stage.outputs(done)["promote"]["changed"]["rows"]["documents"] == 3


def test_what_was_live_is_kept_before_it_is_replaced(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    ruined = stage.live()
    stage.say(stage.restore(base), "promote")
    safety = next(one for one in stage.repository.manifests() if SAFETY in one.labels)
    assert any(AFTER in one.labels for one in stage.repository.manifests())

    stage.say(stage.restore(safety.id), "promote")
    assert stage.live() == ruined, "a restore can be taken back"


def test_with_a_fresh_log_the_safety_copy_is_taken_before_writes_are_held(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.repository.logged_until_now()
    done = stage.say(stage.restore(base), "promote")
    assert "base" in stage.outputs(done)["safety"] and "safety" not in stage.outputs(done)["promote"]


def test_the_one_who_asked_may_not_promote(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    ruined = stage.live()
    waiting = stage.say(stage.restore(base), "promote", actor=ASKER)
    assert waiting.state is State.WAITING and stage.live() == ruined
    assert any(one.kind == "promote-refused" for one in stage.operations.events(waiting.id))
    assert stage.say(waiting, "promote").state is State.SUCCEEDED


def test_without_four_eyes_one_person_does(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(RestorePolicy(four_eyes=False))
    base = stage.outputs(stage.backup())["take"]["base"]
    assert stage.say(stage.restore(base), "promote", actor=ASKER).state is State.SUCCEEDED


def test_discarding_touches_nothing(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    ruined = stage.live()
    done = stage.say(stage.restore(base), "discard")
    assert done.state is State.SUCCEEDED and stage.live() == ruined and stage.piles() == []
    assert stage.stores()["rows"].fence_row(ACME) is None


def test_an_abort_takes_the_previews_away(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    waiting = stage.restore(base)
    assert stage.piles()
    stage.operations.abort(waiting.id, actor=ASKER, reason="not needed")
    assert stage.drive(waiting.id).state is State.ABORTED and stage.piles() == []


def test_a_preview_nobody_decides_about_is_discarded(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(RestorePolicy(preview_s=0.0))
    base = stage.outputs(stage.backup())["take"]["base"]
    done = stage.restore(base)
    assert done.state is State.SUCCEEDED and stage.piles() == []
    assert stage.outputs(done)["decide"] == {"next": "discard", "by": "engine"}


def test_a_preview_that_is_not_what_the_log_says_stops_the_restore(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    before = stage.live()
    stage.cache.fault("bends what it loads")
    failed = stage.restore(base)
    assert failed.state is State.FAILED and failed.cause is not None
    assert failed.cause.kind == "VerificationFailed" and "messages" in failed.cause.message
    assert stage.live() == before and stage.piles() == []


def test_another_schema_is_refused_by_the_columns_name(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.rows.fault("lacks a column")
    [finding] = stage.plan(base).refusals
    assert finding.code == "cupboard.column-mismatch" and "colour" in finding.message
    failed = stage.restore(base)
    assert failed.state is State.FAILED and stage.piles() == []


def test_a_store_that_does_not_answer_is_waited_for_under_the_fence(stage: Stage) -> None:
    before = stage.live()
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    stage.cache.fault("promotions that fail", 2)
    done = stage.say(stage.restore(base), "promote")
    assert done.state is State.SUCCEEDED and stage.live() == before


def test_writes_are_held_while_data_is_replaced_and_the_epoch_grows(stage: Stage) -> None:
    judge = stage.stores()["rows"]
    judge.arm(ACME, FenceState.ACTIVE, 7, None)
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    refused: list[str] = []
    promote = type(stage.stores()["cache"].open_preview(ACME, "other", {}, {})).promote

    def while_it_is_promoted(self: object, *arguments: object) -> object:
        try:
            stage.rows.write(ACME, "late", "x")
        except TenantInMaintenance:
            refused.append("held")
        stage.rows.write("acme2", "d9", "a neighbour writes on")
        return promote(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cupboard.Pile.promote", while_it_is_promoted)
        done = stage.say(stage.restore(base), "promote")
    assert done.state is State.SUCCEEDED and refused == ["held", "held"]
    row = judge.fence_row(ACME)
    assert row is not None and row.state is FenceState.ACTIVE and row.epoch == 9


def test_an_attempt_that_lost_its_fence_counts_for_nothing(stage: Stage) -> None:
    """Somebody wrote after the first store was restored: all stores are made equal once more."""
    before = stage.live()
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    promote = type(stage.stores()["cache"].open_preview(ACME, "other", {}, {})).promote
    promoted: list[int] = []

    def losing_it(self: object, *arguments: object) -> object:
        result = promote(self, *arguments)
        promoted.append(1)
        if len(promoted) == 1:
            stage.stores()["rows"].release(ACME, None)
            stage.rows.write(ACME, "between", "one store and the next")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cupboard.Pile.promote", losing_it)
        done = stage.say(stage.restore(base), "promote")
    assert done.state is State.SUCCEEDED and len(promoted) >= 4
    assert stage.live() == before


def test_only_single_sets_are_restored(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    ruined = stage.live()
    done = stage.say(stage.restore(base, stores=["cache"], only={"cache": ["messages"]}), "promote")
    assert done.state is State.SUCCEEDED
    assert stage.live()["rows"] == ruined["rows"] and len(stage.live()["cache"]) == 4


def test_a_set_that_was_not_there_is_refused(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    codes = {one.code for one in stage.plan(base, {"rows": ["nothing"]}).refusals}
    assert codes == {"restore.no-such-set"}


@pytest.mark.parametrize(
    ("state", "target", "code"),
    [
        (FenceState.MOVED, None, "restore.erased"),
        (FenceState.MOVED, "green", "restore.not-writer"),
        (FenceState.STANDBY, "green", "restore.not-writer"),
    ],
)
def test_a_tenant_that_does_not_write_here_is_not_restored_here(
    stage: Stage, state: FenceState, target: str | None, code: str
) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.stores()["rows"].arm(ACME, state, 3, target)
    assert {one.code for one in stage.plan(base).refusals} == {code}


def test_a_fenced_tenant_is_not_restored(stage: Stage) -> None:
    base = stage.outputs(stage.backup())["take"]["base"]
    judge = stage.stores()["rows"]
    judge.arm(ACME, FenceState.ACTIVE, 1, None)
    judge.fence(ACME, 1, 30.0, 1.0)
    assert {one.code for one in stage.plan(base).refusals} == {"restore.fenced"}


def test_moments_that_cannot_be_restored_are_refused(stage: Stage) -> None:
    stage.backup()
    with pytest.raises(NotRestorable, match="future"):
        stage.plan("2999-01-01T00:00:00Z")
    [base] = stage.repository.manifests()
    with pytest.raises(NotRestorable) as early:
        stage.plan("2001-01-01T00:00:00Z")
    assert f"--to {base.id}" in early.value.next_step, "the nearest that can be restored"
    with pytest.raises(UnknownBackup, match="no base with the mark 'never'"):
        stage.plan("mark:never")
    with pytest.raises(UnknownBackup, match="no base 01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        stage.plan("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with pytest.raises(ValueError, match="'yesterday' is no moment"):
        stage.plan("yesterday")


def test_of_a_tenant_without_a_base_the_next_step_is_to_take_one(stage: Stage) -> None:
    with pytest.raises(UnknownBackup, match="'acme' has no base") as none:
        stage.plan("latest")
    assert none.value.next_step == "tenantctl backup create acme"


def test_a_mark_names_a_base(stage: Stage) -> None:
    before = stage.live()
    stage.backup(labels={"mark": "before import"})
    stage.ruin()
    stage.backup()
    stage.say(stage.restore("mark:before import"), "promote")
    assert stage.live() == before


def test_a_backup_holds_what_was_there_and_is_read_back(stage: Stage) -> None:
    done = stage.backup(labels={"why": "test"}, keep_s=60)
    [manifest] = stage.repository.manifests()
    assert stage.outputs(done)["take"]["stores"] == {"rows": 4, "cache": 4}
    assert manifest.labels["why"] == "test" and manifest.expires_us is not None
    assert manifest.expires_us > time.time_ns() // 1000
    assert read_back(stage.repository, manifest, lambda: None) == 8
    assert manifest.tenant == TenantId("acme")
