"""Flips to and fro under load: how long writes wait, as the tool measures it and as the clients see it.

The sample application of the sandbox, its Platinum tenant and a neighbour, written to by a load generator in
a process of its own that puts every write into a ledger. Each flip is the real one: proof shrunk, fence,
marker, comparison under the fence, sequences, compare-and-set, activation.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import percentile, until
from bench.pair import proceed, store_pair
from bench.report import Budget, Figure, Report
from bench.servers import SETTINGS
from tenant_lifecycle.errors import FlipAbandoned, StoreBusy
from tenant_lifecycle.model.cutover import Fence
from tenant_lifecycle.model.flip import FlipTiming
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.operations.migrate.flip import attempt, make_ready
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.operations.pairs import Pair
from tenant_lifecycle.sandbox.environment import Sandbox, running
from tenant_lifecycle.sandbox.ledger_check import check
from tenant_lifecycle.sandbox.load import LoadConfig
from tenant_lifecycle.sandbox.pauses import Pause, pauses
from tenant_lifecycle.sandbox.sample import PLATINUM, SAMPLE_MAP, TENANTS

NEIGHBOUR = TENANTS[1].id
#: The best published figure: two waits of 100 ms by construction. Not measured here.
FLOOR_MS, FLOOR = 200.0, "published floor of the best known"
#: Between two flips, so that clients are seen in their usual rhythm as well.
REST_S = 0.15


@dataclass
class Seen:
    """What happened, from both sides."""

    timings: list[FlipTiming] = field(default_factory=list)
    #: Beginning and end of each flip, from the decision on, seconds since 1970.
    windows: list[tuple[float, float]] = field(default_factory=list)
    #: Of the flips back: seconds from the decision to the old side being the writer again.
    rollback_s: list[float] = field(default_factory=list)
    abandoned: int = 0
    load: dict[str, Any] = field(default_factory=dict)
    clients: list[Pause] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    neighbour_failed: int = 0


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Move the tenant, then turn it to and fro."""
    flips, scale, rate = (4, 0.02, 40.0) if quick else (100, 0.25, 150.0)
    seen = Seen()
    with _sandbox(scale) as sandbox, store_pair(*_dsns(sandbox), SAMPLE_MAP) as stores:
        ledger = sandbox.folder / "ledger"
        pair = Pair("blue", "green", (stores,))
        session = Session("op_bench", PLATINUM, 1, pair, MigrationPolicy(), sandbox.folder / "spool")
        with _load(sandbox, ledger, rate, seen):
            _fill(session, stores)
            show("  copied, followed both ways, verified; now flips")
            try:
                for number in range(flips):
                    _turn(session, FORWARD if number % 2 == 0 else BACK, seen)
                    time.sleep(REST_S)
            finally:
                session.close()
        _judge(sandbox, ledger, flips, seen)
    return Report("flip", tuple(_figures(seen)), _extras(seen))


@contextmanager
def _sandbox(scale: float) -> Iterator[Sandbox]:
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-") as folder:
        with running(Sandbox(Path(folder) / "sandbox", settings=dict(SETTINGS)), scale=scale) as sandbox:
            yield sandbox


def _dsns(sandbox: Sandbox) -> tuple[str, str]:
    return sandbox.dsn("blue"), sandbox.dsn("green")


