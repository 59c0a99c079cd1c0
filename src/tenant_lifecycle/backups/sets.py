"""Storing one set: items are sorted, cut into blocks where their keys say so, and stored unless they are there already.

Where a block ends depends on the keys in it and not on their number, so blocks before and behind an inserted row are
the same as in the last base.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tenant_lifecycle.backups.chunks import cut
from tenant_lifecycle.backups.listings import LISTING, LISTING_BYTES, BlockEntry
from tenant_lifecycle.backups.packs import PackWriter
from tenant_lifecycle.backups.rows import (
    ROWS,
    Chunks,
    Lying,
    Record,
    encode,
    encode_item,
    read_varint,
    varint,
)
from tenant_lifecycle.backups.sealing import ID_BYTES
from tenant_lifecycle.backups.sorting import Sorter
from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.manifest import SetStored
from tenant_lifecycle.model.backup.shape import Shape

#: A block ends behind the first of these sizes at a key that says so (one in 256 does), behind the second at any.
LEAST_BLOCK, MOST_BLOCK = 256 << 10, 1 << 20
#: Cells from here on are contents of their own.
LARGE_CELL = 64 << 10
_NO_CHUNKS = varint(0)


@dataclass(frozen=True, slots=True)
class WritingKeys:
    """The subkeys that writing needs."""

    fingerprint: bytes = field(repr=False)
    cut: bytes = field(repr=False)


class SetWriter:
    """Turns the items of one set into contents; one for each set."""

    def __init__(self, packs: PackWriter, keys: WritingKeys) -> None:
        self._packs = packs
        self._keys = keys
        self._prints = Fingerprint()
        self._raw = self._stored = 0

    def items(self, shape: Shape, items: Iterable[Item]) -> tuple[tuple[bytes, ...], SetStored]:
        """Store them, in bounded memory and any order; the ids of their listings, and what is to be said of them."""
        listings = self._sorted_and_stored(self._encoded(shape, item) for item in items)
        return listings, SetStored(shape, self._prints, self._raw, self._stored)

    def gone(self, keys: Iterable[bytes]) -> tuple[bytes, ...]:
        """Store that these keys are not there any more; the ids of their listings."""
        return self._sorted_and_stored((key, _NO_CHUNKS + encode(Record(key, 0, None))) for key in keys)

    def _sorted_and_stored(self, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
        with Sorter() as sorter:
            for key, value in pairs:
                sorter.add(key, value)
            return tuple(self._listings(self._blocks(sorter.sorted())))

    def _encoded(self, shape: Shape, item: Item) -> tuple[bytes, bytes]:
        if item.set != shape.set or len(item.cells) != len(shape.columns):
            raise InvariantViolated(
                f"an item of {item.set!r} with {len(item.cells)} cells was written into the set {shape.set!r}, "
                f"whose shape has {len(shape.columns)}"
            )
        size = sum(map(len, filter(None, item.cells)))
        self._prints = self._prints.plus(self._keys.fingerprint, item)
        self._raw += len(item.key) + size
        if size < LARGE_CELL:
            return item.key, _NO_CHUNKS + encode_item(item.key, item.at_us, item.cells)
        cells = tuple(self._lying(cell) for cell in item.cells)
        chunks = [one for cell in cells if isinstance(cell, Chunks) for one in cell.ids]
        # The chunks stand in front while the record is sorted, so that its block knows them.
        return item.key, b"".join((varint(len(chunks)), *chunks, encode_item(item.key, item.at_us, cells)))

    def _lying(self, cell: Cell) -> Lying:
        if cell is None or len(cell) < LARGE_CELL:
            return cell
        return Chunks(tuple(self._store(piece) for piece in cut(self._keys.cut, cell)))

    def _store(self, content: bytes) -> bytes:
        found, stored_bytes = self._packs.add(content)
        self._stored += stored_bytes
        return found

    def _blocks(self, pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[BlockEntry]:
        block = _Block()
        for key, value in pairs:
            block.add(key, value)
            if block.size >= MOST_BLOCK or (block.size >= LEAST_BLOCK and self._ends_block(key)):
                yield self._entry(block)
                block = _Block()
        if block.records:
            yield self._entry(block)

    def _entry(self, block: _Block) -> BlockEntry:
        stored = self._store(ROWS + b"".join(block.records))
        return BlockEntry(stored, len(block.records), block.first, tuple(block.chunks))

    def _ends_block(self, key: bytes) -> bool:
        return hmac.digest(self._keys.cut, key, hashlib.sha256)[0] == 0

    def _listings(self, entries: Iterator[BlockEntry]) -> Iterator[bytes]:
        held, size = [LISTING], 0
        for entry in entries:
            held.append(entry.encode())
            size += len(held[-1])
            if size >= LISTING_BYTES:
                yield self._store(b"".join(held))
                held, size = [LISTING], 0
        if size:
            yield self._store(b"".join(held))


class _Block:
    """Records until a block is full."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        #: Each once, in order.
        self.chunks: dict[bytes, None] = {}
        self.first = b""
        self.size = 0

    def add(self, key: bytes, value: bytes) -> None:
        if not self.records:
            self.first = key
        number, at = read_varint(value, 0)
        for _ in range(number):
            self.chunks[value[at : at + ID_BYTES]] = None
            at += ID_BYTES
        self.records.append(value[at:])
        self.size += len(value) - at
