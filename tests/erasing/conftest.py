"""Erasures over shelves, with a control database of each kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from erasing_stage import Stage

from tenant_lifecycle.catalog.database import ControlDatabase


@pytest.fixture
def stage(control: ControlDatabase, tmp_path: Path) -> Stage:
    """Two shelves, one tenant, four neighbours."""
    return Stage(control, tmp_path)
