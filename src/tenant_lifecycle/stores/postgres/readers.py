"""Materialised views that read some tables, directly or over other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import table_sql


@dataclass(frozen=True, slots=True)
class MaterialisedView:
    """One that has been filled."""

    name: TableName
    #: It has a unique index over all rows, which a refresh beside its readers needs.
    can_concurrently: bool


_READERS = """
WITH RECURSIVE reads AS (
    SELECT w.ev_class AS rel, 1 AS depth FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
       AND d.refobjid = ANY (%s::regclass[]) AND w.ev_class <> d.refobjid
    UNION
    SELECT w.ev_class, r.depth + 1 FROM reads r
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.rel
                      AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid
     WHERE w.ev_class <> r.rel AND r.depth < 50)
SELECT n.nspname::text, c.relname::text,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                  AND i.indpred IS NULL AND i.indexprs IS NULL)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN reads r ON r.rel = c.oid
 WHERE c.relkind = 'm' AND c.relispopulated GROUP BY c.oid, n.nspname, c.relname ORDER BY max(r.depth), 1, 2
"""


def materialised_readers(conn: Connection, relations: Sequence[TableName]) -> list[MaterialisedView]:
    """In the order in which they have to be refreshed: one that reads another comes after it."""
    names = [table_sql(name).as_string(conn) for name in relations]
    return [
        MaterialisedView(TableName(str(schema), str(name)), bool(unique))
        for schema, name, unique in conn.execute(_READERS, (names,))
    ]
