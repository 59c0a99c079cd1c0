"""Decodes binary messages of PostgreSQL's logical replication protocol, version 1; nothing but bytes in and out.

Format: PostgreSQL documentation, "Logical Replication Message Formats". A column value travels as a kind byte,
a length and the value; without the kind byte it is a field of COPY BINARY, so a *field* here is length plus
value, ready to be copied, and no value is ever decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

#: A NULL as a field of COPY BINARY.
NULL = b"\xff\xff\xff\xff"

#: Kind bytes of column values.
_NULL_KIND, _UNCHANGED_KIND = ord("n"), ord("u")
#: Kinds of tuples.
OLD_KEY, OLD_ROW, NEW_ROW = ord("K"), ord("O"), ord("N")
#: Kinds of messages.
BEGIN, COMMIT, RELATION, INSERT, UPDATE, DELETE = b"BCRIUD"
TRUNCATE, MESSAGE, ORIGIN, TYPE = b"TMOY"

_length = Struct(">i").unpack_from
_begin = Struct(">QqI").unpack_from
_commit = Struct(">BQQq").unpack_from
_message = Struct(">BQ").unpack_from
_truncate = Struct(">IB").unpack_from
_column = Struct(">Ii").unpack_from
_count = Struct(">H").unpack_from
_size = Struct(">I").unpack_from


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """One published column as a Relation message describes it."""

    name: str
    type_oid: int
    type_modifier: int
    #: Part of the replica identity.
    identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """What a Relation message says about a table before its first change."""

    #: The four bytes by which later messages name the table.
    id: bytes
    schema: str
    name: str
    #: As pg_class.relreplident.
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What somebody put into the stream with ``pg_logical_emit_message``."""

    transactional: bool
    position: int
    prefix: str
    content: bytes


def fields(data: bytes, at: int, count: int) -> tuple[list[bytes | None], int]:
    """Read ``count`` column values that start at ``at``; return them and where the next one starts.

    None stands for a TOASTed value that the update left unchanged and that was therefore not sent.
    """
    found: list[bytes | None] = []
    add = found.append
    unpack = _length
    for _ in range(count):
        kind = data[at]
        at += 1
        if (
            kind != _NULL_KIND and kind != _UNCHANGED_KIND
        ):  # 'b' binary, or 't' text where a type has no binary form
            end = at + 4 + unpack(data, at)[0]
            add(data[at:end])
            at = end
        else:
            add(NULL if kind == _NULL_KIND else None)
    return found, at


def begin(data: bytes, at: int) -> tuple[int, int]:
    """LSN of the commit record, and the commit's time in microseconds since 2000-01-01."""
    commit_lsn, at_us, _ = _begin(data, at)
    return commit_lsn, at_us


def commit(data: bytes, at: int) -> tuple[int, int]:
    """LSN of the commit record, and the position behind it."""
    _, commit_lsn, end_lsn, _ = _commit(data, at)
    return commit_lsn, end_lsn


def relation(data: bytes, at: int) -> Relation:
    """Decode a Relation message."""
    identifier = data[at : at + 4]
    schema, at = _text(data, at + 4)
    name, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _count(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        column, at = _text(data, at + 1)
        oid, modifier = _column(data, at)
        at += 8
        columns.append(RelationColumn(column, oid, modifier, bool(flags & 1)))
    return Relation(identifier, schema or "pg_catalog", name, identity, tuple(columns))


def truncated(data: bytes, at: int) -> list[bytes]:
    """The ids of the tables a Truncate message names."""
    count, _ = _truncate(data, at)
    at += 5
    return [data[at + 4 * i : at + 4 * i + 4] for i in range(count)]


def message(data: bytes, at: int) -> LogicalMessage:
    """Decode a logical message."""
    flags, position = _message(data, at)
    prefix, at = _text(data, at + 9)
    (size,) = _size(data, at)
    return LogicalMessage(bool(flags & 1), position, prefix, data[at + 4 : at + 4 + size])


def split_row(body: bytes, count: int) -> list[bytes]:
    """The fields of a COPY BINARY row without its leading count."""
    found = []
    at = 0
    for _ in range(count):
        size: int = _length(body, at)[0]
        end = at + 4 + max(size, 0)
        found.append(body[at:end])
        at = end
    return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
