"""How fast a tenant's items go: manifest and deletion by our stores, against the loop somebody would write per system.

Neither side cleans out what stays behind (no settling): `bench residue` is about that. Ours lists and freezes every item,
looks again whose it is before it deletes, and asks for its token; the loops do none of that.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from bench.keyed.tenancy import batches
from bench.keyed.vectors import vectors
from bench.measure import stopwatch
from bench.pair import store_pair
from bench.report import Budget, Figure, Report
from bench.residue.eyes import ERASING, MARKER, NEIGHBOUR, TENANT, THEIRS, proceed
from bench.residue.keyed_traps import Caches
from bench.residue.object_traps import Cloud, cloud
from bench.servers import Servers, create_database, two_servers
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, OwnershipMap

#: Items of the tenant at scale 1; a neighbour has as many.
ROWS, KEYS, VECTORS, OBJECTS, LINES = 1_000_000, 100_000, 100_000, 20_000, 1_000_000
SCALE = 0.02
_MAP = OwnershipMap({TableName("public", "items"): Direct("tenant_id")})
_PUT = 10_000


@dataclass(frozen=True, slots=True)
class Contest:
    """One system: equal tenants for both sides, and what each of them does."""

    name: str
    items: int
    peer: str
    naive: Callable[[], object]
    ours: Callable[[], object]
    #: Items of the tenant that are there: (for the loop, for ours).
    left: Callable[[], tuple[int, int]]


def run(quick: bool, show: Callable[[str], None], scale: float = SCALE) -> Report:
    """Every system in turn; who begins changes."""
    scale = min(scale, 0.001) if quick else scale
    figures = []
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-") as name:
        servers = stack.enter_context(two_servers())
        folders = [Path(name) / side for side in ("naive", "ours")]
        clouds = [stack.enter_context(cloud(folder)) for folder in folders]
        for number, contest in enumerate(_contests(stack, servers, clouds, Path(name), scale)):
            figures.append(_fought(contest, number % 2 == 0, show))
    return Report("erase", tuple(figures), {"scale": scale})


def _contests(
    stack: ExitStack, servers: Servers, clouds: list[Cloud], folder: Path, scale: float
) -> Iterator[Contest]:
    yield _rows(stack, servers, int(ROWS * scale))
    yield _keys(stack, folder, int(KEYS * scale))
    yield _vectors(stack, folder, int(VECTORS * scale))
    yield _objects(clouds, int(OBJECTS * scale))
    yield _lines(clouds, int(LINES * scale))


def _fought(contest: Contest, naive_first: bool, show: Callable[[str], None]) -> Figure:
    show(f"{contest.name}: {contest.items} items")
    seconds: dict[str, float] = {}
    sides = [("naive", contest.naive), ("ours", contest.ours)]
    for side, work in sides if naive_first else reversed(sides):
        with stopwatch() as watch:
            work()
        seconds[side] = watch.seconds
        show(f"  {side}: {watch.seconds:.2f} s")
    if any(contest.left()):
        raise RuntimeError(f"{contest.name}: {contest.left()} items are left")
    ours, naive = (contest.items / seconds[side] for side in ("ours", "naive"))
    return Figure(
        contest.name, "items/s", ours, naive, contest.peer, "higher", (Budget("ratio", "at least", 1.0),)
    )


def _delete(store: Any) -> None:
    """Ours: freeze all of it, then delete batch by batch."""
    for batch in list(store.doomed(TENANT, proceed)):
        store.erase(ERASING, batch, proceed)


def _rows(stack: ExitStack, servers: Servers, items: int) -> Contest:
    here, there = (create_database(servers.green, name) for name in ("naive", "ours"))
    for dsn in (here, there):
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("CREATE TABLE items (id bigserial PRIMARY KEY, tenant_id text, body text)")
            conn.execute(
                "INSERT INTO items (tenant_id, body) SELECT CASE WHEN i %% 2 = 0 THEN %s ELSE %s END, repeat('x', 200) "
                "FROM generate_series(1, %s) i",
                (TENANT, NEIGHBOUR, 2 * items),
            )
            conn.execute("CREATE INDEX ON items (tenant_id)")
            conn.execute("VACUUM ANALYZE items")
    store: Any = stack.enter_context(store_pair(there, here, _MAP)).source

    def naive() -> None:
        with psycopg.connect(here, autocommit=True) as conn:
            conn.execute("DELETE FROM items WHERE tenant_id = %s", (TENANT,))

    return Contest(
        "rows", items, "one DELETE WHERE", naive, lambda: _delete(store), lambda: (_rest(here), _rest(there))
    )


def _rest(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT count(*) FROM items WHERE tenant_id = %s", (TENANT,)).fetchone()
    return int(row[0]) if row else 0


def _keys(stack: ExitStack, folder: Path, items: int) -> Contest:
    made = Caches(folder, items, stack, count())
    here, there = made.new(), made.new()
    for cache in (here, there):
        for some in batches([f"answer:{t}:{n}" for t in (TENANT, NEIGHBOUR) for n in range(items)], 1000):
            cache.db.mset(dict.fromkeys(some, MARKER))

    def left(db: Any) -> int:
        return sum(1 for _ in db.scan_iter(match=f"answer:{TENANT}:*", count=1000))

    return Contest(
        "keys", items, "SCAN and DEL, one by one", here.delete, lambda: _delete(there.store),
        lambda: (left(here.db), left(there.db)),
    )  # fmt: skip


def _vectors(stack: ExitStack, folder: Path, items: int) -> Contest:
    here, there = (stack.enter_context(vectors(folder, items)) for _ in range(2))
    store: Any = there.stores[0]
    return Contest(
        "vectors", items, "list, delete of one id at a time", here.delete_one_by_one, lambda: _delete(store),
        lambda: (here.at_source(), there.at_source()),
    )  # fmt: skip


def _objects(clouds: list[Cloud], items: int) -> Contest:
    here, there = clouds
    buckets = [one.bucket() for one in clouds]
    for one, bucket in zip(clouds, buckets, strict=True):
        one.put(bucket, *[f"documents/{t}/{n}" for t in (TENANT, NEIGHBOUR) for n in range(items)])

    def naive() -> None:
        below = f"documents/{TENANT}/"
        pages = here.s3.get_paginator("list_object_versions").paginate(Bucket=buckets[0], Prefix=below)
        for one in [one for page in pages for one in page.get("Versions", [])]:
            here.s3.delete_object(Bucket=buckets[0], Key=one["Key"], VersionId=one["VersionId"])

    return Contest(
        "objects", items, "delete_object of every version listed", naive,
        lambda: _delete(there.objects(buckets[1])),
        lambda: (here.versions(buckets[0]), there.versions(buckets[1])),
    )  # fmt: skip


def _lines(clouds: list[Cloud], items: int) -> Contest:
    here, there = clouds
    group, stream = "/app/web", f"tenant-{TENANT}/1"
    for one in clouds:
        one.write(group, "shared-1", json.dumps({"tenant_id": NEIGHBOUR, "text": THEIRS}))
        one.write(group, stream)
        for some in batches([f"{MARKER} {n}" for n in range(items)], _PUT):
            one.append(group, stream, some)

    return Contest(
        "lines", items, "delete_log_stream of the tenant's stream",
        lambda: here.logs.delete_log_stream(logGroupName=group, logStreamName=stream),
        lambda: _delete(there.lines()), lambda: (here.marked(group), there.marked(group)),
    )  # fmt: skip
