"""The small world in which drivers die."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from crashes import World
from effects import Effects

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.engine import context


@pytest.fixture
def world(control: ControlDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A control database and a store with a fence; every progress is written, so that a crash can follow it."""
    monkeypatch.setattr(context, "PROGRESS_S", 0.0)
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=fast) as folder:
        effects = Effects(Path(folder) / "effects.db")
        effects.create()
        yield World(control, effects)
