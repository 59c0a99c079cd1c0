"""What a manifest's sets are called: the tables, partitions and other things that an erasure takes away.

The eraser and the verifier agree on these names and on the form of keys, and on nothing else.

Keys of a table with a key are COPY BINARY rows over it (`keys`). A row of a table without one is known by what is
in it: SHA-256 of its text, and a number among those that are equal (`keyless_key`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.model.erasure.manifest import PARTITION
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.tables import Table

LARGE_OBJECTS = "large objects"
PLANTED = "tenant_lifecycle.planted"
_SCHEMA = "schema "


def set_of(table: TableName, partition: TableName | None = None) -> str:
    """The name of a table's set, or of the set of one of its partitions that is dropped as a whole."""
    return str(table) if partition is None else f"{table}{PARTITION}{partition}"


def set_of_schema(schema: str) -> str:
    """The name of the set that is a schema itself, when its tables are gone."""
    return _SCHEMA + schema


def schema_of(set_name: str) -> str | None:
    """The schema that a set is; None for sets of rows."""
    return set_name.removeprefix(_SCHEMA) if set_name.startswith(_SCHEMA) else None


@dataclass(frozen=True, slots=True)
class RowSet:
    """A set of rows: of a whole table, or of one partition of it."""

    table: Table
    partition: TableName | None = None

    @property
    def relation(self) -> TableName:
        """What goes when the set is dropped."""
        return self.partition or self.table.name


def row_sets(tables: Mapping[TableName, Table]) -> Mapping[str, RowSet]:
    """Every set of rows that a manifest could name, by its name."""

    def every() -> Iterator[tuple[str, RowSet]]:
        for name, table in tables.items():
            yield set_of(name), RowSet(table)
            for partition in table.partitions:
                yield set_of(name, partition), RowSet(table, partition)

    return dict(every())


def row_digest(alias: str) -> sql.Composed:
    """SHA-256 of a row's text, in SQL; sessions of ours print values the same way everywhere."""
    # ROW(t.*) and not t: a column may have the alias's name.
    return sql.SQL("sha256(convert_to(ROW({}.*)::text, 'UTF8'))").format(sql.Identifier(alias))


def keyless_key(digest: bytes, number: int) -> bytes:
    """The key of the ``number``-th (from 1) of equal rows without a key."""
    return digest + struct.pack("!I", number)


def keyless_digest(key: bytes) -> bytes:
    """The digest in such a key."""
    return key[:32]


def object_key(oid: int) -> bytes:
    """The key of a large object, and of a planted row: its number."""
    return struct.pack("!Q", oid)


def object_number(key: bytes) -> int:
    """The number in such a key."""
    return int(struct.unpack("!Q", key)[0])
