"""Copy of one tenant among others, against psql piped to psql on the same rows and the same indexes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from bench import rows
from bench.measure import alternating, spread, stopwatch
from bench.pair import proceed, store_pair
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, execute, psql, settle, two_servers
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed

SELECT = "SELECT * FROM public.documents WHERE tenant_id = 't-1'"


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Ours with one worker and with four, and the pipe, in turn into an emptied table."""
    count, repetitions = (5_000, 1) if quick else (300_000, 5)
    with two_servers() as servers:
        blue, green = _prepare(servers, count)
        sides: dict[str, Callable[[int], float]] = {
            "ours, 1 worker": lambda n: _ours(servers, blue, green, 1, n, count),
            "psql | psql": lambda _n: _pipe(servers, blue, green, count),
            "ours, 4 workers": lambda n: _ours(servers, blue, green, 4, n, count),
        }
        seconds = alternating(sides, repetitions, show)
        size = _bytes(blue)
    rate = {name: count / min(each) for name, each in seconds.items()}
    peer = rate["psql | psql"]
    budget = Budget("ratio", "at least", 0.9)
    figures = (
        Figure("copy, 1 worker", "rows/s", rate["ours, 1 worker"], peer, "psql | psql", "higher", (budget,)),
        Figure("copy, 4 workers", "rows/s", rate["ours, 4 workers"], peer, "psql | psql", "higher"),
    )
    extras: dict[str, Any] = {
        "rows": count,
        "mb": round(size / 1e6, 1),
        "seconds_of": {name: spread(each) for name, each in seconds.items()},
    }
    return Report("copy", figures, extras)


def _prepare(servers: Servers, count: int) -> tuple[str, str]:
    """The tenant, and a neighbour of the same size whose rows must not be read for nothing."""
    blue = create_database(servers.blue, "copy")
    green = create_database(servers.green, "copy")
    rows.create(blue)
    rows.create(green)
    rows.fill(blue, count // 2)
    rows.fill(blue, count, tenant="t-2", first=10_000_001)
    rows.fill(blue, count - count // 2, first=20_000_001)
    return blue, green


def _empty(servers: Servers, green: str) -> None:
    execute(green, "TRUNCATE public.tenants, public.documents")
    settle(servers.blue, servers.green)


def _ours(servers: Servers, blue: str, green: str, workers: int, repetition: int, count: int) -> float:
    """Splitting into parts and remembering what is done is part of it."""
    _empty(servers, green)
    feed = Feed(f"tl_bench_{workers}_{repetition}_fwd", TenantId(rows.TENANT), 1)
    with store_pair(blue, green) as pair:
        source: Any = pair.source
        source.create_missing(pair.target, feed.tenant)
        with stopwatch() as watch, ThreadPoolExecutor(workers) as pool:
            parts = source.split(pair.target, feed)
            copied = list(
                pool.map(lambda part: source.copy_part(pair.target, feed, part, proceed).items, parts)
            )
    _complete(green, count)
    if sum(copied) != count + 1:
        raise RuntimeError(f"{sum(copied)} rows copied, {count + 1} expected")
    return watch.seconds


def _pipe(servers: Servers, blue: str, green: str, count: int) -> float:
    """One way out of the source, one way into the target, nothing in between but a pipe."""
    _empty(servers, green)
    common = [psql(18), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    read = [*common, "-d", blue, "-c", f"COPY ({SELECT}) TO STDOUT (FORMAT BINARY)"]
    write = [*common, "-d", green, "-c", "COPY public.documents FROM STDIN (FORMAT BINARY)"]
    with stopwatch() as watch:
        reader = subprocess.Popen(read, stdout=subprocess.PIPE)
        writer = subprocess.Popen(write, stdin=reader.stdout)
        assert reader.stdout is not None
        reader.stdout.close()
        failed = writer.wait() or reader.wait()
    if failed:
        raise RuntimeError("psql failed; its message stands above")
    _complete(green, count)
    return watch.seconds


def _complete(green: str, count: int) -> None:
    with psycopg.connect(green) as conn:
        row = conn.execute("SELECT count(*) FROM public.documents").fetchone()
    if row != (count,):
        raise RuntimeError(f"{row} rows arrived, {count} expected")


def _bytes(blue: str) -> int:
    with psycopg.connect(blue) as conn:
        row = conn.execute(
            f"SELECT sum(pg_column_size(d)) FROM ({SELECT}) d"  # noqa: S608 - a constant
        ).fetchone()
    assert row is not None
    return int(row[0])
