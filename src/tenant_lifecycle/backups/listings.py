"""The blocks of a set in order, and what each refers to: what a reader follows, and a sweeper marks.

::

    listing = 0x01 entry*
    entry   = block id (32) | varint records | bytes first key | varint n | n * 32 bytes: chunks that the block refers to
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.backups.rows import read_varint, varint
from tenant_lifecycle.backups.sealing import ID_BYTES
from tenant_lifecycle.errors import RepositoryDamaged

LISTING = b"\x01"
#: A listing ends after so many bytes; a set has as many as it needs.
LISTING_BYTES = 512 << 10


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """One block of records."""

    id: bytes
    records: int
    first_key: bytes
    #: Contents of large cells, each once.
    chunks: tuple[bytes, ...]

    def encode(self) -> bytes:
        return b"".join(
            (
                self.id, varint(self.records), varint(len(self.first_key)), self.first_key,
                varint(len(self.chunks)), *self.chunks,
            )
        )  # fmt: skip


def entries(name: str, listing: bytes) -> Iterator[BlockEntry]:
    """What a listing lists; ``name`` is for the error.

    Raises:
        RepositoryDamaged: another version wrote it.
    """
    if listing[:1] != LISTING:
        raise RepositoryDamaged(f"{name}: holds no listing that this version can read")
    at = 1
    while at < len(listing):
        block = listing[at : at + ID_BYTES]
        records, at = read_varint(listing, at + ID_BYTES)
        length, at = read_varint(listing, at)
        first, at = listing[at : at + length], at + length
        number, at = read_varint(listing, at)
        ends = at + number * ID_BYTES
        chunks = tuple(listing[one : one + ID_BYTES] for one in range(at, ends, ID_BYTES))
        at = ends
        yield BlockEntry(block, records, first, chunks)
