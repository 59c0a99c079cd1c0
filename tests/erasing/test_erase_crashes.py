"""kill -9 at every step of an erasure, before its effect and after it: the same outcome, and no neighbour changed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from erasing_stage import ACME, Stage

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.holds import Holds
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.manifests import Manifests
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.requests import Requests
from tenant_lifecycle.model.erasure.request import RequestState
from tenant_lifecycle.model.operation import State

_FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
#: Class and method whose call is counted; a child dies at one of them, before it or after it.
POINTS = [
    (SqlJournal, "intent"),
    (SqlJournal, "done"),
    (Requests, "move"),
    (Holds, "begin"),
    (Manifests, "erased"),
    (Manifests, "freeze"),
    (Manifests, "shred"),
]


@pytest.fixture
def new_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """A stage with a control database of its own on the memory disk; gone afterwards."""
    fast = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-crash-", dir=_FAST))
    made: list[ControlDatabase] = []

    def make(**settings: Any) -> Stage:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(ControlDatabase(fast / f"{len(made)}.db"))
        upgrade(made[-1])
        return Stage(made[-1], folder, **settings)

    yield make
    for db in made:
        db.close()
    shutil.rmtree(fast, ignore_errors=True)


def at_every_call(
    new_stage: Callable[..., Stage], point: tuple[type, str], after: bool, names: Sequence[str]
) -> int:
    """Die at the first call, at the second, until there is no such call; return how many there were."""
    calls = 1
    while one_crash(new_stage(names=names), point, calls, after):
        calls += 1
    return calls - 1


def test_killed_between_effect_and_outcome_of_every_step_it_ends_the_same(
    new_stage: Callable[..., Stage],
) -> None:
    assert at_every_call(new_stage, (SqlJournal, "done"), False, ("blue/rows",)) >= 16


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("point", "nth"),
    [
        ((Holds, "begin"), 2),
        ((Manifests, "erased"), 2),
        ((Manifests, "freeze"), 1),
        ((Manifests, "shred"), 1),
        ((Requests, "move"), 6),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_killed_inside_a_step_it_ends_the_same(
    new_stage: Callable[..., Stage], point: tuple[type, str], nth: int, after: bool
) -> None:
    assert one_crash(new_stage(names=("blue/rows",)), point, nth, after), "it was never killed"


@pytest.mark.chaos
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS, ids=lambda value: value[1])
def test_killed_anywhere_with_two_systems_it_ends_the_same(
    new_stage: Callable[..., Stage], point: tuple[type, str], after: bool
) -> None:
    assert at_every_call(new_stage, point, after, ("blue/cache", "blue/rows")) > 0


def one_crash(stage: Stage, point: tuple[type, str], nth: int, after: bool) -> bool:
    before = stage.neighbours()
    request = stage.approved()
    operation_id = stage.started(request)
    died = stage.drive_and_die(operation_id, point, nth, after)
    operation = stage.drive(operation_id)
    where = f"killed at {point[1]} {nth}, {'after' if after else 'before'}"
    assert operation.state is State.SUCCEEDED, f"{where}: {operation.why}"
    assert operation.result is not None and operation.result["overall"] == "COMPLETE", where
    assert stage.state(request.id) is RequestState.COMPLETED, where
    assert all(shelf.keys(ACME) == [] for shelf in stage.shelves.values()), where
    after_it = {name: [k for k in keys if "tlcontrol" not in k] for name, keys in stage.neighbours().items()}
    assert after_it == before, where
    for shelf in stage.shelves.values():
        gone = shelf.deletions()
        assert len(gone) == len(set(gone)) and all(owner == ACME for owner, _ in gone), where
    return died
