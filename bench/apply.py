"""Apply of changes that wait in the log, against PostgreSQL's own subscription on the same log.

Both have to read the log, decode it and apply it to a copy of the same database with three indexes. Both are
timed from their start until the last row is visible in the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from bench import changes, native, rows
from bench.measure import alternating, spread, stopwatch, until
from bench.pair import store_pair
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, settle, two_servers
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How the changes come: for each size of transaction, the share of all row changes in such ones."""

    name: str
    sizes: dict[int, float]


#: What an application does beside what an import does; and the application alone.
SHAPES = (
    Shape("transactions of 10 and 100 rows", {10: 0.5, 100: 0.5}),
    Shape("transactions of 5 rows", {5: 1.0}),
)
BUDGETS = (Budget("ratio", "at least", 1.5), Budget("value", "at least", 20_000))


@dataclass(frozen=True, slots=True)
class Trial:
    """One log to be applied several times, and where to."""

    servers: Servers
    blue: str
    number: int

    def feed(self, repetition: int) -> Feed:
        """Our feed of one repetition."""
        return Feed(f"tl_bench_{self.number}_{repetition}_fwd", TenantId(rows.TENANT), 1)

    def slot(self, repetition: int) -> str:
        """The subscription's slot of one repetition."""
        return f"native_{self.number}_{repetition}"

    def fresh(self) -> str:
        """The filled target, as it was before any change."""
        green = create_database(self.servers.green, "target", template="filled")
        settle(self.servers.blue, self.servers.green)
        return green


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """One log of each shape, read by feeds of ours and subscriptions in turn, each time into a fresh copy."""
    filled, repetitions = (2_000, 1) if quick else (200_000, 3)
    figures: list[Figure] = []
    extras: dict[str, Any] = {}
    with two_servers() as servers:
        template = create_database(servers.green, "filled")
        rows.create(template)
        rows.fill(template, filled)
        for number, shape in enumerate(SHAPES):
            trial = Trial(servers, create_database(servers.blue, f"apply_{number}"), number)
            rows.create(trial.blue)
            rows.fill(trial.blue, filled)
            _hold(trial, template, repetitions)
            changed = _change(trial.blue, filled, filled if number == 0 else filled // 2, shape)
            show(f"  {changed} row changes wait in the log, in {shape.name}")
            seconds = alternating(_sides(trial), repetitions, show)
            figures.append(_figure(shape, changed, seconds))
            extras[shape.name] = {
                "rows_changed": changed,
                "seconds_of": {name: spread(each) for name, each in seconds.items()},
            }
    return Report("apply", tuple(figures), extras)


def _sides(trial: Trial) -> dict[str, Callable[[int], float]]:
    return {"ours": lambda n: _ours(trial, n), "subscription": lambda n: _native(trial, n)}


def _figure(shape: Shape, changed: int, seconds: dict[str, list[float]]) -> Figure:
    ours, peer = (changed / min(seconds[side]) for side in ("ours", "subscription"))
    name = f"apply, {shape.name}"
    return Figure(name, "rows/s", ours, peer, "native subscription", "higher", BUDGETS)


def _hold(trial: Trial, template: str, repetitions: int) -> None:
    """From now on the source keeps its changes for each repetition of both sides."""
    native.publish(trial.blue)
    with store_pair(trial.blue, template) as pair:
        source: Any = pair.source
        source.create_missing(pair.target, TenantId(rows.TENANT))
        for repetition in range(repetitions):
            native.hold(trial.blue, trial.slot(repetition))
            source.create_feed(pair.target, trial.feed(repetition))


def _change(blue: str, filled: int, wanted: int, shape: Shape) -> int:
    """About as many row changes as wanted, the sizes of transactions mixed; return how many were made."""
    with psycopg.connect(blue, autocommit=True) as conn:
        workload = changes.Workload(conn, filled)
        before = workload.counted()
        due = {size: share * wanted / size for size, share in shape.sizes.items()}
        rounds = int(min(due.values()))
        for _ in range(rounds):
            for size, count in due.items():
                for _ in range(round(count / rounds)):
                    workload.change(size)
        workload.finish()
        return workload.counted() - before


def _ours(trial: Trial, repetition: int) -> float:
    green, feed = trial.fresh(), trial.feed(repetition)
    with store_pair(trial.blue, green) as pair, psycopg.connect(green, autocommit=True) as conn:
        source: Any = pair.source
        follower = source.follow(pair.target, feed, trial.servers.folder / f"spool-{feed.name}")
        try:
            with stopwatch() as watch:
                follower.start()
                follower.apply()
                until(lambda: _there(conn, follower.check), TIMEOUT_S, "our apply")
        finally:
            follower.stop()
        source.drop_feed(feed)
    _same(trial.blue, green)
    return watch.seconds


def _native(trial: Trial, repetition: int) -> float:
    green, slot = trial.fresh(), trial.slot(repetition)
    with stopwatch() as watch, native.subscription(trial.blue, green, slot) as conn:
        until(lambda: changes.arrived(conn), TIMEOUT_S, "the subscription")
        seconds = watch.so_far()
    _same(trial.blue, green)
    return seconds


def _there(conn: psycopg.Connection[tuple[object, ...]], check: Callable[[], None]) -> bool:
    check()
    return changes.arrived(conn)


def _same(blue: str, green: str) -> None:
    """Whoever was fast has to be right as well."""
    digest = "SELECT count(*), sum(hash_record_extended(d, 0)::numeric) FROM public.documents d WHERE tenant_id = 't-1'"
    seen = []
    for dsn in (blue, green):
        with psycopg.connect(dsn) as conn:
            seen.append(conn.execute(digest).fetchone())
    if seen[0] != seen[1]:
        raise RuntimeError(f"source and target differ after the apply: {seen[0]} and {seen[1]}")
