"""Fixtures for the tests of the log store: a real emulator process, emptied of groups for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from log_service import LogService

from tenant_lifecycle.sandbox.objects import ObjectServer


@pytest.fixture(scope="session")
def log_server() -> Iterator[ObjectServer]:
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-logs-"))
    with ObjectServer(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_service(log_server: ObjectServer, tmp_path: Path) -> Iterator[Callable[..., LogService]]:
    """``new_service(quiet="0")``: a store over an empty log service, and a client beside it."""
    made: list[LogService] = []

    def make(**settings: str) -> LogService:
        made.append(LogService(log_server.endpoint, settings))
        made[-1].empty()
        return made[-1]

    yield make
    for service in made:
        service.store.close()


@pytest.fixture
def service(new_service: Callable[..., LogService]) -> LogService:
    return new_service(quiet="0")
