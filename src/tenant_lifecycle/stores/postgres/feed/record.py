"""What travels from the receiver to the applier: the tenant's changes of one transaction, and markers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import Struct

#: Kinds of changes. PUT: the row is now this. DROP: the row of that key is gone (key columns only; the whole
#: row for a table without a key). PART: these columns are now so, the others did not change and were not
#: sent. REREAD: read the row of that key from the source. ADOPT: a parent row appeared, whose children may have
#: been written before it: look for them at the source.
PUT, DROP, PART, REREAD, ADOPT = range(5)
#: PUT: the row was inserted, so the target should not have it.
FRESH = 1
#: DROP: the row is a parent that is known to have been the tenant's.
KNOWN = 1
#: DROP, in a batch: the row was inserted in the same batch.
WAS_FRESH = 2

#: Kind, number of the table, key (COPY BINARY row; empty for a table without a key), row (fields without
#: count), and bits: for PART the sent columns, for ADOPT the edges, for PUT and DROP those below.
Change = tuple[int, int, bytes, bytes, int]

_HEAD = Struct(">BQQdII")
_CHANGE = Struct(">BHIHI")
_MARKER = Struct(">H")

_LAST = 1


@dataclass(slots=True)
class Record:
    """One committed transaction of the source, as far as it concerns the tenant; or only a position."""

    #: Position behind the commit record: when this is applied, everything before it is.
    position: int
    #: Position of the commit record itself, for comparison with a snapshot's.
    committed: int
    #: When it was received, seconds since the epoch, on our clock.
    received: float
    changes: list[Change] = field(default_factory=list)
    #: Names of markers in it; they are passed when the record is applied.
    markers: list[str] = field(default_factory=list)
    #: True: the target must write it down even if nothing changes (progress, canary).
    forced: bool = False
    #: For a transaction that is too large for memory: reads its changes piece by piece, as often as asked.
    pieces: Callable[[], Iterator[list[Change]]] | None = None
    #: Number of changes, also where they are in pieces.
    count: int = 0

    def parts(self) -> Iterator[list[Change]]:
        """All changes in order, in lists that fit into memory."""
        if self.pieces is None:
            yield self.changes
        else:
            yield from self.pieces()


def encode(record: Record, *, last: bool = True) -> bytes:
    """One frame's content. ``last`` is False for the leading pieces of a large transaction."""
    flags = (_LAST if last else 0) | (2 if record.forced else 0)
    parts = [
        _HEAD.pack(
            flags,
            record.position,
            record.committed,
            record.received,
            len(record.changes),
            len(record.markers),
        )
    ]
    pack = _CHANGE.pack
    for kind, table, key, row, mask in record.changes:
        bits = mask.to_bytes((mask.bit_length() + 7) // 8, "big") if mask else b""
        parts.append(pack(kind, table, len(key), len(bits), len(row)))
        parts.append(key)
        parts.append(bits)
        parts.append(row)
    for marker in record.markers:
        name = marker.encode()
        parts.append(_MARKER.pack(len(name)))
        parts.append(name)
    return b"".join(parts)


def decode(data: bytes) -> tuple[Record, bool]:
    """The record of a frame, and whether it is the last piece of its transaction."""
    flags, position, committed, received, count, markers = _HEAD.unpack_from(data)
    at = _HEAD.size
    changes: list[Change] = []
    add = changes.append
    unpack = _CHANGE.unpack_from
    size = _CHANGE.size
    for _ in range(count):
        kind, table, key_size, mask_size, row_size = unpack(data, at)
        key_end = at + size + key_size
        mask_end = key_end + mask_size
        end = mask_end + row_size
        mask = int.from_bytes(data[key_end:mask_end], "big") if mask_size else 0
        add((kind, table, data[at + size : key_end], data[mask_end:end], mask))
        at = end
    names = []
    for _ in range(markers):
        (length,) = _MARKER.unpack_from(data, at)
        at += _MARKER.size
        names.append(data[at : at + length].decode())
        at += length
    record = Record(position, committed, received, changes, names, bool(flags & 2), None, count)
    return record, bool(flags & _LAST)


def head(data: bytes) -> tuple[int, int, bool]:
    """Position, number of changes and whether it is the last piece, without decoding the changes."""
    flags, position, _, _, count, _ = _HEAD.unpack_from(data)
    return position, count, bool(flags & _LAST)
