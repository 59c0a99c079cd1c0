"""How items lie in a block: one after the other, in order of keys.

::

    block   = 0x01 record*
    record  = kind (0 item, 1 gone) | bytes key | varint at_us | varint number of cells | cell*      (gone: key only)
    cell    = varint 0                                       null
            | varint 1 | varint n | n * 32 bytes             too large for a block: the ids of its chunks, in order
            | varint (2 + length) | length bytes             the cell
    bytes   = varint length | bytes
    varint  = 7 bits each, lowest first, the highest bit says that more follow
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.sealing import ID_BYTES
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Cell

ROWS = b"\x01"
ITEM, GONE = 0, 1


@dataclass(frozen=True, slots=True)
class Chunks:
    """A cell that lies in contents of its own."""

    ids: tuple[bytes, ...]


#: A cell as it lies in a record.
Lying = Cell | Chunks


@dataclass(frozen=True, slots=True)
class Record:
    """One item of a block, or with ``cells`` None the word that its key is gone."""

    key: bytes
    at_us: int
    cells: tuple[Lying, ...] | None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


#: Nearly every number is one of these.
_SHORT = [_varint(number) for number in range(1 << 12)]


def varint(number: int) -> bytes:
    """A number of at least 0."""
    return _SHORT[number] if number < len(_SHORT) else _varint(number)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends. Raises IndexError where the data ends."""
    number = data[at]
    at += 1
    if number < 128:
        return number, at
    number &= 127
    shift = 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def encode(record: Record) -> bytes:
    """The record's bytes."""
    if record.cells is None:
        return b"".join((_SHORT[GONE], varint(len(record.key)), record.key))
    return encode_item(record.key, record.at_us, record.cells)


def encode_item(key: bytes, at_us: int, cells: Sequence[Lying]) -> bytes:
    """The bytes of an item's record."""
    parts = [_SHORT[ITEM], varint(len(key)), key, varint(at_us), varint(len(cells))]
    for cell in cells:
        if cell is None:
            parts.append(_SHORT[0])
        elif isinstance(cell, Chunks):
            parts += (_SHORT[1], varint(len(cell.ids)), *cell.ids)
        else:
            parts.append(varint(len(cell) + 2))
            parts.append(cell)
    return b"".join(parts)


def decode(name: str, block: bytes) -> Iterator[Record]:
    """The records of a block; ``name`` is for the error.

    Raises:
        RepositoryDamaged: it is no block of records (and yet authentic: another version wrote it).
    """
    if block[:1] != ROWS:
        raise RepositoryDamaged(f"{name}: holds no records that this version can read")
    at = 1
    try:
        while at < len(block):
            record, at = _record(block, at)
            yield record
    except IndexError as exc:
        raise RepositoryDamaged(f"{name}: ends inside a record") from exc
    if at != len(block):
        raise RepositoryDamaged(f"{name}: ends inside a record")


def _record(block: bytes, at: int) -> tuple[Record, int]:
    kind = block[at]
    length, at = read_varint(block, at + 1)
    key = block[at : at + length]
    at += length
    if kind == GONE:
        return Record(key, 0, None), at
    at_us, at = read_varint(block, at)
    count, at = read_varint(block, at)
    cells: list[Lying] = []
    for _ in range(count):
        tag, at = read_varint(block, at)
        if tag > 1:
            cells.append(block[at : at + tag - 2])
            at += tag - 2
        elif tag == 0:
            cells.append(None)
        else:
            number, at = read_varint(block, at)
            ends = at + number * ID_BYTES
            cells.append(Chunks(tuple(block[one : one + ID_BYTES] for one in range(at, ends, ID_BYTES))))
            at = ends
    return Record(key, at_us, tuple(cells)), at
