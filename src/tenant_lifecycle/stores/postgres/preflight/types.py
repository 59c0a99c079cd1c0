"""Pre-flight: whether the columns' types mean the same on the target, in the binary form they travel in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.preflight.pair import Pair, Side, listed
from tenant_lifecycle.stores.postgres.servercheck import quoted
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

#: Types of all columns, through domains, arrays, ranges and composites down to what they are made of.
_TYPES = """
WITH RECURSIVE used AS (
    SELECT c.tab, c.col, c.typ FROM unnest(%(tables)s::text[], %(columns)s::text[], %(types)s::oid[])
        c(tab, col, typ)
    UNION
    SELECT u.tab, u.col, inner_type.oid FROM used u JOIN pg_type t ON t.oid = u.typ
      CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR r.rngmultitypid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_attribute a
                   WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      ) inner_type)
SELECT u.tab || '.' || u.col AS place, t.typname::text AS name, n.nspname::text AS schema,
       t.typsend = 0 OR t.typreceive = 0 AS no_binary,
       t.typname IN ('regclass', 'regproc', 'regprocedure', 'regoper', 'regoperator', 'regtype', 'regrole',
                     'regnamespace', 'regconfig', 'regdictionary', 'regcollation')
           AND n.nspname = 'pg_catalog' AS by_oid,
       n.nspname = 'pg_catalog' AS built_in,
       (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
           AND d.refclassid = 'pg_extension'::regclass) AS extension
  FROM used u JOIN pg_type t ON t.oid = u.typ JOIN pg_namespace n ON n.oid = t.typnamespace
 ORDER BY 1, 2
"""


def check_types(pair: Pair) -> Iterator[Finding]:
    """Every type must travel in binary, mean the same there, and exist there."""
    used = _used(pair.source)
    name = pair.source.name
    if places := _places(row for row in used if row["no_binary"]):
        yield refuse(
            name, "pg.type-binary", f"types without a binary form: {places}",
            "change the column's type, for example to text",
        )  # fmt: skip
    if places := _places(row for row in used if row["by_oid"]):
        yield refuse(
            name, "pg.type-oid", f"values that are numbers of this database's catalogue: {places}",
            "change the column's type to text",
        )  # fmt: skip
    there = {
        row[0]
        for row in pair.target.conn.execute(
            "SELECT typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace"
        )
    }
    if places := _places(row for row in used if row["built_in"] and row["name"] not in there):
        yield refuse(
            pair.target.name, "pg.type-missing",
            f"PostgreSQL {pair.target.facts.version_text} does not have the type of {places}",
            "move to a newer version, or change the column's type",
        )  # fmt: skip
    else:
        yield fine(pair.target.name, "pg.type-missing", "every built-in type of the columns is there")


def check_extensions(pair: Pair) -> Iterator[Finding]:
    """Extensions whose types the tenant's columns have, on both sides."""
    needed = sorted({row["extension"] for row in _used(pair.source) if row["extension"]})
    for extension in needed:
        here = pair.source.facts.extensions[extension]
        target = pair.target
        there = target.facts.extensions.get(extension) or target.facts.available.get(extension)
        name = quoted(extension)
        if there is None:
            yield refuse(
                target.name, "pg.extension", f"extension {extension} {here} is needed and not on the server",
                f"install it on the server, then CREATE EXTENSION {name};",
            )  # fmt: skip
        elif _number(there) < _number(here):
            yield refuse(
                target.name, "pg.extension", f"extension {extension} is {there}, older than the source's {here}",
                f"install version {here} on the server, then ALTER EXTENSION {name} UPDATE TO '{here}';",
            )  # fmt: skip
        elif there != here:
            yield warn(
                target.name, "pg.extension",
                f"extension {extension} is {there}, the source has {here}",
                f"a rollback writes back to the older one; on the source: ALTER EXTENSION {name} UPDATE;",
            )  # fmt: skip
        else:
            yield fine(target.name, "pg.extension", f"extension {extension} {there}, as on the source")


def _used(side: Side) -> list[dict[str, Any]]:
    columns = [(table, column) for table in side.moved for column in table.copied_columns]
    with side.conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            _TYPES,
            {
                "tables": [str(table.name) for table, _ in columns],
                "columns": [column.name for _, column in columns],
                "types": [column.type_oid for _, column in columns],
            },
        ).fetchall()


def _places(rows: Iterator[dict[str, Any]]) -> str:
    return listed(f"{row['place']} ({row['name']})" for row in rows)


def _number(version: str) -> tuple[int, ...]:
    """A version as numbers; what is no number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
