"""Comparing just some items, both sides read now: what a flip does with everything that was touched last.

First all rows are looked up by key, in one statement a side over all sets, and their hashes compared; that
is all that happens when they are equal. Whose a row is matters only where it differs: equal rows under equal
parents have the same owner on both sides, and the parents are items of their own. Then the few that differ
are read again, with their owner and a hash of each column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Difference, DifferenceKind, Keys
from tenant_lifecycle.stores.postgres.comparison import (
    ROW,
    Comparison,
    Pair,
    Sessions,
    Side,
    comparison,
    sessions,
)
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.digests import WHOLE_SET
from tenant_lifecycle.stores.postgres.fingerprints import hash_of, row_bytes
from tenant_lifecycle.stores.postgres.keyarrays import (
    BATCH,
    Fields,
    key_arrays,
    key_fields,
    key_matches,
    keys_sql,
)
from tenant_lifecycle.stores.postgres.multisets import compare_multisets
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.rawsql import BinaryArray, fetch

#: Some keys of one set, in an order that both sides share.
Batch = list[tuple[Pair, list[bytes]]]


@dataclass(frozen=True, slots=True)
class Found:
    """A key on one side."""

    #: The key for people.
    text: str
    present: bool
    #: Present, and the tenant's by its rule.
    owned: bool
    #: For shared people: the tenant's alone. True for rows of other sets.
    exclusive: bool
    #: A hash for each compared column.
    columns: tuple[int, ...]


def compare_keys(source: Database, target: Database, tenant: TenantId, keys: Keys) -> list[Difference]:
    """The differences among these items; an item absent, or not the tenant's, on both sides is equal.

    `WHOLE_SET` compares a whole set as a multiset. Shared people who belong to other tenants too, on either
    side, only have to be there.

    Raises:
        PreconditionRefused: a set is not on both sides.
    """
    known = comparison(source, target, tenant)
    differences: list[Difference] = []
    with sessions(source, target) as on:
        for batch in _batches(known, keys):
            for pair, suspects in _unequal(known, on, batch):
                differences += _explained(on, pair, suspects)
        for name, some in keys.items():
            if WHOLE_SET in some:
                differences += compare_multisets(on, known.pair(name))
    return differences


def _batches(known: Comparison, keys: Keys) -> Iterator[Batch]:
    """All keys, cut so that no statement gets more than `BATCH` of them; sets in the map's order."""
    batch: Batch = []
    room = BATCH
    for name in sorted(keys, key=lambda name: known.order.index(name) if name in known.order else -1):
        some = sorted(keys[name] - {WHOLE_SET})
        while some:
            batch.append((known.pair(name), some[:room]))
            some, room = some[room:], room - len(some[:room])
            if room == 0:
                yield batch
                batch, room = [], BATCH
    if batch:
        yield batch


def _unequal(known: Comparison, on: Sessions, batch: Batch) -> Iterator[tuple[Pair, list[bytes]]]:
    """The keys of the batch whose rows are not the same on both sides, whoever owns them."""
    fields = [key_fields(keys, len(pair.source.key)) for pair, keys in batch]

    def hashes(conn: Connection, ours: bool) -> Hashes:
        sides = [pair.source if ours else pair.target for pair, _ in batch]
        return _hashes(conn, known, sides, fields, ours)

    left, right = on.ask_all(hashes)
    for number, (pair, keys) in enumerate(batch):
        suspects = [
            key
            for position, key in enumerate(keys, start=1)
            if left.get((number, position)) != right.get((number, position))
        ]
        if suspects:
            yield pair, suspects


Hashes = dict[tuple[int, int], list[tuple[int, int]]]


def _hashes(
    conn: Connection, known: Comparison, sides: Sequence[Side], fields: Sequence[Fields], ours: bool
) -> Hashes:
    """Both hashes of every row that is there, by number of the set and of the key."""
    purpose = ("hashes", ours, tuple(side.table.name for side in sides))
    query = known.texts.get(purpose)
    if query is None:
        query = known.texts[purpose] = _hashes_sql(sides)
    arrays: list[BinaryArray] = []
    for side, columns in zip(sides, fields, strict=True):
        arrays += key_arrays(side, columns)
    rows = fetch(conn, query, arrays, prepare=True)
    # Two rows for one key (possible where two partitions or an index without its uniqueness allow it) are
    # not one: keep them apart by counting.
    found: Hashes = {}
    for number, position, h1, h2 in rows:
        found.setdefault((number, position), []).append((h1, h2))
    for hashes in found.values():
        hashes.sort()
    return found


