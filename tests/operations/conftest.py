"""Migrations between databases of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig import Rig, make_rig
from sample_fixtures import SandboxPair
from tenant_lifecycle.sandbox.environment import Fill


@pytest.fixture
def new_rig(sandbox_pair: Callable[..., SandboxPair], tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """``new_rig(blue=16, green=18, fill=..., policies="...")``; closed afterwards."""
    made: list[Rig] = []

    def make(blue: int = 16, green: int = 18, fill: Fill = Fill.RESIDENTS, policies: str = "") -> Rig:
        made.append(make_rig(sandbox_pair(blue, green, fill), tmp_path, policies=policies))
        return made[-1]

    yield make
    for rig in made:
        rig.lifecycle.close()


@pytest.fixture
def rig(new_rig: Callable[..., Rig]) -> Rig:
    """PostgreSQL 16 to 18, residents on green."""
    return new_rig()
