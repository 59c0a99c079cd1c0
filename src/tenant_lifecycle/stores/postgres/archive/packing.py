"""Cells as bytes, for the index and for transactions that are too large for memory."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from tenant_lifecycle.model.backup.items import Cell

_SIZE = Struct(">i")
_NULL = _SIZE.pack(-1)


def packed(cells: Sequence[Cell]) -> bytes:
    """Each with its length; NULL has the length -1."""
    return b"".join([_NULL if cell is None else _SIZE.pack(len(cell)) + cell for cell in cells])


def unpacked(data: bytes) -> tuple[Cell, ...]:
    """The inverse of `packed`."""
    cells: list[Cell] = []
    at = 0
    while at < len(data):
        (size,) = _SIZE.unpack_from(data, at)
        at += 4
        cells.append(None if size < 0 else data[at : at + size])
        at += max(size, 0)
    return tuple(cells)
