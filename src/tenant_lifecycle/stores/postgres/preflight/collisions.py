"""Pre-flight: keys and unique values of the tenant that somebody else has on the target.

A key that is taken there is never missed: where number ranges overlap, and for every other kind of key, all
of the tenant's rows are compared. Values go over as COPY BINARY rows and are joined by the index's own
expressions and operators, so that expression, partial and exclusion indexes count like the server counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.ownership import Direct, Root, Shared, Whole
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import Pair
from tenant_lifecycle.stores.postgres.preflight.staging import STAGED, staged_chunks
from tenant_lifecycle.stores.postgres.servercheck import quoted
from tenant_lifecycle.stores.postgres.tables import Table
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

_INTEGERS = ("smallint", "integer", "bigint")

_INDEXES = """
SELECT i.indrelid::int8 AS tab, ic.relname::text AS name, i.indisprimary AS primary,
       i.indisunique AND NOT i.indisexclusion AS by_equality, i.indnullsnotdistinct AS nulls_equal,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, i.indexprs IS NULL AND i.indpred IS NULL AS plain,
       (SELECT json_agg(json_build_array(pg_get_indexdef(i.indexrelid, k, false), opn.nspname, o.oprname)
                        ORDER BY k)
          FROM generate_series(1, i.indnkeyatts) k JOIN pg_opclass oc ON oc.oid = i.indclass[k - 1]
          JOIN pg_operator o ON o.oid = coalesce(con.conexclop[k],
               (SELECT ao.amopopr FROM pg_amop ao WHERE ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                   AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype))
          JOIN pg_namespace opn ON opn.oid = o.oprnamespace) AS terms,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND (
               a.attnum IN (SELECT i.indkey[k] FROM generate_series(0, i.indnkeyatts - 1) k)
            OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend d
                             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                               AND ((d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid)
                                 OR (d.classid = 'pg_constraint'::regclass AND d.objid = con.oid))))) AS columns
  FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
  LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
 WHERE i.indrelid = ANY (%(oids)s) AND (i.indisunique OR i.indisexclusion) AND i.indisready
 ORDER BY i.indrelid, i.indisprimary DESC, ic.relname
"""


@dataclass(frozen=True, slots=True)
class _Index:
    """A unique or exclusion index of the target."""

    tab: int
    name: str
    primary: bool
    by_equality: bool
    nulls_equal: bool
    predicate: str | None
    #: Neither an expression nor a condition.
    plain: bool
    #: (expression over the row, operator's schema, operator) per part; two rows collide if all are true.
    terms: tuple[tuple[str, str, str], ...]
    #: Columns that its expressions and its condition read.
    columns: tuple[str, ...]


def check_collisions(pair: Pair) -> Iterator[Finding]:
    """Every unique or exclusion index of every moved table, on the target as it is now."""
    common = pair.common()
    indexes = _indexes(pair, [twin for _, twin in common])
    compared = 0
    for table, twin in common:
        mine = indexes.get(twin.oid, [])
        if table.name in pair.source.resolved.shared:
            yield from _people(pair, twin, mine)
            continue
        risky = [index for index in mine if not _holds_tenant(pair, twin, index)]
        apart = [index for index in risky if _ranges_apart(pair, table, twin, index)]
        rest = [index for index in risky if index not in apart]
        compared += len(mine)
        if rest:
            yield from _owned(pair, table, twin, rest)
    yield fine(pair.target.name, "pg.collision", f"{compared} unique indexes of owned tables were looked at")


def _indexes(pair: Pair, tables: Sequence[Table]) -> dict[int, list[_Index]]:
    with pair.target.conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_INDEXES, {"oids": [table.oid for table in tables]}).fetchall()
    found: dict[int, list[_Index]] = {}
    for row in rows:
        row["terms"] = tuple((str(a), str(b), str(c)) for a, b, c in row["terms"])
        row["columns"] = tuple(row["columns"])
        found.setdefault(row["tab"], []).append(_Index(**row))
    return found


def _holds_tenant(pair: Pair, table: Table, index: _Index) -> bool:
    """Whether equal values mean an equal tenant, so that only the tenant's own rows could collide."""
    rule = pair.source.resolved.owned[table.name]
    if isinstance(rule, Whole):
        return True
    return (
        isinstance(rule, (Root, Direct))
        and index.by_equality
        and quoted(rule.column) in [term for term, _, _ in index.terms]
    )


