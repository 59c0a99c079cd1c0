"""The contract of routers, held by a real Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.testing.router_contract import RouterContract
from traffic.benches import EnvoyBench, running


@pytest.fixture(scope="module")
def bench(folder: Path, applications: NamedApplications) -> Iterator[EnvoyBench]:
    with running(EnvoyBench(folder, applications)) as bench:
        yield bench


class TestEnvoy(RouterContract):
    """All of it."""
