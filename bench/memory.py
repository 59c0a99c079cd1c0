"""Peak memory of a mover: a process that copies a tenant, applies what changed meanwhile, and verifies.

``python -m bench.memory BLUE GREEN FOLDER`` is the mover; it stops twice, to let the bench make changes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from bench import changes, rows
from bench.pair import proceed, store_pair
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, settle, two_servers
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed

LIMIT_MB = 300.0
WORKERS = 4


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """A tenant, and one ten times as large with ten times as many changes, in a process each."""
    small = 1_000 if quick else 80_000
    with two_servers() as servers:
        seen = []
        for size in (small, 10 * small):
            seen.append(_move(servers, size))
            show(f"  {size} rows: peak {seen[-1]['peak_mb']:.0f} MB")
    figure = Figure(
        "peak memory of a mover, 10x tenant",
        "MB",
        seen[1]["peak_mb"],
        seen[0]["peak_mb"],
        "1x tenant",
        "lower",
        (Budget("value", "at most", LIMIT_MB),),
    )
    return Report("memory", (figure,), {"workers": WORKERS, "1x": seen[0], "10x": seen[1]})


def _move(servers: Servers, size: int) -> dict[str, Any]:
    """Let a process move the tenant, and change a quarter as many rows as it has while its feed only spools:
    half of them in one transaction."""
    blue, green = (create_database(server, f"memory_{size}") for server in (servers.blue, servers.green))
    rows.create(blue)
    rows.create(green)
    rows.fill(blue, size)
    settle(servers.blue, servers.green)
    folder = servers.folder / f"spool-{size}"
    command = [sys.executable, "-m", "bench.memory", blue, green, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as mover:
        assert mover.stdin is not None and mover.stdout is not None
        if mover.stdout.readline().strip() == "following":
            changed = _change(blue, size)
            mover.stdin.write("go on\n")
            mover.stdin.flush()
        last = mover.stdout.read().splitlines()
    if mover.returncode != 0 or not last:
        raise RuntimeError("the mover failed; its message stands above")
    return {"rows": size, "changes": changed, **json.loads(last[-1])}


def _change(blue: str, size: int) -> int:
    with psycopg.connect(blue, autocommit=True) as conn:
        workload = changes.Workload(conn, size)
        before = workload.counted()
        workload.change(size // 8)
        for _ in range(size // 8 // 100):
            workload.change(100)
        workload.finish()
        return workload.counted() - before


def _mover(blue: str, green: str, folder: Path) -> dict[str, Any]:
    """Copy, catch up, verify; what the process needed at most."""
    feed = Feed("tl_bench_memory_fwd", TenantId(rows.TENANT), 1)
    at_start = _peak_mb()
    with store_pair(blue, green) as pair:
        source: Any = pair.source
        source.create_missing(pair.target, feed.tenant)
        source.create_feed(pair.target, feed)
        follower = source.follow(pair.target, feed, folder)
        follower.start()
        print("following", flush=True)
        sys.stdin.readline()
        with ThreadPoolExecutor(WORKERS) as pool:
            parts = source.split(pair.target, feed)
            items = sum(
                pool.map(lambda part: source.copy_part(pair.target, feed, part, proceed).items, parts)
            )
        after_copy = _peak_mb()
        follower.apply()
        if not follower.await_marker(follower.mark(), 300.0):
            raise RuntimeError("the changes were not applied within 300 s")
        after_apply = _peak_mb()
        suspects = sum(
            len(keys)
            for name in source.sets(feed.tenant)
            for keys in source.compare(pair.target, feed.tenant, name, proceed).suspects.values()
        )
        follower.stop()
        source.drop_feed(feed)
    if suspects:
        raise RuntimeError(f"{suspects} rows differ after the move")
    return {
        "copied": items,
        "peak_mb": _peak_mb(),
        "peak_mb_at_start": at_start,
        "peak_mb_after_copy": after_copy,
        "peak_mb_after_apply": after_apply,
    }


def _peak_mb() -> float:
    """Most memory this process ever had resident.

    Linux says it in /proc; its ``ru_maxrss`` may be that of the parent at the time of the fork. Elsewhere
    (macOS) that is in bytes.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)


if __name__ == "__main__":
    print(json.dumps(_mover(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
