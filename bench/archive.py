"""Archiving of a database's changes for all its tenants: how fast, and what it costs those who write meanwhile.

Speed: changes wait in the log; ours reads, decodes, routes them to tenants by its index and hands on frames, against
the server decoding the same log with the same plug-in and throwing the messages away (no network, no routing): what
cannot be undercut. Cost: the same transactions with an archiver at work in a process of its own, against none.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench import changes, rows
from bench.measure import alternating, spread, stopwatch
from bench.pair import store_pair
from bench.report import Figure, Report
from bench.servers import create_database, two_servers

SIZES = (5, 100)
NAME, PEER = "bench", "bench_peer"


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Speed for each size of transaction, then cost."""
    filled, repetitions = (2_000, 1) if quick else (60_000, 3)
    figures: list[Figure] = []
    extras: dict[str, Any] = {}
    with two_servers() as servers:
        for size in SIZES:
            blue = create_database(servers.blue, f"archive_{size}")
            rows.create(blue)
            rows.fill(blue, filled)
            changed = 0
            sides: dict[str, list[float]] = {"ours": [], "decoding": []}
            for repetition in range(repetitions):
                folder = servers.folder / f"archive-{size}-{repetition}"
                some, ours, peer = _speed(blue, folder, filled, size, filled // (repetitions * 2))
                sides["ours"].append(some / ours)
                sides["decoding"].append(some / peer)
                changed += some
                show(f"  {some} row changes in transactions of {size}: {some / ours:,.0f} rows/s")
            figures.append(
                Figure(
                    f"archive, transactions of {size} rows", "rows/s", max(sides["ours"]), max(sides["decoding"]),
                    "the server decoding alone", "higher",
                )
            )  # fmt: skip
            extras[f"rows/s, transactions of {size}"] = {side: spread(each) for side, each in sides.items()}
        cost, seconds = _cost(servers, filled, repetitions, show)
        figures.append(cost)
        extras["seconds of the same writes"] = {name: spread(each) for name, each in seconds.items()}
    return Report("archive", tuple(figures), extras)


def _speed(blue: str, folder: Path, filled: int, size: int, wanted: int) -> tuple[int, float, float]:
    """Row changes, our seconds for them, and the server's own."""
    with store_pair(blue, blue) as pair, psycopg.connect(blue, autocommit=True) as conn:
        store: Any = pair.source
        store.create_archive(NAME)
        archive = store.open_archive(NAME, folder)
        try:
            conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (PEER,))
            workload = changes.Workload(conn, filled, next_id=_next_id(conn))
            before = workload.counted()
            for _ in range(wanted // size):
                workload.change(size)
            changed = workload.counted() - before
            routed = 0
            with stopwatch() as ours:
                while routed < changed:
                    arrived = archive.read(1.0)
                    routed += sum(len(frame.ops) for _, frame in arrived.frames)
                    archive.confirm(arrived.position)
            with stopwatch() as peer:
                conn.execute(
                    "SELECT count(*) FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1', "
                    "'publication_names', 'tl_archive_bench')",
                    (PEER,),
                )
        finally:
            archive.close()
            conn.execute("SELECT pg_drop_replication_slot(%s)", (PEER,))
            store.drop_archive(NAME)
    return changed, ours.seconds, peer.seconds


def _next_id(conn: psycopg.Connection[tuple[object, ...]]) -> int:
    (highest,) = conn.execute("SELECT greatest(max(id), 1000000000) FROM public.documents").fetchone() or (0,)
    return int(str(highest)) + 1_000_000


def _cost(
    servers: Any, filled: int, repetitions: int, show: Callable[[str], None]
) -> tuple[Figure, dict[str, list[float]]]:
    """The same writes without and with an archiver beside them; on this machine both share the processors."""
    blue = create_database(servers.blue, "archive_cost")
    rows.create(blue)
    rows.fill(blue, filled)

    def alone(_: int) -> float:
        return _writes(blue, filled)

    def archived(repetition: int) -> float:
        with _archiver(blue, servers.folder / f"archive-cost-{repetition}"):
            return _writes(blue, filled)

    seconds = alternating({"archived": archived, "alone": alone}, repetitions, show)
    figure = Figure(
        "writes beside the archiver",
        "s",
        min(seconds["archived"]),
        min(seconds["alone"]),
        "without one",
        "lower",
    )
    return figure, seconds


def _writes(blue: str, filled: int) -> float:
    with psycopg.connect(blue, autocommit=True) as conn:
        workload = changes.Workload(conn, filled, next_id=_next_id(conn))
        with stopwatch() as watch:
            for _ in range(max(filled // 50, 40)):
                workload.change(5)
    return watch.seconds


@contextmanager
def _archiver(blue: str, folder: Path) -> Iterator[None]:
    """A process that reads, once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.archive", blue, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Archive a database until killed."""
    blue, folder = sys.argv[1:]
    with store_pair(blue, blue) as pair:
        store: Any = pair.source
        store.create_archive(NAME)
        archive = store.open_archive(NAME, Path(folder))
        print("reading", flush=True)
        while True:
            archive.confirm(archive.read(0.5).position)


if __name__ == "__main__":
    main()
