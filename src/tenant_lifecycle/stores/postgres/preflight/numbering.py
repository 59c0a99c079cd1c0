"""Pre-flight: sequences, and where the numbers of both environments will meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import Pair, Side, listed
from tenant_lifecycle.stores.postgres.tables import Table
from tenant_lifecycle.stores.postgres.verdicts import fine, warn

#: Sequences that a column's default or identity uses, by the column.
_USED = """
SELECT a.attrelid::int8 AS tab, a.attname::text AS col, s.oid::int8 AS oid,
       n.nspname || '.' || s.relname AS name,
       coalesce((SELECT last_value FROM pg_sequences v WHERE v.schemaname = n.nspname
                    AND v.sequencename = s.relname), 0) AS last, q.seqincrement AS step
  FROM pg_attribute a
  LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
  JOIN pg_depend d ON (d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid
                       AND d.refclassid = 'pg_class'::regclass)
                   OR (a.attidentity <> '' AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
                       AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
                       AND d.refobjsubid = a.attnum)
  JOIN pg_class s ON s.relkind = 'S'
                 AND s.oid = CASE WHEN d.classid = 'pg_attrdef'::regclass THEN d.refobjid ELSE d.objid END
  JOIN pg_sequence q ON q.seqrelid = s.oid
  JOIN pg_namespace n ON n.oid = s.relnamespace
 WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, 2
"""

#: Sequences that no column of any table uses.
_BARE = """
SELECT n.nspname || '.' || s.relname FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace
 WHERE s.relkind = 'S' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tenant_lifecycle')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid
                      AND d.classid = 'pg_attrdef'::regclass)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid
                      AND d.deptype IN ('a', 'i', 'e'))
 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class _Sequence:
    name: str
    last: int
    step: int


def check_sequences(pair: Pair) -> Iterator[Finding]:
    """Which sequences are carried over, which no table uses, and which will number the same rows twice."""
    used = {side.name: _sequences(side) for side in pair.sides}
    here, there = used[pair.source.name], used[pair.target.name]
    yield fine(
        pair.source.name, "pg.sequence",
        f"{len({s.name for s in here.values()})} sequences of moved tables are carried over at the flip",
    )  # fmt: skip
    if bare := [str(row[0]) for row in pair.source.conn.execute(_BARE)]:
        yield warn(
            pair.source.name, "pg.sequence-bare",
            f"sequences that no column uses are not carried over: {listed(bare)}",
            "if the application numbers a tenant's rows with one: ALTER SEQUENCE ... OWNED BY table.column;",
        )  # fmt: skip
    for table, twin in pair.common():
        column = table.key[0] if len(table.key) == 1 else ""
        mine, theirs = here.get((table.oid, column)), there.get((twin.oid, column))
        if mine is not None and theirs is not None and twin.column(column).type == table.column(column).type:
            yield from _overlap(pair, table, column, mine, theirs)


def _sequences(side: Side) -> dict[tuple[int, str], _Sequence]:
    with side.conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_USED, {"oids": [table.oid for table in side.moved]}).fetchall()
    return {(row["tab"], row["col"]): _Sequence(row["name"], row["last"], row["step"]) for row in rows}


def _overlap(pair: Pair, table: Table, column: str, mine: _Sequence, theirs: _Sequence) -> Iterator[Finding]:
    """Disjoint numbering (same step, another remainder) never meets; everything else may, one day."""
    step = abs(mine.step)
    if step > 1 and mine.step == theirs.step and (mine.last - theirs.last) % step:
        return
    query = sql.SQL("SELECT min({column}) FROM {table} t WHERE {column} > {last} AND ({owned}) IS NOT TRUE").format(
        column=sql.Identifier("t", column), table=table_sql(table.name), last=sql.Literal(mine.last),
        owned=owned_rows(pair.target.resolved, table.name, "t"),
    )  # fmt: skip
    row = pair.target.conn.execute(query).fetchone()
    nearest = row[0] if row is not None else None
    if isinstance(nearest, int) and nearest - mine.last <= pair.limits.numbers_apart:
        yield warn(
            pair.target.name, "pg.sequence-overlap",
            f"{table.name}.{column} is numbered to {mine.last} on {pair.source.name}, and {nearest} is taken here:"
            " new rows there will get numbers of other tenants' rows here",
            f"on {pair.source.name}: SELECT setval('{mine.name}', {max(nearest, theirs.last) + 10_000_000});"
            "  or give both environments different ranges",
        )  # fmt: skip
