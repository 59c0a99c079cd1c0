"""When two values are equal in SQL exactly if their binary forms are, or can be made so.

Deciding ownership in the stream needs it. Types for which it does not hold (floats, citext, json, text with a
collation that calls different strings equal) are refused by name, never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable

from psycopg import sql

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.feed.binary_copy import copy_out
from tenant_lifecycle.stores.postgres.feed.layout import StreamColumn

#: Turns a field into a form that is equal exactly when the values are; None: the field is that form.
Normal = Callable[[bytes], bytes]

_INTEGERS = {20, 21, 23}
_TEXTS = {25, 1043}
_BPCHAR, _NUMERIC = 1042, 1700
#: bool, bytea, "char", name, oid, date, time, timestamp, timestamptz, uuid, macaddr, inet, cidr.
_EXACT = {16, 17, 18, 19, 26, 1082, 1083, 1114, 1184, 2950, 829, 869, 650, *_INTEGERS, *_TEXTS}


def comparable(
    store: str, table: TableName, child: StreamColumn, parent: StreamColumn
) -> tuple[Normal | None, Normal | None]:
    """How the fields of a reference and of what it refers to are made comparable.

    Raises:
        StoreRejected: they cannot be.
    """
    if child.base_oid == parent.base_oid:
        normal = alone(store, table, child)
        alone(store, table, parent)
        return normal, normal
    if child.base_oid in _INTEGERS and parent.base_oid in _INTEGERS:
        return _wide_integer, _wide_integer
    if child.base_oid in _TEXTS and parent.base_oid in _TEXTS and child.exact and parent.exact:
        return None, None
    raise _refused(store, table, child)


def alone(store: str, table: TableName, column: StreamColumn) -> Normal | None:
    """How a column's field is compared with another of the same type.

    Raises:
        StoreRejected: its bytes do not say whether values are equal.
    """
    if not column.exact:
        raise _refused(store, table, column)
    if column.base_oid in _EXACT or column.base_kind == "e":
        return None
    if column.base_oid == _BPCHAR:
        return _unpadded
    if column.base_oid == _NUMERIC:
        return _without_scale
    raise _refused(store, table, column)


def field_of(conn: Connection, store: str, table: TableName, column: str, value: str) -> bytes:
    """The field that a column holding ``value`` has: the source casts it, so there is one truth.

    Raises:
        StoreRejected: the value is not one of the column's type.
    """
    query = sql.SQL(
        "COPY (SELECT x FROM (SELECT {column} AS x FROM {table} WHERE false UNION ALL SELECT {value}) s) "
        "TO STDOUT (FORMAT BINARY)"
    ).format(
        column=sql.Identifier(column),
        table=sql.Identifier(table.schema, table.name),
        value=sql.Literal(value),
    )
    with translating(store):
        (row,) = copy_out(conn, query)
    return row[2:]


def _wide_integer(field: bytes) -> bytes:
    return int.from_bytes(field[4:], "big", signed=True).to_bytes(8, "big", signed=True)


def _unpadded(field: bytes) -> bytes:
    return field[4:].rstrip(b" ")


def _without_scale(field: bytes) -> bytes:
    """numeric: digits, weight and sign without the display scale (1.0 = 1.00)."""
    return field[4:10] + field[12:]


def _refused(store: str, table: TableName, column: StreamColumn) -> StoreRejected:
    return StoreRejected(
        f"{store}: ownership of {table} depends on column {column.name}, whose type or collation calls values "
        "equal that are written differently, so it cannot be decided in the stream",
        store=store,
        next_step=f"own {table} through a column of type uuid, integer or text with a deterministic collation",
    )
