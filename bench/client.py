"""What the client library adds to an application's write: the gate, the journal of touched keys, and the mirror."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from psycopg_pool import ConnectionPool

from bench import rows
from bench.measure import percentile, until
from bench.pair import store_pair
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, settle, two_servers
from tenant_lifecycle.client import Environment, TenantClient
from tenant_lifecycle.client.session import Session
from tenant_lifecycle.model.cutover import Fence
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.sandbox.guardian import ending_with_us
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.base import Feed

TENANT = TenantId(rows.TENANT)
FEED = Feed("op_bench_fwd", TENANT, 1)
INSERT = "INSERT INTO public.documents VALUES (%s, 't-1', 'a title', 'a body', '{}', 1, 0, true, now())"
#: Writes that one side makes before the other has its turn.
TURN = 50
#: The specification's own figure for a dual write.
_ADDED = (Budget("added", "at most", 5.0),)
Write = Callable[[int], object]
Took = dict[str, list[float]]


@dataclass
class Application:
    """The same writes with the library and by hand; the bare ones go to a database without a fence."""

    client: TenantClient
    bare: ConnectionPool[Any]
    blue: Any
    green: Any
    took: Took = field(default_factory=dict)
    _id: int = 1_000_000_000

    def row(self, id: int) -> None:
        self.client.write(TENANT, lambda session: _row(session, id))

    def row_and_key(self, id: int) -> None:
        def block(session: Session) -> None:
            _row(session, id)
            session.redis().set(f"item:{id}", "a value")

        self.client.write(TENANT, block)

    def bare_row(self, id: int) -> None:
        with self.bare.connection() as conn:
            conn.execute(INSERT, (id,))

    def bare_row_and_key(self, id: int) -> None:
        with self.bare.connection() as conn:
            conn.execute(INSERT, (id,))
            self.blue.set(f"bare:{id}", "a value")

    def bare_row_and_two_keys(self, id: int) -> None:
        """What somebody would write who knows of both sides."""
        self.bare_row_and_key(id)
        self.green.set(f"bare:{id}", "a value")

    def measure(self, count: int, writes: dict[str, Write]) -> None:
        """Milliseconds of each write, the sides in turns."""
        for turn in range(-1, count // TURN):
            for name, write in writes.items():
                for _ in range(TURN):
                    self._id += 1
                    began = time.perf_counter()
                    write(self._id)
                    # The first turn warms up: connections, plans, where the tenant's writer is.
                    if turn >= 0:
                        self.took.setdefault(name, []).append((time.perf_counter() - began) * 1e3)


def _row(session: Session, id: int) -> None:
    session.postgres.execute(INSERT, (id,))


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """First while the tenant rests, then while it moves."""
    count = 100 if quick else 600
    with two_servers() as servers, _redis(servers.folder) as keys, _stores(servers) as stores:
        settle(servers.blue, servers.green)
        with _application(servers, keys) as application:
            application.measure(
                count,
                {
                    "row": application.row,
                    "bare row": application.bare_row,
                    "row and key": application.row_and_key,
                    "bare row and key": application.bare_row_and_key,
                },
            )
            show("  the tenant rests: done")
            with _moving(stores, servers.folder):
                _mirroring(application)
                application.measure(
                    count,
                    {
                        "moving row": application.row,
                        "bare row, again": application.bare_row,
                        "moving row and key": application.row_and_key,
                        "bare row and two keys": application.bare_row_and_two_keys,
                    },
                )
            counts = application.client.counts()
            took = application.took
    return Report("client", tuple(_figures(took)), {"writes": count, "counts": counts, "ms": _spread(took)})


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    with ending_with_us(), RedisServer(folder / "r1") as blue, RedisServer(folder / "r2") as green:
        yield blue, green


@contextmanager
def _stores(servers: Servers) -> Iterator[StorePair]:
    """Both databases, armed for the tenant; and a bare one beside blue's."""
    dsns = create_database(servers.blue, "client"), create_database(servers.green, "client")
    filled = dsns[0], create_database(servers.blue, "bare")
    for dsn in (*filled, dsns[1]):
        rows.create(dsn)
    for dsn in filled:
        rows.fill(dsn, 1_000)
    with store_pair(*dsns) as pair:
        source, target = _any(pair)
        source.arm(TENANT, Fence.ACTIVE, 1, None)
        target.arm(TENANT, Fence.STANDBY, 0, "blue")
        yield pair


@contextmanager
def _application(servers: Servers, keys: tuple[RedisServer, RedisServer]) -> Iterator[Application]:
    blue, green = (redis.Redis(port=server.port) for server in keys)
    dsns = servers.blue.dsn("client"), servers.green.dsn("client"), servers.blue.dsn("bare")
    pools = [ConnectionPool(dsn, min_size=2, max_size=4, open=True) for dsn in dsns]
    environments = {
        "blue": Environment(pools[0].connection, {"redis": blue}),
        "green": Environment(pools[1].connection, {"redis": green}),
    }
    try:
        with TenantClient(environments, "blue", "blue") as client:
            yield Application(client, pools[2], blue, green)
    finally:
        for one in (*pools, blue, green):
            one.close()


@contextmanager
def _moving(stores: StorePair, folder: Path) -> Iterator[None]:
    """A feed that is followed and applied, and an open journal, as during a move after its copy."""
    source, target = _any(stores)
    source.create_feed(target, FEED)
    source.open_journal(FEED)
    follower = source.follow(target, FEED, folder / "spool")
    follower.start()
    try:
        follower.apply()
        until(lambda: follower.await_marker(follower.mark(), 5.0), 60.0, "catching up")
        yield
        follower.check()
    finally:
        follower.stop()
        source.close_journal(FEED)
        source.drop_feed(FEED)


def _mirroring(application: Application) -> None:
    """Until the client knows that the other side is filled, and writes there as well.

    Raises:
        TimeoutError: it never did.
    """
    number = iter(range(1_000_000))

    def mirrored() -> bool:
        application.row_and_key(next(number) + 500_000_000)
        return application.client.counts()["keys_mirrored"] > 0

    until(mirrored, 20.0, "mirroring")


def _any(stores: StorePair) -> tuple[Any, Any]:
    return stores.source, stores.target


def _figures(took: Took) -> Iterator[Figure]:
    for ours, bare, peer in (
        ("row", "bare row", "psycopg alone"),
        ("row and key", "bare row and key", "psycopg and redis-py"),
        ("moving row", "bare row, again", "psycopg alone"),
        ("moving row and key", "bare row and two keys", "the same to both sides by hand"),
    ):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            budgets = _ADDED if name == "p50" else ()
            values = percentile(took[ours], share), percentile(took[bare], share)
            yield Figure(f"write of a {ours} {name}", "ms", *values, peer, "lower", budgets)


def _spread(took: Took) -> dict[str, dict[str, float]]:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: {word: round(percentile(values, share), 3) for word, share in shares.items()}
        for name, values in took.items()
    }
