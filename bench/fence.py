"""What the armed fence adds to a write: the same statements on two databases, one of them armed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg

from bench import rows
from bench.measure import percentile
from bench.pair import store_pair
from bench.report import Budget, Figure, Report
from bench.servers import Servers, create_database, settle, two_servers
from tenant_lifecycle.model.cutover import Fence
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Hop, OwnershipMap, Via

#: Rows whose owner is known only over their document.
CHUNKS = TableName("public", "chunks")
OWNERSHIP = OwnershipMap(
    {**rows.OWNERSHIP.tables, CHUNKS: Via((Hop(("document_id",), rows.DOCUMENTS, ("id",)),))}
)
SCHEMA = """
CREATE TABLE public.chunks (id bigint PRIMARY KEY, document_id bigint NOT NULL, body text NOT NULL);
CREATE INDEX chunks_document ON public.chunks (document_id);
"""

#: One statement, one transaction; %(id)s is new each time, %(old)s exists.
SINGLE = {
    "insert": "INSERT INTO public.documents VALUES (%(id)s, 't-1', 'a title', 'a body', '{}', 1, 0, true, now())",
    "update": "UPDATE public.documents SET revision = revision + 1, updated_at = now() WHERE id = %(old)s",
    "delete": "DELETE FROM public.documents WHERE id = %(id)s",
}
OVER_JOIN = {
    "insert over a join": "INSERT INTO public.chunks VALUES (%(id)s, %(old)s, 'a body')",
    "update over a join": "UPDATE public.chunks SET body = body || '.' WHERE id = %(id)s",
}
BULK = {
    "bulk insert": "INSERT INTO public.documents SELECT i, 't-1', 'a title', repeat('a body ', 30), '{}', 1, 0, true,"
    " now() FROM generate_series(%(id)s::bigint, %(id)s::bigint + %(rows)s - 1) i",
    "bulk update": "UPDATE public.documents SET revision = revision + 1, updated_at = now()"
    " WHERE id >= %(id)s AND id < %(id)s::bigint + %(rows)s",
    "bulk delete": "DELETE FROM public.documents WHERE id >= %(id)s AND id < %(id)s::bigint + %(rows)s",
}
FIRST_ID = 1_000_000_000
#: Statements that one side runs before the other has its turn.
TURN = 50


class Side(NamedTuple):
    """One of the two databases."""

    conn: psycopg.Connection[tuple[object, ...]]
    #: Milliseconds by statement.
    took: dict[str, list[float]]


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Turns of fifty single-row writes, then of bulk writes, on a database with the fence and one without."""
    filled, turns, bulk_rows, bulk_turns = (1_000, 4, 500, 2) if quick else (100_000, 60, 20_000, 7)
    with two_servers() as servers:
        armed, plain = _prepare(servers, filled)
        with psycopg.connect(armed, autocommit=True) as one, psycopg.connect(plain, autocommit=True) as other:
            sides = {"armed": Side(one, {}), "plain": Side(other, {})}
            for turn in range(turns):
                for side in _in_turn(sides, turn):
                    _single(side, turn, filled)
            show(f"  {turns * TURN} single-row writes of each kind on each side")
            settle(servers.blue)
            for turn in range(bulk_turns):
                for side in _in_turn(sides, turn):
                    _bulk(side, turn, bulk_rows)
            show(f"  {bulk_turns} bulk writes of {bulk_rows} rows of each kind on each side")
    took = {name: side.took for name, side in sides.items()}
    return Report("fence", tuple(_figures(took)), _extras(took, bulk_rows))


def _prepare(servers: Servers, filled: int) -> tuple[str, str]:
    """Two equal databases on one server, the first one armed with the tenant as its writer."""
    dsns = create_database(servers.blue, "armed"), create_database(servers.blue, "plain")
    for dsn in dsns:
        rows.create(dsn)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(SCHEMA)
        rows.fill(dsn, filled)
        rows.fill(dsn, filled, tenant="t-2", first=10_000_001)
    green = create_database(servers.green, "green")
    with store_pair(dsns[0], green, OWNERSHIP) as pair:
        source: Any = pair.source
        row = source.arm(TenantId(rows.TENANT), Fence.ACTIVE, 1, None)
        if row.state is not Fence.ACTIVE:
            raise RuntimeError(f"the fence is {row.state}, not ACTIVE")
    settle(servers.blue)
    return dsns


def _in_turn(sides: dict[str, Side], turn: int) -> Iterator[Side]:
    names = list(sides) if turn % 2 == 0 else list(reversed(sides))
    return (sides[name] for name in names)


def _single(side: Side, turn: int, filled: int) -> None:
    for name, statement in (SINGLE | OVER_JOIN).items():
        took = side.took.setdefault(name, [])
        for number in range(turn * TURN, (turn + 1) * TURN):
            values = {"id": FIRST_ID + number, "old": 1 + number * 7919 % filled}
            took.append(_timed(side.conn, statement, values, prepare=True))


def _bulk(side: Side, turn: int, count: int) -> None:
    for name, statement in BULK.items():
        values = {"id": 2 * FIRST_ID + turn * count, "rows": count}
        side.took.setdefault(name, []).append(_timed(side.conn, statement, values, prepare=False))


def _timed(
    conn: psycopg.Connection[tuple[object, ...]], statement: str, values: dict[str, int], *, prepare: bool
) -> float:
    began = time.perf_counter()
    conn.execute(statement.encode(), values, prepare=prepare)
    return (time.perf_counter() - began) * 1e3


def _figures(took: dict[str, dict[str, list[float]]]) -> Iterator[Figure]:
    single = (Budget("added", "at most", 0.4),)
    yield _figure("single-row write p50", took, SINGLE, single)
    yield _figure("the same, owner over a join", took, OVER_JOIN, single)
    for kind in BULK:
        yield _figure(kind, took, {kind: BULK[kind]}, (Budget("added %", "at most", 25.0),))


def _figure(
    name: str, took: dict[str, dict[str, list[float]]], kinds: dict[str, str], budgets: tuple[Budget, ...]
) -> Figure:
    """Median of each kind of statement, averaged over the kinds."""
    ours, peer = (
        statistics.fmean(statistics.median(took[side][kind]) for kind in kinds) for side in ("armed", "plain")
    )
    return Figure(name, "ms", ours, peer, "no fence", "lower", budgets)


def _extras(took: dict[str, dict[str, list[float]]], bulk_rows: int) -> dict[str, Any]:
    """Every kind of statement by itself."""
    detail = {}
    for kind in took["armed"]:
        armed, plain = took["armed"][kind], took["plain"][kind]
        p50 = statistics.median(armed), statistics.median(plain)
        detail[kind] = {
            "armed_p50_ms": round(p50[0], 4),
            "plain_p50_ms": round(p50[1], 4),
            "added_ms": round(p50[0] - p50[1], 4),
            "added_percent": round(100 * (p50[0] / p50[1] - 1), 1),
            "armed_p99_ms": round(percentile(armed, 0.99), 3),
            "plain_p99_ms": round(percentile(plain, 0.99), 3),
        }
    return {"bulk_rows": bulk_rows, "statements": detail}
