"""Erasures over shelves, with a control database of each kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from erasing_stage import Stage

from tenant_lifecycle.catalog.database import ControlDatabase


@pytest.fixture
def stage(new_control: Callable[[str], ControlDatabase], tmp_path: Path) -> Stage:
    """Two shelves, one tenant, four neighbours."""
    return Stage(new_control("sqlite"), tmp_path)


@pytest.fixture
def each_stage(control: ControlDatabase, tmp_path: Path) -> Stage:
    """The same with a control database of each kind."""
    return Stage(control, tmp_path)
