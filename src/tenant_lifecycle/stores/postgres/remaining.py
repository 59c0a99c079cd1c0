"""Which items of a manifest are still there: asked by key, of the whole relation, whoever its rows are now."""

from __future__ import annotations

from collections import Counter

import psycopg
from psycopg import sql

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.erasure.manifest import PARTITION, Batch
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres import erasable
from tenant_lifecycle.stores.postgres.comparison import Side
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.fingerprints import read_forms
from tenant_lifecycle.stores.postgres.keyarrays import key_arrays, key_fields, key_matches, keys_sql
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.tables import Table, read_tables


def remaining(database: Database, batch: Batch, check: Check) -> frozenset[bytes]:
    """Keys of the batch that a row, large object or schema still has.

    Raises:
        StoreRejected: this role cannot see; then nothing is known.
    """
    check()
    with database.session() as conn:
        if batch.set == erasable.PLANTED:
            return _numbered(conn, batch, _PLANTED) if _has_planted(conn) else frozenset()
        if batch.set == erasable.LARGE_OBJECTS:
            return _numbered(conn, batch, _OBJECTS)
        schema = erasable.schema_of(batch.set)
        if schema is not None:
            query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
            return frozenset(batch.keys if conn.execute(query, (schema,)).fetchone() == (True,) else ())
        table = _table(conn, batch.set)
        if table is None:
            return frozenset()
        return _keyed(conn, table, batch) if table.key else _keyless(conn, table, batch)


def _table(conn: Connection, set_name: str) -> Table | None:
    """The table of a set; of a partition that was dropped the table it was in, where its rows could be again."""
    tables = read_tables(conn)
    rows = erasable.row_sets(tables).get(set_name)
    if rows is not None:
        return rows.table
    return next((table for name, table in tables.items() if set_name.startswith(f"{name}{PARTITION}")), None)


def _keyed(conn: Connection, table: Table, batch: Batch) -> frozenset[bytes]:
    forms = read_forms(conn, [table])[table.oid]
    side = Side(table, tuple(forms[name] for name in table.key), (), sql.SQL("true"), None)
    try:
        arrays = key_arrays(side, key_fields(batch.keys, len(table.key)))
    except psycopg.DataError as exc:
        raise StoreRejected(
            f"the key of {table.name} is not the one that the manifest was made with",
            store=str(table.name),
            next_step="somebody changed the table meanwhile: look at it by hand, or plan the erasure again",
        ) from exc
    query = sql.SQL("SELECT k.i FROM {} WHERE EXISTS (SELECT FROM {} t WHERE {})").format(
        keys_sql(side), table_sql(table.name), key_matches(side, "t")
    )
    return frozenset(batch.keys[number - 1] for (number,) in fetch(conn, query, arrays))


def _keyless(conn: Connection, table: Table, batch: Batch) -> frozenset[bytes]:
    """As many keys of each digest as there are rows with it."""
    query = sql.SQL("SELECT {digest}, count(*) FROM {table} t WHERE {digest} = ANY (%s) GROUP BY 1").format(
        digest=erasable.row_digest("t"), table=table_sql(table.name)
    )
    digests = [erasable.keyless_digest(key) for key in batch.keys]
    there: Counter[object] = Counter({digest: int(str(n)) for digest, n in conn.execute(query, (digests,))})
    found = []
    for key, digest in zip(batch.keys, digests, strict=True):
        if there[digest] > 0:
            there[digest] -= 1
            found.append(key)
    return frozenset(found)


_PLANTED = "SELECT id FROM tenant_lifecycle.planted WHERE id = ANY (%s)"
_OBJECTS = "SELECT oid::int8 FROM pg_largeobject_metadata WHERE oid = ANY (%s::int8[]::oid[])"


def _numbered(conn: Connection, batch: Batch, query: str) -> frozenset[bytes]:
    numbers = [erasable.object_number(key) for key in batch.keys]
    return frozenset(
        erasable.object_key(int(str(number))) for (number,) in conn.execute(query.encode(), (numbers,))
    )


def _has_planted(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass('tenant_lifecycle.planted')").fetchone() != (None,)