@contextmanager
def _load(sandbox: Sandbox, ledger: Path, rate: float, seen: Seen) -> Iterator[None]:
    """Four writers of the tenant and two of its neighbour in another process, until the block ends."""
    config = LoadConfig(
        environments=sandbox.dsns, tenants={PLATINUM: 4, NEIGHBOUR: 2}, ledger=ledger, rate=rate
    )
    command = [sys.executable, "-m", "tenant_lifecycle.sandbox.load", "--config", config.to_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the load did not start; its message stands above")
        try:
            yield
        finally:
            process.terminate()
            rest = process.stdout.read().splitlines()
        seen.load = json.loads(rest[-1])


def _fill(session: Session, stores: Any) -> None:
    """Everything before the first flip, through the same contracts as the migration's steps."""
    source, target, tenant = stores.source, stores.target, session.tenant
    feed = session.feed(FORWARD)
    source.create_missing(target, tenant)
    source.arm(tenant, Fence.ACTIVE, 1, None)
    target.arm(tenant, Fence.STANDBY, 0, "blue")
    source.create_feed(target, feed)
    follower = session.follower(FORWARD, stores, applying=False)
    with ThreadPoolExecutor(session.policy.workers) as pool:
        list(pool.map(lambda part: source.copy_part(target, feed, part, proceed), source.split(target, feed)))
    session.follower(FORWARD, stores, applying=True)
    until(lambda: follower.await_marker(follower.mark(), 5.0), 120.0, "catching up")
    target.create_feed(source, session.feed(BACK))
    back = session.follower(BACK, stores.reversed(), applying=True)
    if not target.prove_feed(session.feed(BACK), back, 30.0):
        raise RuntimeError("the way back does not deliver")
    report = session.proof(FORWARD, stores, proceed).verify()
    if not report.consistent:
        raise RuntimeError(f"the sides differ before the first flip: {report.differences[:3]}")


def _turn(session: Session, way: str, seen: Seen) -> None:
    """One flip, tried again as the migration does it while a budget is not met."""
    decided, began = time.time(), time.perf_counter()
    source, _target = session.fences(way)
    attempts = session.policy.flip.attempts
    for tries in range(attempts):
        budget = session.policy.flip.for_attempt(tries + 1)
        try:
            direction = session.direction(way, proceed)
            epochs = {name: follower.epoch() for name, follower in direction.way_back.items()}
            make_ready(direction, budget)
            row = source.fence_row(session.tenant)
            assert row is not None
            timing = attempt(direction, row.epoch, budget)
            break
        except (FlipAbandoned, StoreBusy) as error:
            seen.abandoned += 1
            if tries + 1 == attempts:
                raise RuntimeError("no flip in as many attempts as there are") from error
            time.sleep(min(2.0, 0.03 * 1.3**tries))
    seen.timings.append(timing)
    if way == BACK:
        seen.rollback_s.append(time.perf_counter() - began)
    seen.windows.append((decided, time.time()))
    session.turned(way, proceed, epochs)


def _judge(sandbox: Sandbox, ledger: Path, flips: int, seen: Seen) -> None:
    """Hold the ledger against the databases that are the writers at the end."""
    seen.clients = pauses(ledger, PLATINUM, seen.windows)
    writer = "green" if flips % 2 else "blue"
    report = check(ledger, sandbox.dsn(writer), [PLATINUM]) + check(ledger, sandbox.dsn("blue"), [NEIGHBOUR])
    seen.lost = len(report.violations) - report.duplicated
    seen.doubled = report.duplicated
    seen.neighbour_failed = sum(p.failed for p in pauses(ledger, NEIGHBOUR, [(0.0, time.time())]))


def _figures(seen: Seen) -> Iterator[Figure]:
    tool = [timing.pause_ms for timing in seen.timings]
    client = [pause.latency_ms for pause in seen.clients]
    for name, share, limit in (("p50", 0.5, 15.0), ("p99", 0.99, 150.0), ("max", 1.0, None)):
        budgets = (Budget("value", "at most", limit),) if limit else ()
        yield Figure(f"write pause {name}", "ms", percentile(tool, share), FLOOR_MS, FLOOR, "lower", budgets)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        yield Figure(
            f"slowest write of a flip {name}", "ms", percentile(client, share), FLOOR_MS, FLOOR, "lower"
        )
    limit_s = (Budget("value", "at most", 1.0),)
    yield Figure(
        "rollback p99", "s", percentile(seen.rollback_s, 0.99), 60.0, "specification", "lower", limit_s
    )
    none = (Budget("value", "at most", 0.0),)
    for name, count in (
        ("failed writes", seen.load["failed"]),
        ("lost or doubled writes", seen.lost + seen.doubled),
    ):
        yield Figure(name, "writes", float(count), None, "must be none", "lower", none)


def _extras(seen: Seen) -> dict[str, Any]:
    parts = ("drain_ms", "marker_ms", "compare_ms", "counters_ms", "commit_ms", "activate_ms", "dirty_items")
    return {
        "flips": len(seen.timings),
        "abandoned_attempts": seen.abandoned,
        "writes_acknowledged": seen.load["acknowledged"],
        "writes_unknown": seen.load["unknown"],
        "writes_lost": seen.lost,
        "writes_duplicated": seen.doubled,
        "neighbour_failed": seen.neighbour_failed,
        "write_latency_ms": seen.load["latency_ms"],
        "parts_p50": {p: round(percentile([getattr(t, p) for t in seen.timings], 0.5), 3) for p in parts},
        "parts_p99": {p: round(percentile([getattr(t, p) for t in seen.timings], 0.99), 3) for p in parts},
        "errors": seen.load["errors"],
    }
