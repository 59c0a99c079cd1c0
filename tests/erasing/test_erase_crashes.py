"""kill -9 at every step of an erasure, before its effect and after it: the same outcome, and no neighbour changed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

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


def drive_and_die(stage: Stage, operation_id: str, point: tuple[type, str], nth: int, after: bool) -> bool:
    """Drive in a child that kills itself at the nth call; whether it got there."""
    stage.db.close()
    pid = os.fork()
    if pid == 0:
        owner, name = point
        whole, calls = getattr(owner, name), 0

        def dying(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = whole(*arguments, **named)
            if calls == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, dying)
        try:
            stage.driver().drive(operation_id)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    ("point", "after"),
    [(point, after) for point in POINTS for after in (False, True)],
    ids=lambda value: value[1] if isinstance(value, tuple) else ("after" if value else "before"),
)
def test_killed_anywhere_it_ends_the_same_and_neighbours_are_untouched(
    tmp_path: Path, point: tuple[type, str], after: bool
) -> None:
    fast = Path("/dev/shm") / f"tl-crash-{os.getpid()}-{point[1]}-{after}.db"
    nth, died = 1, True
    try:
        while died:
            for file in fast.parent.glob(f"{fast.name}*"):
                file.unlink()
            folder = tmp_path / str(nth)
            folder.mkdir()
            db = ControlDatabase(fast)
            upgrade(db)
            died = one_crash(Stage(db, folder), point, nth, after)
            db.close()
            nth += 1
        assert nth > 2, "the point was never reached"
    finally:
        for file in fast.parent.glob(f"{fast.name}*"):
            file.unlink()


def one_crash(stage: Stage, point: tuple[type, str], nth: int, after: bool) -> bool:
    before = stage.neighbours()
    request = stage.approved()
    operation_id = stage.started(request)
    died = drive_and_die(stage, operation_id, point, nth, after)
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
