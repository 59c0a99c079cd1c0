"""Cutting large cells where their content says so: what is inserted at the front moves no cut behind it.

A gear hash over the last 64 bytes (Xia et al., FastCDC, USENIX ATC 2016), with its normalised chunking: cuts are
rarer than average before the wanted size and more frequent behind it. The table of the hash comes from the tenant's
key, so sizes of chunks do not tell what is inside (short of the attacks of Truong et al., 2025).

The hash of every position is computed at once: h64[i] is the sum of gear[byte[i-k]] << k, and doubling the window,
h2w[i] = hw[i] + (hw[i-w] << w), needs six additions of whole arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAST, WANTED, MOST = 256 << 10, 1 << 20, 4 << 20
_WINDOW = 64
#: Hashed at once: so much stays in a processor cache of the second level.
_PIECE = 32 << 10
#: The highest bits depend on all 64 bytes. Two bits more than the wanted size asks for before it, two fewer behind.
_RARE = np.uint64(((1 << 22) - 1) << 42)
_OFTEN = np.uint64(((1 << 18) - 1) << 46)


def cut(key: bytes, data: bytes) -> Iterator[bytes]:
    """The pieces of data in order, 256 KiB to 4 MiB each but for the last; equal data and key, equal pieces."""
    begin = 0
    for end in _cuts(key, data):
        yield data[begin:end]
        begin = end


def _cuts(key: bytes, data: bytes) -> Iterator[int]:
    places = list(_places(_gear(key), data))
    begin = first = 0
    while begin < len(data):
        end = min(begin + MOST, len(data))
        while first < len(places) and places[first][0] < begin + LEAST:
            first += 1
        for place, rare in places[first:]:
            if place >= end:
                break
            if rare or place >= begin + WANTED:
                end = place
                break
        yield end
        begin = end


def _places(gear: NDArray[np.uint64], data: bytes) -> Iterator[tuple[int, bool]]:
    """Every position behind which a cut may be, and whether it is a rare one."""
    whole = np.frombuffer(data, dtype=np.uint8)
    for start in range(0, len(data), _PIECE):
        before = min(start, _WINDOW - 1)
        hashes = _hashes(gear, whole[start - before : start + _PIECE])[before:]
        for at in np.flatnonzero((hashes & _OFTEN) == 0):
            yield start + int(at) + 1, not hashes[at] & _RARE


def _hashes(gear: NDArray[np.uint64], data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    hashes = gear[data]
    width = 1
    while width < _WINDOW:
        further = hashes.copy()
        further[width:] += hashes[:-width] << np.uint64(width)
        hashes = further
        width *= 2
    return hashes


@lru_cache(maxsize=64)
def _gear(key: bytes) -> NDArray[np.uint64]:
    stream = hashlib.shake_256(b"tenant-lifecycle gear" + key).digest(256 * 8)
    return np.frombuffer(stream, dtype=">u8").astype(np.uint64)
