"""Apply of changes that wait in the log, against PostgreSQL's own subscription on the same log.

Both have to read the log, decode it and apply it to a copy of the same database with three indexes. Both are
timed from their start until the last row is visible in the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from bench import changes, native, rows
from bench.measure import alternating, spread, stopwatch, until
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, settle, two_servers
from bench.stores import store_pair
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed

TIMEOUT_S = 300.0


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """One log, read by a feed of ours and a subscription in turn, each time into a fresh copy."""
    filled, repetitions = (2_000, 1) if quick else (200_000, 3)
    with two_servers() as servers:
        blue = create_database(servers.blue, "apply")
        template = create_database(servers.green, "filled")
        for dsn in (blue, template):
            rows.create(dsn)
            rows.fill(dsn, filled)
        native.publish(blue)
        for repetition in range(repetitions):
            native.hold(blue, f"native_{repetition}")
            _create_feed(blue, template, repetition)
        changed, shape = _change(blue, filled)
        show(f"  {changed} row changes wait in the log")
        sides: dict[str, Callable[[int], float]] = {
            "ours": lambda n: _ours(servers, blue, n),
            "subscription": lambda n: _native(servers, blue, n),
        }
        seconds = alternating(sides, repetitions, show)
    ours, peer = (changed / min(seconds[side]) for side in sides)
    budgets = (Budget("ratio", "at least", 1.5), Budget("value", "at least", 20_000))
    figure = Figure("apply, mixed changes", "rows/s", ours, peer, "native subscription", "higher", budgets)
    extras: dict[str, Any] = {
        "rows_changed": changed,
        **shape,
        "seconds_of": {name: spread(each) for name, each in seconds.items()},
    }
    return Report("apply", (figure,), extras)


def _feed(repetition: int) -> Feed:
    return Feed(f"tl_bench_{repetition}_fwd", TenantId(rows.TENANT), 1)


def _create_feed(blue: str, green: str, repetition: int) -> None:
    with store_pair(blue, green) as pair:
        source: Any = pair.source
        source.create_missing(pair.target, TenantId(rows.TENANT))
        source.create_feed(pair.target, _feed(repetition))


def _change(blue: str, filled: int) -> tuple[int, dict[str, int]]:
    """As many changes as there are rows: half of them in transactions of 10 rows, half in ones of 100."""
    small, large = filled // 20, filled // 200
    with psycopg.connect(blue, autocommit=True) as conn:
        workload = changes.Workload(conn, filled)
        before = workload.counted()
        for number in range(small):
            workload.change(10)
            if number * large // small != (number + 1) * large // small:
                workload.change(100)
        workload.finish()
        return workload.counted() - before, {"transactions_of_10": small, "transactions_of_100": large}


def _fresh(servers: Servers) -> str:
    green = create_database(servers.green, "target", template="filled")
    settle(servers.blue, servers.green)
    return green


def _ours(servers: Servers, blue: str, repetition: int) -> float:
    green = _fresh(servers)
    spool = servers.folder / f"spool-{repetition}"
    with store_pair(blue, green) as pair, psycopg.connect(green, autocommit=True) as conn:
        source: Any = pair.source
        follower = source.follow(pair.target, _feed(repetition), spool)
        try:
            with stopwatch() as watch:
                follower.start()
                follower.apply()
                until(lambda: _there(conn, follower.check), TIMEOUT_S, "our apply")
        finally:
            follower.stop()
        source.drop_feed(_feed(repetition))
    _same(blue, green)
    return watch.seconds


def _there(conn: psycopg.Connection[tuple[object, ...]], check: Callable[[], None]) -> bool:
    check()
    return changes.arrived(conn)


def _native(servers: Servers, blue: str, repetition: int) -> float:
    green = _fresh(servers)
    with stopwatch() as watch, native.subscription(blue, green, f"native_{repetition}") as conn:
        until(lambda: changes.arrived(conn), TIMEOUT_S, "the subscription")
        seconds = watch.so_far()
    _same(blue, green)
    return seconds


def _same(blue: str, green: str) -> None:
    """Whoever was fast has to be right as well."""
    digest = "SELECT count(*), sum(hash_record_extended(d, 0)::numeric) FROM public.documents d WHERE tenant_id = 't-1'"
    seen = []
    for dsn in (blue, green):
        with psycopg.connect(dsn) as conn:
            seen.append(conn.execute(digest).fetchone())
    if seen[0] != seen[1]:
        raise RuntimeError(f"source and target differ after the apply: {seen[0]} and {seen[1]}")
