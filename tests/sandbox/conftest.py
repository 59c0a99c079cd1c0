"""A whole sandbox, every part of it, once for all tests of this folder; and what a client of the application is."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tenant_lifecycle.sandbox.environment import Sandbox, running
from tenant_lifecycle.sandbox.parts import EVERYTHING
from tenant_lifecycle.sandbox.rag_app import examples

# The application is found by its path, as the sandbox finds it.
sys.path.insert(0, str(examples()))

FAST = {"fsync": "off", "shared_buffers": "16MB"}
SCALE = 0.005
_MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """Everything runs; tests put it back as it was."""
    base = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-test-", dir=_MEMORY))
    base.chmod(0o755)
    sandbox = Sandbox(base / "box", {"blue": 18, "green": 18}, FAST, EVERYTHING)
    try:
        with running(sandbox, scale=SCALE):
            yield sandbox
    finally:
        shutil.rmtree(base)


@pytest.fixture
def client(box: Sandbox) -> Iterator[Callable[..., httpx.Client]]:
    """``client("acme")`` talks for a tenant to the application on blue, or to another of `Sandbox.urls`."""
    made: list[httpx.Client] = []

    def make(tenant: str, place: str = "blue") -> httpx.Client:
        headers = {"x-tenant-id": quote(tenant, safe="")}
        made.append(httpx.Client(base_url=box.urls[place], headers=headers, timeout=30, trust_env=False))
        return made[-1]

    yield make
    for one in made:
        one.close()
