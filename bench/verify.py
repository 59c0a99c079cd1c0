"""Comparison of equal tables, every column of every row, against reladiff on the same tables."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import reladiff

from bench import rows
from bench.measure import alternating, spread, stopwatch
from bench.pair import proceed, store_pair
from bench.report import Budget, Figure, Report
from bench.servers import create_database, execute, two_servers
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.pairs import StorePair

COLUMNS = ("tenant_id", "title", "body", "meta", "score", "revision", "flag", "updated_at")


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Ours, reladiff as it comes, and reladiff with four connections a side, in turn."""
    count, repetitions = (5_000, 1) if quick else (500_000, 3)
    # It warns on each table that it trusts the text of jsonb; between these two servers that is right.
    logging.getLogger("hashdiff_tables").setLevel(logging.ERROR)
    with two_servers() as servers:
        dsns = create_database(servers.blue, "verify"), create_database(servers.green, "verify")
        for dsn in dsns:
            rows.create(dsn)
            rows.fill(dsn, count)
        uris = [f"postgresql://postgres@127.0.0.1:{s.port}/verify" for s in (servers.blue, servers.green)]
        with store_pair(*dsns) as pair:
            sides: dict[str, Callable[[int], float]] = {
                "ours": lambda _n: _ours(pair, count),
                "reladiff": lambda _n: _reladiff(uris, 1),
                "reladiff, 4 threads": lambda _n: _reladiff(uris, 4),
            }
            seconds = alternating(sides, repetitions, show)
            _finds_one_change(pair, dsns[1])
    rate = {name: count / min(each) for name, each in seconds.items()}
    figures = (
        _figure("verify equal tables", rate["ours"], rate["reladiff"], "reladiff", 2.0),
        _figure("verify equal tables", rate["ours"], rate["reladiff, 4 threads"], "reladiff, 4 threads"),
    )
    extras: dict[str, Any] = {
        "rows": count,
        "seconds_of": {name: spread(each) for name, each in seconds.items()},
    }
    return Report("verify", figures, extras)


def _figure(name: str, ours: float, peer: float, peer_name: str, ratio: float | None = None) -> Figure:
    budgets = (Budget("ratio", "at least", ratio),) if ratio else ()
    return Figure(name, "rows/s", ours, peer, peer_name, "higher", budgets)


def _ours(pair: StorePair, count: int) -> float:
    source: Any = pair.source
    tenant = TenantId(rows.TENANT)
    with stopwatch() as watch:
        compared = [source.compare(pair.target, tenant, name, proceed) for name in source.sets(tenant)]
    if sum(each.items for each in compared) != count + 1 or any(each.suspects for each in compared):
        raise RuntimeError(f"equal tables of {count} rows compared as {compared}")
    return watch.seconds


def _finds_one_change(pair: StorePair, target: str) -> None:
    """Speed is worth something only if the same call finds one changed value."""
    execute(target, "UPDATE public.documents SET score = score + 1e-9 WHERE id = 4711")
    source: Any = pair.source
    found = source.compare(pair.target, TenantId(rows.TENANT), str(rows.DOCUMENTS), proceed).suspects
    if sum(len(keys) for keys in found.values()) != 1:
        raise RuntimeError(f"one value was changed, {found} was found")


def _reladiff(uris: list[str], threads: int) -> float:
    """Connecting is left out; reading the schema is part of a diff."""
    tables = [reladiff.connect_to_table(uri, "documents", "id", thread_count=threads) for uri in uris]
    try:
        with (
            stopwatch() as watch,
            reladiff.diff_tables(
                *tables,
                extra_columns=COLUMNS,
                max_threadpool_size=2 * threads if threads > 1 else 1,
                algorithm=reladiff.Algorithm.HASHDIFF,
            ) as diff,
        ):
            differences = list(diff)
    finally:
        for table in tables:
            table.database.close()
    if differences:
        raise RuntimeError(f"reladiff found {len(differences)} differences in equal tables")
    return watch.seconds
