"""Fixtures for the tests of the Redis store: two real servers, emptied for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis_pair import Pair, client

from tenant_lifecycle.sandbox.redis import RedisServer, program

_FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="session")
def redis_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-redis-", dir=_FAST))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_servers(redis_folder: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Blue and green, for the whole session."""
    if program() is None:
        pytest.skip("no Redis server on this machine")
    servers = RedisServer(redis_folder / "blue", notify="KA"), RedisServer(redis_folder / "green")
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.remove()


@pytest.fixture
def new_server(redis_folder: Path) -> Iterator[Callable[..., RedisServer]]:
    """``new_server(appendonly=True)`` starts one that the test may kill."""
    made: list[RedisServer] = []

    def make(**options: object) -> RedisServer:
        server = RedisServer(Path(tempfile.mkdtemp(dir=redis_folder)), **options)  # type: ignore[arg-type]
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def make_pair(redis_servers: tuple[RedisServer, RedisServer]) -> Iterator[Callable[..., Pair]]:
    """``make_pair(keys=..., servers=...)``: two empty sides."""
    made: list[Pair] = []

    def make(servers: tuple[RedisServer, RedisServer] = redis_servers, **options: object) -> Pair:
        for server in servers:
            with client(server) as db:
                db.flushall()
        made.append(Pair(servers, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for pair in made:
        pair.close()


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    """The sample application's two sides, empty."""
    return make_pair()
