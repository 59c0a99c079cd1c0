"""Fixtures of the care's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from care_regions import ACME, HOSTILE, Regions, make_regions


@pytest.fixture
def regions(tmp_path: Path) -> Regions:
    """Two tenants with a base and a delta each, copied."""
    return make_regions(tmp_path, [ACME, HOSTILE])
