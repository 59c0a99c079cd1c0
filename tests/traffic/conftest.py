"""Real routers for the tests, each in front of two tiny applications; gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_lifecycle.testing.applications import NamedApplications

pytest.register_assert_rewrite("tenant_lifecycle.testing.router_contract")


@pytest.fixture(scope="session")
def applications() -> Iterator[NamedApplications]:
    with NamedApplications(["blue", "green"]) as running:
        yield running


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that a module of tests shares."""
    path = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-traffic-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