def _ranges_apart(pair: Pair, table: Table, twin: Table, index: _Index) -> bool:
    """Whether a single whole number is the key and its ranges on the two sides do not touch."""
    if not index.plain or len(index.columns) != 1 or twin.column(index.columns[0]).type not in _INTEGERS:
        return False
    column = sql.Identifier("t", index.columns[0])
    mine = pair.source.conn.execute(
        sql.SQL("SELECT min({column}), max({column}) FROM {table} t WHERE {owned}").format(
            column=column, table=table_sql(table.name),
            owned=owned_rows(pair.source.resolved, table.name, "t"),
        )
    ).fetchone()  # fmt: skip
    theirs = pair.target.conn.execute(
        sql.SQL("SELECT min({column}), max({column}) FROM {table} t").format(
            column=column, table=table_sql(table.name)
        )
    ).fetchone()
    match mine, theirs:
        case (int(low), int(high)), (int(other_low), int(other_high)):
            return high < other_low or other_high < low
    return True


def _owned(pair: Pair, table: Table, twin: Table, indexes: Sequence[_Index]) -> Iterator[Finding]:
    """Compare the tenant's rows with everybody else's on the target, all indexes in one pass."""
    columns = sorted({column for index in indexes for column in index.columns})
    query = sql.SQL("SELECT {} FROM {} t WHERE {}").format(
        columns_sql(tuple(columns), "t"), table_sql(table.name),
        owned_rows(pair.source.resolved, table.name, "t"),
    )  # fmt: skip
    # A taken key could overwrite somebody's row, so it must be found; a taken value would stop the copy.
    sampled = not any(set(twin.key) <= set(index.columns) for index in indexes)
    if sampled:
        query = sql.SQL("{} LIMIT {}").format(query, sql.Literal(pair.limits.compared_rows))
    others = sql.SQL("({}) IS NOT TRUE").format(owned_rows(pair.target.resolved, twin.name, "t"))
    hits = {index.name: 0 for index in indexes}
    rows = 0
    for count in staged_chunks(
        pair.source.conn, query, pair.target.conn, twin, columns, pair.limits.chunk_rows
    ):
        rows += count
        for index in indexes:
            hits[index.name] += _count(pair, _matches(twin, index, others))
    for index in indexes:
        if hits[index.name]:
            yield _collision(pair, twin, index, hits[index.name])
    if sampled and rows >= pair.limits.compared_rows:
        yield warn(
            pair.target.name, "pg.collision-sampled",
            f"of {table.name} the first {rows} rows were compared (estimated): a unique value of the rest that is"
            " taken on the target would stop the copy; nothing would be overwritten",
            "none needed",
        )  # fmt: skip


def _collision(pair: Pair, table: Table, index: _Index, hits: int) -> Finding:
    target = pair.target.name
    if set(index.columns) == set(table.key):
        return refuse(
            target, "pg.key-collision",
            f"{hits} keys of the tenant in {table.name} ({', '.join(index.columns)}) are taken by rows that are"
            " not the tenant's",
            "renumber one side's rows, or give the environments different ranges of numbers",
        )  # fmt: skip
    return refuse(
        target, "pg.unique-collision",
        f"{hits} rows of the tenant in {table.name} have values that are taken under {index.name}"
        f" ({', '.join(term for term, _, _ in index.terms)})",
        "change the value on one side, or make the index include the tenant",
    )  # fmt: skip


def _matches(table: Table, index: _Index, others: sql.Composable, *more: sql.Composable) -> sql.Composed:
    """Query for the number of staged rows that collide under the index with one of the ``others``.

    The index's own expressions are text of the server about its own catalogue, quoted by it.
    """
    terms = sql.SQL(", ").join(
        sql.SQL("({}) AS {}").format(sql.SQL(text), sql.Identifier(f"c{number}"))
        for number, (text, _, _) in enumerate(index.terms)
    )
    predicate = sql.SQL(index.predicate) if index.predicate else sql.SQL("TRUE")
    same = [_same(index, number) for number in range(len(index.terms))]
    return sql.SQL(
        "SELECT count(*) FROM (SELECT s.*, {terms} FROM {staged} s WHERE {predicate}) s WHERE EXISTS"
        " (SELECT FROM (SELECT t.*, {terms} FROM {table} t WHERE {others} AND {predicate}) t WHERE {same})"
    ).format(
        terms=terms, staged=STAGED, predicate=predicate, table=table_sql(table.name), others=others,
        same=sql.SQL(" AND ").join([*same, *more]),
    )  # fmt: skip


