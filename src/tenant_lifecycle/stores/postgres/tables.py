"""The live catalogue, read once: tables, columns, keys and what else decides how a row can move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tenant_lifecycle.model.names import TableName

#: Where our own objects live in every data database.
OUR_SCHEMA = "tenant_lifecycle"
#: How the comment on a schema of a preview begins; such a schema is ours too.
PREVIEW_MARK = "tenant-lifecycle preview: "


@dataclass(frozen=True, slots=True)
class Column:
    """One column, as PostgreSQL describes it."""

    name: str
    #: As ``format_type`` prints it, for example ``character varying(40)`` or ``public.vector(8)``.
    type: str
    type_oid: int
    not_null: bool
    #: '' plain, 's' stored, 'v' virtual generated column.
    generated: str
    #: '' none, 'a' GENERATED ALWAYS, 'd' BY DEFAULT AS IDENTITY.
    identity: str
    #: False: ``hash_record_extended`` cannot take it; digests cast it to text.
    hashable: bool
    #: True for types whose order depends on a collation; verification orders them by COLLATE "C".
    collatable: bool
    default: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """One ordinary or partitioned table (partitions are folded into their root)."""

    name: TableName
    oid: int
    #: 'r' ordinary, 'p' partitioned root.
    kind: str
    columns: tuple[Column, ...]
    #: Column names of the primary key, in key order; empty if there is none.
    primary_key: tuple[str, ...]
    #: pg_class.relreplident: 'd' default, 'i' index, 'f' full, 'n' nothing.
    replica_identity: str
    #: Columns that a DELETE carries in the change stream: the key, the index's columns, or all of them.
    identity_columns: tuple[str, ...]
    #: Partitions, leaves and inner ones, of a partitioned root.
    partitions: tuple[TableName, ...]
    row_security: bool
    #: 'p' permanent, 'u' unlogged.
    persistence: str
    #: Planner's estimate; -1 if never analysed.
    estimated_rows: int
    #: Heap, indexes and TOAST, with partitions.
    bytes: int
    #: How many unique or exclusion indexes there are besides the primary key.
    other_unique_indexes: int

    @property
    def copied_columns(self) -> tuple[Column, ...]:
        """Columns that are written: all but generated ones."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that tell a row of this table from every other; empty for a table without any key.

        The primary key, or the columns of the unique index that is the replica identity.
        """
        if self.primary_key:
            return self.primary_key
        return self.identity_columns if self.replica_identity == "i" else ()

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


_TABLES = """
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       c.relreplident::text AS replica_identity, c.relrowsecurity AS row_security,
       c.relpersistence::text AS persistence,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.ord)
                   FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, ord), pg_attribute a
                  WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum),
                '{}') AS primary_key,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.ord)
                   FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, ord), pg_attribute a
                  WHERE i.indrelid = c.oid AND i.indisreplident AND a.attrelid = c.oid AND a.attnum = k.attnum),
                '{}') AS identity_index,
       coalesce((SELECT json_agg(json_build_array(pn.nspname, pc.relname) ORDER BY 1)
                   FROM pg_partition_tree(c.oid) t JOIN pg_class pc ON pc.oid = t.relid
                   JOIN pg_namespace pn ON pn.oid = pc.relnamespace
                  WHERE c.relkind = 'p' AND t.relid <> c.oid), '[]') AS partitions,
       CASE c.relkind WHEN 'p' THEN
            (SELECT sum(greatest(pc.reltuples, 0)) FROM pg_partition_tree(c.oid) t
               JOIN pg_class pc ON pc.oid = t.relid WHERE t.isleaf)
            ELSE c.reltuples END::int8 AS estimated_rows,
       CASE c.relkind WHEN 'p' THEN
            (SELECT sum(pg_total_relation_size(t.relid)) FROM pg_partition_tree(c.oid) t WHERE t.isleaf)
            ELSE pg_total_relation_size(c.oid) END::int8 AS bytes,
       (SELECT count(*) FROM pg_index i
         WHERE i.indrelid = c.oid AND NOT i.indisprimary AND (i.indisunique OR i.indisexclusion)) AS unique_indexes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', %(ours)s)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                      AND d.deptype = 'e')
   AND NOT EXISTS (SELECT FROM pg_description d WHERE d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass
                      AND starts_with(d.description, %(preview)s) AND n.nspname <> coalesce(%(schema)s::text, ''))
   AND (%(schema)s::text IS NULL OR (n.nspname = %(schema)s AND c.relname = %(name)s))
 ORDER BY n.nspname, c.relname
