"""Keys as parameters: the fields of many COPY BINARY rows, turned by column into binary arrays.

``unnest($1, $2 ...)`` makes rows of them again, exactly, in one round trip and without a temporary table; so
this works in a flip and on a session that may not create anything. The array's type comes from a cast in
the statement, so the same statement serves any number of keys.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import psycopg
from psycopg import sql

from tenant_lifecycle.stores.postgres.comparison import Side
from tenant_lifecycle.stores.postgres.fingerprints import Form
from tenant_lifecycle.stores.postgres.rawsql import BinaryArray

#: Keys in one statement at most; more are sent in several.
BATCH = 5_000


#: Fields of many keys by key column, each field behind its length, as COPY and arrays have it.
Fields = Sequence[Sequence[bytes]]


def key_fields(keys: Sequence[bytes], width: int) -> Fields:
    """The fields of keys of ``width`` columns; the same for both sides.

    Raises:
        psycopg.DataError: something is not such a key.
    """
    if width == 1:
        return [[_only_field(key) for key in keys]]
    return list(zip(*(_fields(key, width) for key in keys), strict=True))


def key_arrays(side: Side, fields: Fields) -> list[BinaryArray]:
    """One array for each key column; element types are the side's own, whose numbers differ by database."""
    return [_array(form.type_oid, column) for form, column in zip(side.key, fields, strict=True)]


def _array(element_oid: int, fields: Sequence[bytes]) -> BinaryArray:
    # array_recv: dimensions, flag for NULLs, element type; for the dimension its length and lower bound.
    header = struct.pack("!iiIii", 1, 0, element_oid, len(fields), 1)
    return BinaryArray(header + b"".join(fields))


def keys_sql(side: Side, first: int = 1) -> sql.Composed:
    """``unnest`` over the arrays of `key_arrays`, as ``k(k0, k1, ..., i)``; ``i`` counts from 1."""
    arrays = [array_sql(form, first + n) for n, form in enumerate(side.key)]
    return sql.SQL("unnest({}) WITH ORDINALITY AS k({}, i)").format(
        sql.SQL(", ").join(arrays), sql.SQL(", ").join([sql.Identifier(f"k{n}") for n in range(len(arrays))])
    )


def array_sql(form: Form, number: int) -> sql.Composable:
    """The numbered parameter as an array of the column's type."""
    return sql.SQL(f"${number}::{form.type}[]")


def key_matches(side: Side, alias: str) -> sql.Composed:
    """The condition that the row ``alias`` has the key ``k``."""
    return sql.SQL(" AND ").join(
        [
            sql.SQL("{} = {}").format(sql.Identifier(alias, form.name), sql.Identifier("k", f"k{n}"))
            for n, form in enumerate(side.key)
        ]
    )


def _only_field(key: bytes) -> bytes:
    if key[:2] != b"\0\1" or int.from_bytes(key[2:6], "big") != len(key) - 6:
        raise psycopg.DataError("not a key of one column")
    return key[2:]


def _fields(key: bytes, width: int) -> list[bytes]:
    """The fields of a COPY BINARY row, each with its length before it."""
    (count,) = struct.unpack_from("!h", key)
    fields, at = [], 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", key, at)
        fields.append(key[at : at + 4 + length])
        at += 4 + length
    if count != width or at != len(key):
        raise psycopg.DataError(f"not a key of {width} column(s)")
    return fields
