"""Sequences after a restore: past every number that the restored rows have, and never back."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from tenant_lifecycle.stores.postgres.backup.register import PreviewSet, Registered
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.counters import (
    Counter,
    Used,
    counter_of,
    raise_counters,
    used_sequences,
)
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql


def raise_sequences(conn: Connection, database: Database, preview: Registered, sets: Sequence[str]) -> int:
    """Raise what the promoted tables draw from to what the base had given, and to what stands in a row; how many.

    Not undone if the transaction is: a number skipped is no harm.
    """
    counters: list[Counter] = []
    least: list[int | None] = []
    used = used_sequences(database, preview.tenant)
    for one in (preview.sets[name] for name in sets):
        for (schema, table, column), drawn in used.items():
            if (schema, table) != (one.live.schema, one.live.name):
                continue
            for sequence in drawn:
                counter = counter_of(sequence, sequence)
                counters.append(counter)
                least.append(_furthest(conn, preview, one, column, sequence, counter.sign))
    return raise_counters(conn, counters, least) if counters else 0


def _furthest(
    conn: Connection, preview: Registered, one: PreviewSet, column: str, sequence: Used, sign: int
) -> int | None:
    """The furthest number in a row of the preview or in the base's facts; None if there is none."""
    found = [
        preview.facts.get("sequences", {}).get(sequence.name),
        _in_rows(conn, one, column, sequence, sign),
    ]
    known = [int(value) for value in found if value is not None]
    if not known:
        return None
    return max(known) if sign > 0 else min(known)


def _in_rows(conn: Connection, one: PreviewSet, column: str, sequence: Used, sign: int) -> int | None:
    types = {each.name: each.type for each in one.shape.columns}
    if types.get(column) not in ("smallint", "integer", "bigint"):
        return None
    query = sql.SQL("SELECT {f}({c}) FROM {t} WHERE {c} BETWEEN {low} AND {high}").format(
        f=sql.SQL("max" if sign > 0 else "min"),
        c=sql.Identifier(column),
        t=table_sql(one.table),
        low=sql.Literal(sequence.minimum),
        high=sql.Literal(sequence.maximum),
    )
    (value,) = conn.execute(query).fetchone() or (None,)
    return None if value is None else int(str(value))
