"""Comparing a set without keys: its rows as a multiset, by hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from psycopg import sql

from tenant_lifecycle.stores.base import Difference, DifferenceKind
from tenant_lifecycle.stores.postgres.comparison import ROW, Pair, Sessions, Side
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.digests import WHOLE_SET, compared_bytes, whole_sum
from tenant_lifecycle.stores.postgres.fingerprints import hash_of
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch

_BUCKETS = 1024


def compare_multisets(on: Sessions, pair: Pair) -> list[Difference]:
    """One difference for the whole set, which says how many rows are on one side only; none if it is equal."""
    left, right = on.ask(pair, whole_sum)
    if left == right:
        return []
    here, there = on.ask(pair, lambda conn, side: _rows(conn, side, None))
    wrong = sorted({name[0] for name, _ in set(here.items()) ^ set(there.items())})
    mine, others = on.ask(pair, lambda conn, side: _rows(conn, side, wrong))
    missing, extra = (mine - others).total(), (others - mine).total()
    if not missing and not extra:
        return []
    kind = (
        DifferenceKind.DIFFERENT
        if missing and extra
        else DifferenceKind.MISSING
        if missing
        else DifferenceKind.EXTRA
    )
    text = f"rows without a key: {missing} only on the source, {extra} only on the target"
    return [Difference(pair.set, WHOLE_SET, text, kind)]


def _rows(conn: Connection, side: Side, buckets: Sequence[int] | None) -> Counter[tuple[Any, ...]]:
    """How often each row is there, by its hashes; without ``buckets`` only sums by bucket, to find those."""
    bucket = sql.SQL("(h1 & {})").format(sql.Literal(_BUCKETS - 1))
    rows = sql.SQL(
        "(SELECT {h1} AS h1, {h2} AS h2 FROM (SELECT {row} AS b FROM {table} {t} WHERE {owned} OFFSET 0) q) r"
    ).format(
        h1=hash_of(sql.SQL("b"), 1),
        h2=hash_of(sql.SQL("b"), 2),
        row=compared_bytes(side),
        table=table_sql(side.table.name),
        t=sql.Identifier(ROW),
        owned=side.owned,
    )
    if buckets is None:
        query = sql.SQL("SELECT {}, sum(h1)::text, sum(h2)::text, count(*) FROM {} GROUP BY 1").format(
            bucket, rows
        )
    else:
        query = sql.SQL("SELECT h1, h2, count(*) FROM {} WHERE {} = ANY ({}::int8[]) GROUP BY 1, 2").format(
            rows, bucket, sql.Literal("{" + ",".join(map(str, buckets)) + "}")
        )
    return Counter({row[:-1]: row[-1] for row in fetch(conn, query)})
