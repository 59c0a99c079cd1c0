"""kill -9 at every step of a backup and of a restore, before and after its effect: the same end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cupboard import Fencing, Pile, _Writer
from restoring_stage import OTHER, Stage

from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.model.operation import NewOperation, State
from tenant_lifecycle.operations.backup.definition import OPERATION, Backup
from tenant_lifecycle.operations.backup.taking import read_back

NewStage = Callable[..., Stage]
#: Where live data is about to change, or has.
INSIDE = [(Pile, "promote"), (Fencing, "commit_move"), (Fencing, "activate"), (Fencing, "hold_writes")]


def killed_restore(stage: Stage, point: tuple[type, str], nth: int, after: bool) -> bool:
    """A whole restore, whose driver dies once after somebody said promote; whether it died."""
    before, neighbours = stage.live(), stage.neighbours()
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    waiting = stage.restore(base)
    stage.operations.signal(waiting.id, "promote", actor=OTHER)
    died = stage.drive_and_die(waiting.id, point, nth, after)
    done = stage.drive(waiting.id)
    where = f"killed {'after' if after else 'before'} {point[1]} {nth}"
    assert done.state is State.SUCCEEDED, f"{where}: {done.why}"
    assert stage.live() == before and stage.neighbours() == neighbours, where
    assert stage.piles() == [] and stage.stores()["rows"].fence_row(waiting.tenant_id) is None, where
    stage.rows.write("acme", "after", "writes go on")
    return died


def test_killed_between_effect_and_outcome_of_every_step_it_ends_the_same(new_stage: NewStage) -> None:
    nth = 1
    while killed_restore(new_stage(), (SqlJournal, "done"), nth, False):
        nth += 1
    assert nth - 1 >= 7


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", INSIDE, ids=lambda point: point[1])
def test_killed_while_live_data_is_replaced_it_ends_the_same(
    new_stage: NewStage, point: tuple[type, str], after: bool
) -> None:
    assert killed_restore(new_stage(), point, 1, after), "it was never killed"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "point", [(Pile, "load"), (SqlJournal, "done"), (Pile, "fingerprints")], ids=lambda point: point[1]
)
def test_killed_beside_live_data_it_waits_for_a_word_all_the_same(
    new_stage: NewStage, point: tuple[type, str], after: bool
) -> None:
    stage = new_stage()
    base = stage.outputs(stage.backup())["take"]["base"]
    stage.ruin()
    ruined, plan = stage.live(), stage.plan(base)
    spec = {"environment": "blue", "at_us": plan.chosen.at_us, "base": base, "stores": ["rows", "cache"]}
    new = NewOperation("restore", "restore@1", "acme", "petra@desk", spec)
    operation_id = stage.operations.create(new).id
    assert stage.drive_and_die(operation_id, point, 2, after)
    assert stage.drive(operation_id).state is State.WAITING and stage.live() == ruined


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "point", [(_Writer, "add"), (_Writer, "commit"), (SqlJournal, "done")], ids=lambda point: point[1]
)
def test_a_killed_backup_leaves_one_good_base(
    new_stage: NewStage, point: tuple[type, str], after: bool
) -> None:
    stage = new_stage()
    new = NewOperation("backup", Backup.name, "acme", "petra@desk", {"environment": "blue"})
    operation_id = stage.operations.create(new).id
    assert stage.drive_and_die(operation_id, point, 1, after)
    assert stage.drive(operation_id).state is State.SUCCEEDED
    [manifest] = stage.repository.manifests()
    assert manifest.labels[OPERATION] == operation_id
    assert read_back(stage.repository, manifest, lambda: None) == 8