"""

_COLUMNS = """
SELECT a.attrelid::int8 AS oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.atttypid::int8 AS type_oid, a.attnotnull AS not_null, a.attgenerated::text AS generated,
       a.attidentity::text AS identity, a.attcollation <> 0 AS collatable,
       pg_get_expr(ad.adbin, ad.adrelid) AS default,
       -- A type hashes if the hash opclass of its base type, or of its element for arrays, exists.
       EXISTS (SELECT FROM pg_opclass oc JOIN pg_am am ON am.oid = oc.opcmethod AND am.amname = 'hash'
                WHERE oc.opcdefault AND oc.opcintype = ANY (ARRAY[base.oid, elem.oid,
                      CASE WHEN coalesce(elem.typtype, base.typtype) = 'e' THEN 'anyenum'::regtype::oid END,
                      CASE WHEN base.oid = 'varchar'::regtype OR elem.oid = 'varchar'::regtype
                           THEN 'text'::regtype::oid END]::oid[])) AS hashable
  FROM pg_attribute a
  JOIN pg_type ty ON ty.oid = a.atttypid
  JOIN pg_type base ON base.oid = CASE WHEN ty.typtype = 'd' THEN ty.typbasetype ELSE ty.oid END
  LEFT JOIN pg_type elem ON elem.oid = base.typelem AND base.typcategory = 'A'
  LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
 WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
"""


def read_tables(conn: psycopg.Connection[object]) -> Mapping[TableName, Table]:
    """Describe every user table of the database, partitioned roots with their partitions folded in.

    System schemas, our own schema, previews, temporary tables and tables that belong to an extension are left out.
    """
    return _read(conn, None)


def read_table(conn: psycopg.Connection[object], name: TableName) -> Table:
    """Describe one table.

    Raises:
        KeyError: there is no such table.
    """
    return _read(conn, name)[name]


def _read(conn: psycopg.Connection[object], only: TableName | None) -> Mapping[TableName, Table]:
    wanted = {"schema": only.schema if only else None, "name": only.name if only else None}
    with conn.cursor(row_factory=dict_row) as cursor:
        tables = cursor.execute(_TABLES, {"ours": OUR_SCHEMA, "preview": PREVIEW_MARK, **wanted}).fetchall()
        rows = cursor.execute(_COLUMNS, {"oids": [table["oid"] for table in tables]}).fetchall()
    columns: dict[int, list[Column]] = {table["oid"]: [] for table in tables}
    for row in rows:
        columns[row.pop("oid")].append(Column(**row))
    return {table.name: table for table in (_table(row, tuple(columns[row["oid"]])) for row in tables)}


def _table(row: dict[str, Any], columns: tuple[Column, ...]) -> Table:
    primary_key: tuple[str, ...] = tuple(row["primary_key"])
    identity = {
        "d": primary_key,
        "i": tuple(row["identity_index"]),
        "f": tuple(column.name for column in columns),
    }
    return Table(
        name=TableName(row["schema"], row["name"]),
        oid=row["oid"],
        kind=row["kind"],
        columns=columns,
        primary_key=primary_key,
        replica_identity=row["replica_identity"],
        identity_columns=identity.get(row["replica_identity"], ()),
        partitions=tuple(TableName(*pair) for pair in row["partitions"]),
        row_security=row["row_security"],
        persistence=row["persistence"],
        estimated_rows=row["estimated_rows"],
        bytes=row["bytes"] or 0,
        other_unique_indexes=row["unique_indexes"],
    )
