"""The contract of routers, held by a real HAProxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_lifecycle.sandbox.haproxy import haproxy_program
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.testing.router_contract import RouterContract
from traffic.benches import HAProxyBench, running

pytestmark = pytest.mark.skipif(
    haproxy_program() is None, reason="no HAProxy on this machine; apt-get install haproxy"
)


@pytest.fixture(scope="module")
def bench(folder: Path, applications: NamedApplications) -> Iterator[HAProxyBench]:
    with running(HAProxyBench(folder, applications)) as bench:
        yield bench


class TestHAProxy(RouterContract):
    """All of it."""
