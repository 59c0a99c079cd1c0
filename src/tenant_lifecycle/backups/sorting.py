"""Sorting more records than memory holds: sorted runs in nameless temporary files, then one merge.

Runs are encrypted with a key that exists in this process only: what a crash or a disk keeps of them is noise.
"""

from __future__ import annotations

import heapq
import os
import struct
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MEMORY_BYTES = 48 << 20
#: What Python keeps beside the bytes of a pair.
_PAIR_BYTES = 200
_PIECE_BYTES = 256 << 10
_LENGTHS = struct.Struct(">II")
_PIECE = struct.Struct(">I")

#: Sorted by the first, then by the second.
Pair = tuple[bytes, bytes]


class Sorter:
    """Takes pairs in any order, gives them back sorted, once; closes its files with its context."""

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._most = memory_bytes
        self._held: list[Pair] = []
        self._bytes = 0
        self._runs: list[_Run] = []

    def __enter__(self) -> Sorter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._runs:
            run.close()

    def add(self, key: bytes, value: bytes) -> None:
        self._held.append((key, value))
        self._bytes += len(key) + len(value) + _PAIR_BYTES
        if self._bytes > self._most:
            self._held.sort()
            self._runs.append(_Run(self._held))
            self._held, self._bytes = [], 0

    def sorted(self) -> Iterator[Pair]:
        """All of them; pairs that are equal as often as they were added."""
        self._held.sort()
        return heapq.merge(*(run.pairs() for run in self._runs), self._held)


class _Run:
    """One sorted run on disk."""

    def __init__(self, pairs: list[Pair]) -> None:
        self._cipher = AESGCM(os.urandom(32))
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="tenant-lifecycle-sort-")  # noqa: SIM115 closed by the sorter
        self._pieces = 0
        piece = bytearray()
        for key, value in pairs:
            piece += _LENGTHS.pack(len(key), len(value)) + key + value
            if len(piece) >= _PIECE_BYTES:
                self._write(piece)
                piece = bytearray()
        self._write(piece)

    def pairs(self) -> Iterator[Pair]:
        self._file.seek(0)
        for number in range(self._pieces):
            (length,) = _PIECE.unpack(self._file.read(_PIECE.size))
            piece = self._cipher.decrypt(_nonce(number), self._file.read(length), None)
            at = 0
            while at < len(piece):
                key_bytes, value_bytes = _LENGTHS.unpack_from(piece, at)
                at += _LENGTHS.size
                yield piece[at : at + key_bytes], piece[at + key_bytes : at + key_bytes + value_bytes]
                at += key_bytes + value_bytes

    def close(self) -> None:
        self._file.close()

    def _write(self, piece: bytearray) -> None:
        sealed = self._cipher.encrypt(_nonce(self._pieces), bytes(piece), None)
        self._file.write(_PIECE.pack(len(sealed)) + sealed)
        self._pieces += 1


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
