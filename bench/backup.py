"""A base of one tenant among others, against pg_dump of the same rows alone in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.backed import backed, dump, dump_mb, raw_mb, sizes, stored_mb, take
from bench.measure import alternating, spread
from bench.report import Figure, Report


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Ours and pg_dump in turns, each with its own compression at its default, and pg_dump at its fastest."""
    count, repetitions = (2_000, 1) if quick else (80_000, 3)
    with backed(count) as bench:
        manifest, _ = take(bench)
        sides: dict[str, Callable[[int], float]] = {
            "ours": lambda _n: take(bench)[1],
            "pg_dump -Fc": lambda _n: dump(bench),
            "pg_dump -Fc -Z 1": lambda _n: dump(bench, "-Z", "1"),
        }
        seconds = alternating(sides, repetitions, show)
        dump(bench)
        size = raw_mb(manifest)
        rate = {name: size / min(each) for name, each in seconds.items()}
        gain, peer_gain = size / stored_mb(manifest), size / dump_mb(bench)
        extras: dict[str, Any] = {
            "rows": count,
            **sizes(bench, manifest),
            "seconds_of": {name: spread(each) for name, each in seconds.items()},
        }
    peer = "pg_dump -Fc"
    figures = (
        Figure("base, one tenant", "MB/s", rate["ours"], rate[peer], peer, "higher"),
        Figure("base, one tenant", "MB/s", rate["ours"], rate["pg_dump -Fc -Z 1"], "pg_dump -Fc -Z 1", "higher"),
        Figure("compression", "x", gain, peer_gain, peer, "higher"),
    )  # fmt: skip
    return Report("backup", figures, extras)
