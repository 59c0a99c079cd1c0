"""Comparing a set on both sides without moving it: sums of fingerprints, then only the keys that differ.

A set is read in *chunks*, ranges of the key found in a sample of the source (by logic that shares nothing
with the copier), so that no snapshot is long. The outer ranges are open on both sides, so rows beyond the
source's first and last key are seen. Within a chunk every row belongs to a *leaf* by a hash of its key: the
same leaf on both servers, whatever their collations. Leaf = (count, sum of h1, sum of h2); one pass a side.
Sums and not XOR, because a row twice would cancel out. Only the rows of leaves that differ are listed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from psycopg import sql

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check, Compared
from tenant_lifecycle.stores.postgres.comparison import ROW, Pair, Sessions, Side, comparison, sessions
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.fingerprints import ORDERED, hash_of, row_bytes
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch

#: A chunk's rows, about: under a second of snapshot each.
CHUNK_ROWS = 200_000
LEAF_ROWS = 1_000
#: Rows looked at to find the chunks.
SAMPLE_ROWS = 100_000
#: Above this many suspects in a set the rest is not listed: somebody has to look, not a machine.
MOST_SUSPECTS = 100_000
#: A comparison of set after set reads the catalogues once in this time.
CATALOGUE_AGE_S = 2.0
#: Name of the one item that a set without keys consists of.
WHOLE_SET = b""

Leaf = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys from ``low`` (included) to ``high`` (not included), as text; None is open."""

    low: tuple[str, ...] | None
    high: tuple[str, ...] | None
    leaves: int


def sets(database: Database, tenant: TenantId) -> list[str]:
    """Names of the tenant's tables, parents before children."""
    return [str(name) for name in database.resolve(tenant).moved]


def compare(source: Database, target: Database, tenant: TenantId, set_name: str, check: Check) -> Compared:
    """Digest the set on both sides; the keys whose rows differ are suspects.

    Shared people count fully where they are the tenant's alone, elsewhere only by being there. Suspects of
    a set without keys are `WHOLE_SET`; above `MOST_SUSPECTS` the rest is left out.

    Raises:
        PreconditionRefused: the target lacks the table or one of its columns.
    """
    pair = comparison(source, target, tenant, max_age_s=CATALOGUE_AGE_S).pair(set_name)
    with sessions(source, target) as on:
        if pair.keyless:
            left, right = on.ask(pair, whole_sum)
            return Compared(left[0], 1, {} if left == right else {set_name: frozenset({WHOLE_SET})})
        items = leaves = 0
        suspects: set[bytes] = set()
        for chunk in chunks(on.ours, pair.source):
            check()
            found, counted = _compare_chunk(on, pair, chunk)
            items, leaves = items + counted, leaves + chunk.leaves
            suspects |= found
            if len(suspects) > MOST_SUSPECTS:
                break
    return Compared(items, leaves, {set_name: frozenset(suspects)} if suspects else {})


def _compare_chunk(on: Sessions, pair: Pair, chunk: Chunk) -> tuple[set[bytes], int]:
    """Suspects of one chunk, and how many items the source has in it."""
    left, right = on.ask(pair, lambda conn, side: leaf_sums(conn, side, chunk))
    counted = sum(leaf[0] for leaf in left.values())
    wrong = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    if not wrong:
        return set(), counted
    mine, others = on.ask(pair, lambda conn, side: list_leaves(conn, side, chunk, wrong))
    return {key for key in mine.keys() | others.keys() if mine.get(key) != others.get(key)}, counted


def leaf_sums(conn: Connection, side: Side, chunk: Chunk) -> dict[int, Leaf]:
    """Every leaf of the chunk that has rows."""
    query = sql.SQL(
        "SELECT leaf, count(*), sum({h1})::text, sum({h2})::text FROM (SELECT {leaf} AS leaf, {row} AS b "
        # OFFSET 0 keeps the planner from computing the row's bytes once for each hash.
        "FROM {table} {t} WHERE {owned} AND {within} OFFSET 0) q GROUP BY leaf"
    ).format(
        h1=hash_of(sql.SQL("b"), 1),
        h2=hash_of(sql.SQL("b"), 2),
        leaf=_leaf(side, chunk),
        row=compared_bytes(side),
        table=table_sql(side.table.name),
        t=sql.Identifier(ROW),
        owned=side.owned,
        within=_within(side, chunk),
    )
    return {leaf: (count, int(h1), int(h2)) for leaf, count, h1, h2 in fetch(conn, query)}


def whole_sum(conn: Connection, side: Side) -> Leaf:
    """The whole set as one leaf."""
    query = sql.SQL(
        "SELECT count(*), coalesce(sum({h1}), 0)::text, coalesce(sum({h2}), 0)::text FROM "
        "(SELECT {row} AS b FROM {table} {t} WHERE {owned} OFFSET 0) q"
    ).format(
        h1=hash_of(sql.SQL("b"), 1),
        h2=hash_of(sql.SQL("b"), 2),
        row=compared_bytes(side),
        table=table_sql(side.table.name),
        t=sql.Identifier(ROW),
        owned=side.owned,
    )
    [(count, h1, h2)] = fetch(conn, query)
    return count, int(h1), int(h2)


