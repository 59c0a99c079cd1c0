"""The small world in which tenants are restored."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from restoring_stage import Stage

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.model.backup.policy import RestorePolicy

_FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def new_stage() -> Iterator[Callable[..., Stage]]:
    """Stages with a control database of their own on the memory disk; gone afterwards."""
    fast = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-restoring-", dir=_FAST))
    made: list[ControlDatabase] = []

    def make(policy: RestorePolicy | None = None) -> Stage:
        folder = fast / str(len(made))
        folder.mkdir()
        made.append(ControlDatabase(folder / "control.db"))
        upgrade(made[-1])
        return Stage(made[-1], folder, policy or RestorePolicy())

    yield make
    for db in made:
        db.close()
    shutil.rmtree(fast, ignore_errors=True)


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    return new_stage()
