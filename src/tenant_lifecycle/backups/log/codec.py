"""Frames as bytes and back: the form inside of a sealed block of the change log, version 1.

A block can be read alone. All numbers are big-endian; lengths have a fixed width, because one call packs all of an
operation's, and compression takes their zeros away (docs/backups/log.md has the layout byte by byte).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Cell,
    Delete,
    Frame,
    Op,
    PatchCell,
    Reshape,
    Truncate,
    Unknown,
    Upsert,
)  # fmt: skip
from tenant_lifecycle.model.backup.shape import Column, Shape

#: A block is closed when it holds so many bytes of cells; a larger frame has one to itself.
BLOCK_BYTES = 512 * 1024
_UPSERT, _DELETE, _TRUNCATE, _UNKNOWN, _RESHAPE = range(1, 6)
#: Lengths that say that there is none.
_NULL, _UNCHANGED, _NO_OLD_KEY = -1, -2, -1
_COUNT = struct.Struct(">I")
#: Position, at_us, transaction (0: none), how long before at_us it was not there (-1: not told), operations.
_FRAME = struct.Struct(">QqQqI")
_OP = struct.Struct(">BH")
_KEYED = struct.Struct(">BHi")
_ROW = struct.Struct(">BHiiH")

Encoder = Callable[[Any, int, Callable[[bytes], None]], None]
Decoder = Callable[[bytes, int, str], tuple[Op, int]]


def encode(frames: Iterable[Frame]) -> bytes:
    """One block."""
    names: dict[str, int] = {}
    body: list[bytes] = []
    count = 0
    for frame in frames:
        count += 1
        _encode_frame(frame, names, body.append)
    return b"".join([_names(names), _COUNT.pack(count), *body])


def decode(block: bytes) -> list[Frame]:
    """The inverse of `encode`.

    Raises:
        ValueError: it is no block of this form, or ends too soon or too late.
    """
    try:
        names, at = _read_names(block)
        (count,) = _COUNT.unpack_from(block, at)
        at += _COUNT.size
        frames: list[Frame] = []
        for _ in range(count):
            frame, at = _decode_frame(block, at, names)
            frames.append(frame)
    except (struct.error, IndexError, KeyError, TypeError) as exc:
        raise ValueError("no block of frames") from exc
    if at != len(block):
        raise ValueError(f"a block of frames with {len(block)} bytes ends at {at}")
    return frames


def blocks(frames: Iterable[Frame]) -> Iterator[bytes]:
    """The frames in blocks of about `BLOCK_BYTES`, in order."""
    waiting: list[Frame] = []
    held = 0
    for frame in frames:
        waiting.append(frame)
        held += weight(frame)
        if held >= BLOCK_BYTES:
            yield encode(waiting)
            waiting, held = [], 0
    if waiting:
        yield encode(waiting)


def weight(frame: Frame) -> int:
    """Bytes of its keys and cells, about."""
    return sum(_op_weight(op) for op in frame.ops) + _FRAME.size


def _op_weight(op: Op) -> int:
    if isinstance(op, Upsert):
        return len(op.key) + sum(len(cell) for cell in op.cells if isinstance(cell, bytes)) + 16
    return 32


def _names(names: Mapping[str, int]) -> bytes:
    written = [name.encode("utf-8", "surrogatepass") for name in names]
    return _COUNT.pack(len(written)) + b"".join(_COUNT.pack(len(name)) + name for name in written)


def _read_names(block: bytes) -> tuple[list[str], int]:
    (count,), at = _COUNT.unpack_from(block, 0), _COUNT.size
    names: list[str] = []
    for _ in range(count):
        name, at = _read_bytes(block, at)
        names.append(name.decode("utf-8", "surrogatepass"))
    return names, at


def _read_bytes(block: bytes, at: int) -> tuple[bytes, int]:
    """Four bytes of length, and so many bytes."""
    (length,) = _COUNT.unpack_from(block, at)
    start, end = at + _COUNT.size, at + _COUNT.size + length
    if end > len(block):
        raise ValueError("a block of frames is cut off")
    return block[start:end], end


def _encode_frame(frame: Frame, names: dict[str, int], write: Callable[[bytes], None]) -> None:
    since = -1 if frame.not_before_us is None else frame.at_us - frame.not_before_us
    write(_FRAME.pack(frame.position, frame.at_us, frame.xid or 0, since, len(frame.ops)))
    for op in frame.ops:
        name = op.shape.set if isinstance(op, Reshape) else op.set
        _ENCODERS[type(op)](op, names.setdefault(name, len(names)), write)


def _decode_frame(block: bytes, at: int, names: Sequence[str]) -> tuple[Frame, int]:
    position, at_us, xid, since, count = _FRAME.unpack_from(block, at)
    at += _FRAME.size
    ops: list[Op] = []
    for _ in range(count):
        kind, name = _OP.unpack_from(block, at)
        op, at = _DECODERS[kind](block, at, names[name])
        ops.append(op)
    return Frame(position, at_us, tuple(ops), xid or None, None if since < 0 else at_us - since), at


@cache
def _lengths(cells: int) -> struct.Struct:
    return struct.Struct(f">{cells}i")


def _encode_upsert(op: Upsert, name: int, write: Callable[[bytes], None]) -> None:
    cells, old = op.cells, op.old_key
    write(_ROW.pack(_UPSERT, name, len(op.key), _NO_OLD_KEY if old is None else len(old), len(cells)))
    write(_lengths(len(cells)).pack(*map(_length, cells)))
    write(op.key)
    if old is not None:
        write(old)
    write(b"".join([cell for cell in cells if isinstance(cell, bytes)]))


def _length(cell: PatchCell) -> int:
    if cell is None:
        return _NULL
    return _UNCHANGED if cell is UNCHANGED else len(cell)


def _decode_upsert(block: bytes, at: int, name: str) -> tuple[Op, int]:
    _, _, key_length, old_length, count = _ROW.unpack_from(block, at)
    lengths = _lengths(count).unpack_from(block, at + _ROW.size)
    at += _ROW.size + 4 * count
    key, at = block[at : at + key_length], at + key_length
    old = None
    if old_length >= 0:
        old, at = block[at : at + old_length], at + old_length
    cells: list[PatchCell] = [
        block[at : (at := at + length)] if length >= 0 else None if length == _NULL else UNCHANGED
        for length in lengths
    ]
    _inside(block, at)
    return Upsert(name, key, tuple(cells), old), at


def _encode_keyed(kind: int) -> Encoder:
    def write_it(op: Delete | Unknown, name: int, write: Callable[[bytes], None]) -> None:
        write(_KEYED.pack(kind, name, len(op.key)))
        write(op.key)

    return write_it


def _decode_keyed(make: type[Delete] | type[Unknown]) -> Decoder:
    def read_it(block: bytes, at: int, name: str) -> tuple[Op, int]:
        _, _, length = _KEYED.unpack_from(block, at)
        start, end = at + _KEYED.size, at + _KEYED.size + length
        _inside(block, end)
        return make(name, block[start:end]), end

    return read_it


def _inside(block: bytes, end: int) -> None:
    if end > len(block):
        raise ValueError("a block of frames is cut off")


def _encode_truncate(_: Truncate, name: int, write: Callable[[bytes], None]) -> None:
    write(_OP.pack(_TRUNCATE, name))


def _decode_truncate(_: bytes, at: int, name: str) -> tuple[Op, int]:
    return Truncate(name), at + _OP.size


def _encode_reshape(op: Reshape, name: int, write: Callable[[bytes], None]) -> None:
    told = {
        "columns": [asdict(column) for column in op.shape.columns], "key": op.shape.key, "carried": op.carried,
        "filled": [(column, None if cell is None else cell.hex()) for column, cell in op.filled],
    }  # fmt: skip
    document = json.dumps(told, sort_keys=True).encode()
    write(_OP.pack(_RESHAPE, name) + _COUNT.pack(len(document)) + document)


def _decode_reshape(block: bytes, at: int, name: str) -> tuple[Op, int]:
    document, at = _read_bytes(block, at + _OP.size)
    told = json.loads(document)
    shape = Shape(name, tuple(Column(**column) for column in told["columns"]), tuple(told["key"]))
    carried = tuple((new, old) for new, old in told["carried"])
    return Reshape(shape, carried, tuple((column, _unhex(cell)) for column, cell in told["filled"])), at


def _unhex(cell: str | None) -> Cell:
    return None if cell is None else bytes.fromhex(cell)


_ENCODERS: Mapping[type[Any], Encoder] = {
    Upsert: _encode_upsert,
    Delete: _encode_keyed(_DELETE),
    Truncate: _encode_truncate,
    Unknown: _encode_keyed(_UNKNOWN),
    Reshape: _encode_reshape,
}
_DECODERS: Mapping[int, Decoder] = {
    _UPSERT: _decode_upsert,
    _DELETE: _decode_keyed(Delete),
    _TRUNCATE: _decode_truncate,
    _UNKNOWN: _decode_keyed(Unknown),
    _RESHAPE: _decode_reshape,
}
