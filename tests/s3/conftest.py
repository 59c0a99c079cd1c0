"""Fixtures for the tests of the S3 store: real emulator processes, and a pair of buckets for each test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3_pair import MakePair, Pair, make_pair_of
from tenant_lifecycle.sandbox.objects import ObjectServer


@pytest.fixture(scope="session")
def object_servers() -> Iterator[Callable[[int], ObjectServer]]:
    """``object_servers(0)`` starts a server on first use; all are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-objects-"))
    running: dict[int, ObjectServer] = {}

    def get(number: int) -> ObjectServer:
        if number not in running:
            running[number] = ObjectServer(folder / str(number))
        if running[number].pid is None:
            running[number].start()
        return running[number]

    yield get
    for server in running.values():
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_pair(object_servers: Callable[[int], ObjectServer]) -> Iterator[MakePair]:
    """``make_pair()``: two stores on two servers; ``make_pair(apart=False)``: on one."""
    pairs: list[Pair] = []

    def make(*, apart: bool = True, versioned: tuple[bool, bool] = (True, True), **rest: object) -> Pair:
        servers = object_servers(0), object_servers(1 if apart else 0)
        names = [f"{side}-{uuid.uuid4().hex[:10]}" for side in ("blue", "green")]
        for server, name, versioning in zip(servers, names, versioned, strict=True):
            server.create_bucket(name, versioning=versioning)
        pairs.append(make_pair_of((servers[0].endpoint, servers[1].endpoint), (names[0], names[1]), **rest))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture
def pair(make_pair: MakePair) -> Pair:
    """Two stores on two servers."""
    return make_pair()
