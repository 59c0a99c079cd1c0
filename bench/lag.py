"""Lag at a steady 10,000 row changes a second, as a client sees it, beside a native subscription.

Lag is measured from outside: a row is committed at the source, and the clock runs until it is visible in the
target. What the follower says about itself stands beside it, for whoever wants to know whether it is honest.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from bench import changes, native, rows
from bench.measure import percentile, until
from bench.pair import store_pair
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, settle, two_servers
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed

RATE = 10_000
FIRST_PROBE = 8_000_000_000
PROBE_EVERY_S = 0.1


class Probes(NamedTuple):
    """What was seen while the changes were made."""

    #: (seconds since the start, seconds from commit to visible), in order.
    lag_s: list[tuple[float, float]]
    #: The follower's own word at the same moments; empty for the peer.
    said_s: list[float]
    #: Row changes a second that were really made.
    rate: int

    def median_between(self, first: float, last: float) -> float:
        """Median lag of the probes sent in a part of the run; shares of it, 0 to 1."""
        end = self.lag_s[-1][0]
        return statistics.median(lag for at, lag in self.lag_s if first * end <= at <= last * end)


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Ours for the whole time, the subscription for half of it, on databases of their own."""
    filled, seconds = (10_000, 2.0) if quick else (200_000, 30.0)
    rate = 1_000 if quick else RATE
    with two_servers() as servers:
        for server in (servers.blue, servers.green):
            dsn = create_database(server, "filled")
            rows.create(dsn)
            rows.fill(dsn, filled)
        ours = _ours(servers, filled, rate, seconds)
        show(f"  ours: {ours.rate} changes/s, {len(ours.lag_s)} probes")
        peer = _native(servers, filled, rate, seconds / 2)
        show(f"  subscription: {peer.rate} changes/s, {len(peer.lag_s)} probes")
    return Report("lag", tuple(_figures(ours, peer, rate)), _extras(ours, peer))


def _figures(ours: Probes, peer: Probes, rate: int) -> Iterator[Figure]:
    mine, theirs = ([lag for _, lag in probes.lag_s] for probes in (ours, peer))
    native_name = "native subscription"
    yield Figure(
        "lag max", "s", max(mine), max(theirs), native_name, "lower", (Budget("value", "at most", 1.0),)
    )
    yield Figure("lag p50", "s", statistics.median(mine), statistics.median(theirs), native_name, "lower")
    first, last = ours.median_between(0, 1 / 3), ours.median_between(2 / 3, 1)
    steady = Budget("added", "at most", 0.1)
    yield Figure("lag p50, last third", "s", last, first, "first third", "lower", (steady,))
    kept = Budget("ratio", "at least", 0.97)
    yield Figure("changes made", "rows/s", ours.rate, rate, "rate wanted", "higher", (kept,))


def _extras(ours: Probes, peer: Probes) -> dict[str, Any]:
    extras: dict[str, Any] = {"follower_says_max_s": round(max(ours.said_s), 3), "peer_rate": peer.rate}
    for name, probes in (("ours", ours), ("peer", peer)):
        lags = [lag for _, lag in probes.lag_s]
        extras[f"{name}_s"] = {
            "probes": len(lags),
            "p50": round(statistics.median(lags), 4),
            "p99": round(percentile(lags, 0.99), 4),
            "max": round(max(lags), 4),
        }
    return extras


def _databases(servers: Servers) -> tuple[str, str]:
    blue = create_database(servers.blue, "lag", template="filled")
    green = create_database(servers.green, "lag", template="filled")
    settle(servers.blue, servers.green)
    return blue, green


def _ours(servers: Servers, filled: int, rate: int, seconds: float) -> Probes:
    blue, green = _databases(servers)
    feed = Feed("tl_bench_lag_fwd", TenantId(rows.TENANT), 1)
    with store_pair(blue, green) as pair:
        source: Any = pair.source
        source.create_missing(pair.target, feed.tenant)
        source.create_feed(pair.target, feed)
        follower = source.follow(pair.target, feed, Path(servers.folder) / "spool-lag")
        follower.start()
        follower.apply()
        try:
            return _probe(blue, green, filled, rate, seconds, lambda: float(follower.lag().seconds))
        finally:
            follower.stop()
            source.drop_feed(feed)


def _native(servers: Servers, filled: int, rate: int, seconds: float) -> Probes:
    blue, green = _databases(servers)
    native.publish(blue)
    native.hold(blue, "native_lag")
    with native.subscription(blue, green, "native_lag"):
        return _probe(blue, green, filled, rate, seconds, None)


def _probe(
    blue: str, green: str, filled: int, rate: int, seconds: float, said: Callable[[], float] | None
) -> Probes:
    """Send a probe every tenth of a second while another process makes the changes."""
    lags: list[tuple[float, float]] = []
    words: list[float] = []
    with _changing(blue, filled, rate, seconds) as changing, psycopg.connect(blue, autocommit=True) as sender:
        with _watching(green, lags) as sent:
            began = time.monotonic()
            number = 0
            while changing.poll() is None:
                changes.insert(sender, FIRST_PROBE + number)
                sent.append((FIRST_PROBE + number, time.monotonic(), time.monotonic() - began))
                number += 1
                if said is not None:
                    words.append(said())
                time.sleep(PROBE_EVERY_S)
            until(lambda: len(lags) == number, 120.0, "the last probe")
        assert changing.stdout is not None
        made = int(changing.stdout.read())
    return Probes(lags, words, made)


@contextmanager
def _changing(blue: str, filled: int, rate: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.changes", blue, str(filled), str(rate), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


@contextmanager
def _watching(green: str, lags: list[tuple[float, float]]) -> Iterator[list[tuple[int, float, float]]]:
    """Look for the probes that were sent, in order, in a thread; what is yielded takes (row, sent, at)."""
    sent: list[tuple[int, float, float]] = []
    over = threading.Event()

    def watch() -> None:
        with psycopg.connect(green, autocommit=True) as conn:
            while not over.wait(0.005):
                while len(lags) < len(sent) and changes.arrived(conn, sent[len(lags)][0]):
                    _, sent_at, at = sent[len(lags)]
                    lags.append((at, time.monotonic() - sent_at))

    thread = threading.Thread(target=watch, name="watch probes", daemon=True)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()
