"""Finding the table of tenants: the one that the tenant-like columns of most tables point at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.naming import TENANT_WORDS, tables_for, tenant_word
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.references import Reference
from tenant_lifecycle.stores.postgres.sampling import ask, sample
from tenant_lifecycle.stores.postgres.tables import Table

Tables = Mapping[TableName, Table]


@dataclass(frozen=True, slots=True)
class FoundRoot:
    """A table that may be that of the tenants."""

    table: TableName
    column: str
    confidence: float
    evidence: tuple[str, ...]
    #: About other candidates: a person should know that they exist.
    remarks: tuple[str, ...] = ()


def find_root(
    conn: Connection,
    tables: Tables,
    references: Mapping[TableName, list[Reference]],
    unique: Mapping[TableName, frozenset[str]],
) -> FoundRoot | None:
    """The best candidate by the number of tables that point at it; None if there is none."""
    votes: Counter[tuple[TableName, str, str]] = Counter()
    sampled: Counter[tuple[TableName, str, str]] = Counter()
    contained: Counter[tuple[TableName, str, str]] = Counter()
    for child, column, word in _tenant_columns(tables):
        for parent, key in _candidates(tables, references, unique, child, column, word):
            values, found = _contained(conn, tables[child], column, parent, key)
            if not values or found >= 0.9 * values:
                votes[parent, key, word] += 1
                sampled[parent, key, word] += values
                contained[parent, key, word] += found
    if not votes:
        return None
    order = sorted(votes, key=lambda item: (-votes[item], TENANT_WORDS.index(item[2]), item[0]))
    best = order[0]
    said = f"{votes[best]} tables have a column for it ({best[2]})"
    if sampled[best]:
        said += f"; {contained[best]} of {sampled[best]} sampled values are ids in it"
    # Distinct tables that other tenant-like columns point at: perhaps tenants have two levels.
    remarks = tuple(
        f"{votes[other]} tables point at {other[0]} ({other[2]}) as well: tenants of two levels?"
        for other in order[1:]
        if other[0] != best[0]
    )
    confidence = 0.95 if sampled[best] and votes[best] > 1 else 0.75
    if remarks and votes[order[1]] * 2 > votes[best]:
        confidence -= 0.15
    return FoundRoot(best[0], best[1], round(confidence, 2), (said,), remarks)


def _tenant_columns(tables: Tables) -> Iterator[tuple[TableName, str, str]]:
    for name, table in sorted(tables.items()):
        for column in table.columns:
            word = tenant_word(column.name)
            if word is not None:
                yield name, column.name, word


def _candidates(
    tables: Tables,
    references: Mapping[TableName, list[Reference]],
    unique: Mapping[TableName, frozenset[str]],
    child: TableName,
    column: str,
    word: str,
) -> Iterator[tuple[TableName, str]]:
    """Tables that a tenant-like column may point at: declared, or called after the word."""
    declared = [
        (reference.parent, reference.parent_columns[0])
        for reference in references.get(child, ())
        if reference.columns == (column,) and reference.parent in tables
    ]
    if declared:
        yield from declared
        return
    for parent in sorted(tables):
        if parent == child or not tables_for(word, "", [parent.name]):
            continue
        if tables_for(word, "", [parent.name])[0][1] < 1:
            continue
        keys = unique.get(parent, frozenset())
        for key in tables[parent].primary_key:
            if key in keys:
                yield parent, key


def _contained(conn: Connection, child: Table, column: str, parent: TableName, key: str) -> tuple[int, int]:
    """Sampled values of the column, and how many of them are keys of the parent."""
    query = sql.SQL(
        "SELECT count({column}), count(*) FILTER (WHERE EXISTS (SELECT FROM {parent} p WHERE p.{key}::text ="
        " t.{column}::text)) FROM {sample} t"
    ).format(
        column=sql.Identifier(column), parent=table_sql(parent), key=sql.Identifier(key),
        sample=sample(child, 200),
    )  # fmt: skip
    rows = ask(conn, query)
    return (int(str(rows[0][0])), int(str(rows[0][1]))) if rows else (0, 0)