def list_leaves(conn: Connection, side: Side, chunk: Chunk, leaves: Sequence[int]) -> dict[bytes, bytes]:
    """Both hashes of every row of these leaves, by key."""
    query = sql.SQL(
        "COPY (SELECT {h1}, {h2}, {names} FROM (SELECT {key}, {row} AS b FROM {table} {t} "
        "WHERE {owned} AND {within} AND {leaf} = ANY ({leaves}::int8[]) OFFSET 0) q) TO STDOUT (FORMAT BINARY)"
    ).format(
        h1=hash_of(sql.SQL("b"), 1),
        h2=hash_of(sql.SQL("b"), 2),
        names=sql.SQL(", ").join([sql.Identifier(f"k{n}") for n in range(len(side.key))]),
        key=sql.SQL(", ").join(
            [
                sql.SQL("{} AS {}").format(sql.Identifier(ROW, form.name), sql.Identifier(f"k{n}"))
                for n, form in enumerate(side.key)
            ]
        ),
        row=compared_bytes(side),
        table=table_sql(side.table.name),
        t=sql.Identifier(ROW),
        owned=side.owned,
        within=_within(side, chunk),
        leaf=_leaf(side, chunk),
        leaves=sql.Literal("{" + ",".join(map(str, leaves)) + "}"),
    )
    width = struct.pack("!h", len(side.key))
    # A row: field count (2 bytes), two hashes (4 bytes of length and 8 each), then the key's fields.
    return {width + row[26:]: row[2:26] for row in _copied_rows(conn, query)}


def _copied_rows(conn: Connection, query: sql.Composed) -> Iterator[bytes]:
    """The rows of a binary COPY, one each: the server sends a row a message, the first behind the header."""
    with conn.cursor().copy(query) as stream:
        for message in stream:
            row = bytes(message).removeprefix(COPY_HEADER)
            if row and row != COPY_TRAILER:
                yield row


def compared_bytes(side: Side) -> sql.Composable:
    """The bytes of a row that both sides must have: of people shared with other tenants, only the key."""
    full = row_bytes(side.columns, ROW)
    if side.exclusive is None:
        return full
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(side.exclusive, full, row_bytes(side.key, ROW))


def _leaf(side: Side, chunk: Chunk) -> sql.Composable:
    return sql.SQL("({hash} & 9223372036854775807) % {leaves}").format(
        hash=hash_of(row_bytes(side.key, ROW), 3), leaves=sql.Literal(chunk.leaves)
    )


def _within(side: Side, chunk: Chunk) -> sql.Composable:
    conditions: list[sql.Composable] = [sql.SQL("TRUE")]
    for bound, operator in ((chunk.low, ">="), (chunk.high, "<")):
        if bound is not None:
            values = [form.bound(text) for form, text in zip(side.key, bound, strict=True)]
            conditions.append(
                sql.SQL("({}) {} ({})").format(
                    sql.SQL(", ").join([form.order(ROW) for form in side.key]),
                    sql.SQL(operator),
                    sql.SQL(", ").join(values),
                )
            )
    return sql.SQL(" AND ").join(conditions)


def chunks(conn: Connection, side: Side) -> list[Chunk]:
    """Ranges that cover every possible key, about `CHUNK_ROWS` owned rows of this side in each.

    Only a small table is counted by its statistics; of a larger one a sample of blocks is read. A wrong
    estimate makes chunks larger or smaller, never leaves a row out.
    """
    rows = side.table.estimated_rows
    if rows < 0:  # never analysed: the size says enough
        rows = side.table.bytes // 100
    if rows <= CHUNK_ROWS:
        return [Chunk(None, None, leaves=max(1, rows // LEAF_ROWS))]
    fraction = min(1.0, SAMPLE_ROWS / rows)
    sample, sampled = _sample(conn, side, fraction)
    owned = int(sampled / fraction)
    wanted = min(max(1, -(-owned // _chunk_rows(side, owned))), len(sample) + 1)
    cuts = sorted({len(sample) * n // wanted for n in range(1, wanted)})
    bounds = [None, *(sample[cut] for cut in cuts), None]
    leaves = max(1, owned // wanted // LEAF_ROWS)
    return [Chunk(low, high, leaves) for low, high in pairwise(bounds)]


def _chunk_rows(side: Side, owned: int) -> int:
    """Keys ordered by text have an index in that order only where the collation is "C": then each chunk reads
    all of the tenant's rows, and fewer, larger chunks are cheaper."""
    indexed = all(form.builtin in ORDERED for form in side.key)
    return CHUNK_ROWS if indexed else max(CHUNK_ROWS, owned // 16)


def _sample(conn: Connection, side: Side, fraction: float) -> tuple[list[tuple[str, ...]], int]:
    """Up to about 2,000 keys in order, evenly out of a sample of the owned rows, and the sample's size."""
    order = [form.order(ROW) for form in side.key]
    names = sql.SQL(", ").join([sql.Identifier(f"k{n}") for n in range(len(order))])
    query = sql.SQL(
        "SELECT n, {texts} FROM (SELECT {names}, row_number() OVER (ORDER BY {names}) AS i, count(*) OVER () AS n "
        "FROM (SELECT {keys} FROM {table} {t} TABLESAMPLE SYSTEM ({percent}) WHERE {owned}) s) q "
        "WHERE i % greatest(1, n / 1000) = 0 ORDER BY i"
    ).format(
        names=names,
        texts=sql.SQL(", ").join(
            [sql.SQL("CAST({} AS text)").format(sql.Identifier(f"k{n}")) for n in range(len(order))]
        ),
        keys=sql.SQL(", ").join(
            [sql.SQL("{} AS {}").format(part, sql.Identifier(f"k{n}")) for n, part in enumerate(order)]
        ),
        table=table_sql(side.table.name),
        t=sql.Identifier(ROW),
        percent=sql.Literal(100 * fraction),
        owned=side.owned,
    )
    rows = fetch(conn, query)
    return [row[1:] for row in rows], rows[0][0] if rows else 0