def _hashes_sql(sides: Sequence[Side]) -> sql.Composed:
    parts: list[sql.Composable] = []
    parameter = 1
    for number, side in enumerate(sides):
        parts.append(
            sql.SQL(
                "SELECT {number}::int4, i, {h1}, {h2} FROM (SELECT k.i, {row} AS b FROM {keys} "
                "JOIN {table} {t} ON {matches} OFFSET 0) q"
            ).format(
                number=sql.Literal(number),
                h1=hash_of(sql.SQL("b"), 1),
                h2=hash_of(sql.SQL("b"), 2),
                row=row_bytes(side.columns, ROW),
                keys=keys_sql(side, parameter),
                table=table_sql(side.table.name),
                t=sql.Identifier(ROW),
                matches=key_matches(side, ROW),
            )
        )
        parameter += len(side.key)
    return sql.SQL(" UNION ALL ").join(parts)


def _explained(on: Sessions, pair: Pair, keys: list[bytes]) -> Iterator[Difference]:
    fields = key_fields(keys, len(pair.source.key))
    left, right = on.ask(pair, lambda conn, side: look(conn, side, fields))
    for key, here, there in zip(keys, left, right, strict=True):
        difference = judge(pair, key, here, there)
        if difference is not None:
            yield difference


def judge(pair: Pair, key: bytes, here: Found, there: Found) -> Difference | None:
    """What is wrong with an item, None if nothing is. Pure."""
    shared = pair.source.exclusive is not None
    if here.owned:
        if not (there.present if shared else there.owned):
            return Difference(pair.set, key, here.text, DifferenceKind.MISSING)
        if here.exclusive and there.exclusive and here.columns != there.columns:
            fields = tuple(
                form.name
                for form, one, other in zip(pair.source.columns, here.columns, there.columns, strict=True)
                if one != other
            )
            return Difference(pair.set, key, here.text, DifferenceKind.DIFFERENT, fields)
    elif there.owned and there.exclusive:
        return Difference(pair.set, key, here.text, DifferenceKind.EXTRA)
    return None


def look(conn: Connection, side: Side, fields: Fields) -> list[Found]:
    """Every key on this side, in the order of its fields."""
    query = sql.SQL(
        "SELECT k.i, {text}, {t}.{first} IS NOT NULL, coalesce({owned}, false), coalesce({exclusive}, false), "
        "ARRAY[{hashes}]::int8[] FROM {keys} LEFT JOIN {table} {t} ON {matches} ORDER BY 1"
    ).format(
        text=_key_text(side),
        t=sql.Identifier(ROW),
        first=sql.Identifier(side.key[0].name),
        owned=side.owned,
        exclusive=side.exclusive or sql.SQL("TRUE"),
        hashes=sql.SQL(", ").join([hash_of(row_bytes([form], ROW), 1) for form in side.columns]),
        keys=keys_sql(side),
        table=table_sql(side.table.name),
        matches=key_matches(side, ROW),
    )
    found = {
        position: Found(text, present, present and owned, exclusive, tuple(hashes))
        for position, text, present, owned, exclusive, hashes in fetch(conn, query, key_arrays(side, fields))
    }
    return [found[position] for position in range(1, len(fields[0]) + 1)]


def _key_text(side: Side) -> sql.Composable:
    """``id = 5`` or ``tenant = acme, day = 2026-01-01``, by the server, which knows the types' text forms."""
    parts = [
        sql.SQL("concat({}, CAST({} AS text))").format(
            sql.Literal(f"{form.name} = "), sql.Identifier("k", f"k{number}")
        )
        for number, form in enumerate(side.key)
    ]
    return sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(parts))
