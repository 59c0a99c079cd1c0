"""Relations and large objects streamed to us in binary, a megabyte at a time, and looked through."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Found, Looked, Place, Whose
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.keys import COPY_HEADER, COPY_TRAILER
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA
from tenant_lifecycle.stores.tally import Tally

#: Bytes that are looked through at once.
BLOCK = 1 << 20
#: How a compressed value begins: gzip, zlib, zstd, lz4, bzip2, xz, snappy, Parquet. It has to be looked at alone.
_PACKED = re.compile(
    rb"\x1f\x8b|\x78[\x01\x5e\x9c\xda]|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|BZh|\xfd7zXZ|\xff\x06\x00\x00sNaPpY|PAR1"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, materialised view or foreign table."""

    name: TableName
    oid: int
    #: 'r', 'm' or 'f'.
    kind: str
    declared: bool


_COLUMNS = """
SELECT a.attname::text,
       CASE WHEN base.oid IN ('bool'::regtype, 'float4'::regtype, 'float8'::regtype, 'date'::regtype, 'time'::regtype,
                              'timetz'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'interval'::regtype)
            THEN 'skip'
            WHEN base.typsend = 0 OR base.typcategory IN ('N', 'I', 'R', 'V')
                 OR base.oid IN ('tsquery'::regtype, 'xml'::regtype, 'money'::regtype) THEN 'text'
            ELSE 'binary' END
  FROM pg_attribute a JOIN pg_type ty ON ty.oid = a.atttypid
  JOIN pg_type base ON base.oid = CASE WHEN ty.typtype = 'd' THEN ty.typbasetype ELSE ty.oid END
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


def search_relation(conn: Connection, place: Place, relation: Relation, found: Found, check: Check) -> Looked:
    """Go through all rows of a relation, its names excluded (`searchcatalogue` has those)."""
    columns = [(str(name), form) for name, form in conn.execute(_COLUMNS, (relation.oid,)) if form != "skip"]
    address: sql.Composable = sql.SQL("NULL" if relation.kind == "f" else "t.ctid")
    values = [
        sql.SQL("t.{}::text" if form == "text" else "t.{}").format(sql.Identifier(name))
        for name, form in columns
    ]
    query = sql.SQL("COPY (SELECT {} FROM {}{} t{}) TO STDOUT (FORMAT BINARY)").format(
        sql.SQL(", ").join([address, *values]),
        sql.SQL("" if relation.kind == "f" else "ONLY "),
        table_sql(relation.name),
        _tombstones(relation),
    )
    tally = Tally(place.name, found, place.set)
    names = [name for name, _ in columns]
    for rows in _blocks(conn, query):
        check()
        _look_at_rows(tally, rows, names, relation)
    return tally.looked()


def _tombstones(relation: Relation) -> sql.SQL:
    """The tombstone of a tenant is what keeps it out; it is taken away when the last search is over."""
    if relation.name == TableName(OUR_SCHEMA, "fence"):
        return sql.SQL(" WHERE NOT (t.state = 'MOVED' AND t.target IS NULL)")
    return sql.SQL("")


def _blocks(conn: Connection, query: sql.Composed) -> Iterator[list[bytes]]:
    """Rows in pieces of about a megabyte."""
    rows: list[bytes] = []
    size = 0
    with conn.cursor().copy(query) as stream:
        for message in stream:
            row = bytes(message).removeprefix(COPY_HEADER)
            if not row or row == COPY_TRAILER:
                continue
            rows.append(row)
            size += len(row)
            if size >= BLOCK:
                yield rows
                rows, size = [], 0
    if rows:
        yield rows


def _look_at_rows(tally: Tally, rows: Sequence[bytes], names: Sequence[str], relation: Relation) -> None:
    block = b"".join(rows)
    tally.items += len(rows)
    tally.bytes_read += len(block)
    matches = tally.found(block)
    tally.control_found |= any(match.whose is Whose.CONTROL for match in matches)
    mine = [match for match in matches if match.whose is Whose.TENANT]
    before = tally.hit_count
    if mine or _PACKED.search(block):
        for row in rows:
            if mine or _PACKED.search(row):
                _look_at_fields(tally, row, names, relation, every=bool(mine))
    if mine and tally.hit_count == before:
        # In no field by itself, and in them all the same: said, not lost.
        tally.note(f"rows from {_address(split_row(rows[0])[0])} on", mine)


def _look_at_fields(
    tally: Tally, row: bytes, names: Sequence[str], relation: Relation, *, every: bool
) -> None:
    fields = split_row(row)
    for name, value in zip(names, fields[1:], strict=True):
        if value and (every or _PACKED.match(value)):
            proposal = ""
            if not relation.declared:
                proposal = f"{relation.name}: {{rule: direct, column: {name}}}"
            tally.note(f"{_address(fields[0])}, column {name}", tally.found(value), proposal)


def split_row(row: bytes) -> list[bytes | None]:
    """The fields of a COPY BINARY row."""
    (count,) = struct.unpack_from("!h", row)
    fields: list[bytes | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", row, at)
        at += 4
        fields.append(None if length < 0 else row[at : at + length])
        at += max(length, 0)
    return fields


def _address(ctid: bytes | None) -> str:
    if ctid is None:
        return "row"
    return f"row at ({int.from_bytes(ctid[:4], 'big')},{int.from_bytes(ctid[4:], 'big')})"


_PAGES = "COPY (SELECT loid, data FROM pg_largeobject ORDER BY loid, pageno) TO STDOUT (FORMAT BINARY)"
#: What is kept of the end of a block, so that something across two blocks is seen.
_OVERLAP = 8 << 10


def search_objects(conn: Connection, place: Place, found: Found, check: Check) -> Looked:
    """Go through all large objects, each put together from its pages."""
    tally = Tally(place.name, found)
    for oid, data in _object_pieces(conn):
        check()
        tally.look(f"large object {oid}", data)
    (count,) = conn.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() or (0,)
    tally.items = int(str(count))
    return tally.looked()


def _object_pieces(conn: Connection) -> Iterator[tuple[int, bytes]]:
    current, data = -1, b""
    for rows in _blocks(conn, sql.SQL(_PAGES).format()):
        for row in rows:
            number, page = split_row(row)
            oid = int.from_bytes(number or b"", "big")
            if data and (oid != current or len(data) >= BLOCK):
                yield current, data
                data = data[-_OVERLAP:] if oid == current else b""
            current, data = oid, data + (page or b"")
    if data:
        yield current, data
