"""Changed columns: what a Relation message means for items that were written before it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from psycopg.rows import class_row

from tenant_lifecycle.model.backup.items import Cell, Reshape
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.pgoutput import Relation

_COLUMNS = """
SELECT a.attname::text AS name, a.attnum::int AS number, format_type(a.atttypid, a.atttypmod) AS type,
       NOT a.attnotnull AS nullable, a.atthasdef AND NOT a.atthasmissing AS computed,
       CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END AS missing
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attgenerated = '' ORDER BY a.attnum
"""
_FILES = """
SELECT coalesce(string_agg(pg_relation_filenode(t.relid)::text, ' ' ORDER BY t.relid), '')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
       LATERAL (SELECT c.oid AS relid UNION SELECT p.relid::oid FROM pg_partition_tree(c.oid) p) t
 WHERE n.nspname = %(schema)s AND c.relname = %(name)s
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """How a table looked; kept in the index, so that a change is noticed after a restart as well."""

    columns: tuple[Column, ...]
    #: Numbers of the columns by name, which outlive renaming.
    numbers: dict[str, int]
    #: Changes when all rows are written anew, which no change log says.
    files: str

    def written(self) -> str:
        return json.dumps([[[c.name, c.type, c.nullable] for c in self.columns], self.numbers, self.files])

    @classmethod
    def read(cls, text: str) -> Remembered:
        columns, numbers, files = json.loads(text)
        return cls(
            tuple(Column(name, kind, nullable=nullable) for name, kind, nullable in columns), numbers, files
        )


def remember(conn: Connection, name: TableName, columns: tuple[Column, ...]) -> Remembered:
    """A table of these columns, as the catalogue has it now."""
    facts = _facts(conn, name)
    numbers = {one.name: facts[one.name].number for one in columns if one.name in facts}
    (files,) = conn.execute(_FILES, {"schema": name.schema, "name": name.name}).fetchone() or ("",)
    return Remembered(columns, numbers, str(files))


def shape_of(conn: Connection, relation: Relation, set_name: str, key: tuple[str, ...]) -> Shape:
    """The shape that a Relation message describes. The catalogue may be ahead of the stream: names count there."""
    facts = _facts(conn, TableName(relation.schema, relation.name))
    columns = []
    for one in relation.columns:
        (kind,) = conn.execute(
            "SELECT format_type(%s, %s)", (one.type_oid, one.type_modifier)
        ).fetchone() or ("",)
        nullable = facts[one.name].nullable if one.name in facts else True
        columns.append(Column(one.name, str(kind), nullable=nullable))
    return Shape(set_name, tuple(columns), key)


def reshape(conn: Connection, name: TableName, shape: Shape, before: Remembered) -> Reshape:
    """From the columns of before to these.

    A column is filled with what PostgreSQL gives old rows, if they were not written anew since: then nobody knows.
    """
    facts = _facts(conn, name)
    now = remember(conn, name, shape.columns)
    by_number = {number: one for one, number in before.numbers.items()}
    types = {one.name: one.type for one in before.columns}
    carried: list[tuple[str, str]] = []
    filled: list[tuple[str, Cell]] = []
    for column in shape.columns:
        old = by_number.get(now.numbers.get(column.name, -1))
        if old is not None and old != column.name and types.get(old) == column.type:
            carried.append((column.name, old))
        elif old is None and now.files == before.files and column.name in facts:
            fact = facts[column.name]
            if not fact.computed:
                filled.append((column.name, None if fact.missing is None else fact.missing.encode()))
    return Reshape(shape, tuple(carried), tuple(filled))


def moved_over(before: Remembered, op: Reshape, cells: tuple[Cell, ...]) -> tuple[Cell, ...] | None:
    """A row of before in the new columns; None if a cell is not known."""
    old = {column.name: (column.type, cell) for column, cell in zip(before.columns, cells, strict=True)}
    carried, filled = dict(op.carried), dict(op.filled)
    found: list[Cell] = []
    for column in op.shape.columns:
        if column.name in carried:
            found.append(old[carried[column.name]][1])
        elif column.name in filled:
            found.append(filled[column.name])
        elif column.name in old and old[column.name][0] == column.type:
            found.append(old[column.name][1])
        else:
            return None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Fact:
    """A column in the catalogue."""

    name: str
    number: int
    type: str
    nullable: bool
    #: Old rows were given values when they were written anew, and nobody knows which.
    computed: bool
    #: What rows have that were written before the column was added, where it is not NULL.
    missing: str | None


def _facts(conn: Connection, name: TableName) -> dict[str, _Fact]:
    with conn.cursor(row_factory=class_row(_Fact)) as cursor:
        found = cursor.execute(_COLUMNS, {"schema": name.schema, "name": name.name}).fetchall()
    return {one.name: one for one in found}