def _same(index: _Index, number: int) -> sql.Composable:
    left, right = sql.Identifier("s", f"c{number}"), sql.Identifier("t", f"c{number}")
    if index.nulls_equal:
        return sql.SQL("{} IS NOT DISTINCT FROM {}").format(left, right)
    _, schema, operator = index.terms[number]
    return sql.SQL("{} OPERATOR({}.{}) {}").format(
        left, sql.Identifier(schema), sql.SQL(operator), right
    )  # fmt: skip


def _count(pair: Pair, query: sql.Composed) -> int:
    row = pair.target.conn.execute(query).fetchone()
    return int(str(row[0])) if row is not None else 0


def _people(pair: Pair, table: Table, indexes: Sequence[_Index]) -> Iterator[Finding]:
    """Shared people: the same key must be the same person, and the same person must have the same key."""
    rule = pair.source.resolved.shared[table.name]
    others = [index for index in indexes if index.columns != (rule.key,)]
    described = sorted({column for index in others for column in index.columns} - {rule.key})
    compared = described or sorted({column.name for column in table.copied_columns} - {rule.key})
    columns = [rule.key, *compared]
    query = sql.SQL("SELECT {} FROM {} t WHERE {}").format(
        columns_sql(tuple(columns), "t"), table_sql(table.name),
        owned_rows(pair.source.resolved, table.name, "t"),
    )  # fmt: skip
    same, taken, renamed = 0, 0, {index.name: 0 for index in others}
    for _ in staged_chunks(pair.source.conn, query, pair.target.conn, table, columns, pair.limits.chunk_rows):
        same += _count(pair, _same_key(table, rule, ()))
        taken += _count(pair, _same_key(table, rule, compared)) if compared else 0
        for index in others:
            other_key = sql.SQL("s.{key} IS DISTINCT FROM t.{key}").format(key=sql.Identifier(rule.key))
            renamed[index.name] += _count(pair, _matches(table, index, sql.SQL("TRUE"), other_key))
    yield from _people_findings(pair, table, rule, taken, bool(described))
    for index in others:
        if renamed[index.name]:
            yield refuse(
                pair.target.name, "pg.people-renamed",
                f"{renamed[index.name]} people of {table.name} are there under another {rule.key} (same value in"
                f" {index.name})",
                f"give them the same {rule.key} on both sides",
            )  # fmt: skip
    yield fine(pair.target.name, "pg.people", f"{same - taken} people of {table.name} are there already")


def _people_findings(
    pair: Pair, table: Table, rule: Shared, taken: int, described: bool
) -> Iterator[Finding]:
    if not taken:
        return
    if described or table.column(rule.key).type in _INTEGERS:
        yield refuse(
            pair.target.name, "pg.people-collision",
            f"{taken} keys of people in {table.name} belong to somebody else there",
            "renumber one side's people, or use keys that are unique everywhere (uuid)",
        )  # fmt: skip
    else:
        yield warn(
            pair.target.name, "pg.people-differ",
            f"{taken} people of {table.name} have other values there, which stay as they are",
            "bring the profiles into line after the move",
        )  # fmt: skip


def _same_key(table: Table, rule: Shared, different: Sequence[str]) -> sql.Composed:
    """Query for the number of staged people whose key is there, if ``different`` with another value in one.

    Values are compared as text, because not every type has an equality.
    """
    unlike = sql.SQL(" OR ").join(
        sql.SQL("s.{c}::text IS DISTINCT FROM t.{c}::text").format(c=sql.Identifier(column))
        for column in different
    )
    return sql.SQL("SELECT count(*) FROM {staged} s JOIN {table} t ON s.{key} = t.{key} WHERE {unlike}").format(
        staged=STAGED, table=table_sql(table.name), key=sql.Identifier(rule.key),
        unlike=unlike if different else sql.SQL("TRUE"),
    )  # fmt: skip
