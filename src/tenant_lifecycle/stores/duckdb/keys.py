"""Keys of rows that have none: MD5 of all values, and a number among equal rows."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator

#: Keys in one batch; each batch reads its table once.
BATCH_KEYS = 50_000


def numbered(digests: Iterable[str]) -> Iterator[bytes]:
    """Keys of rows whose digests come in order."""
    last, number = "", 0
    for digest in digests:
        last, number = (last, number + 1) if digest == last else (digest, 1)
        yield bytes.fromhex(digest) + struct.pack("!I", number)


def wanted(keys: Iterable[bytes]) -> Counter[str]:
    """How many rows of each digest some keys are of."""
    return Counter(key[:16].hex() for key in keys)


def still_there(keys: Iterable[bytes], there: Counter[str]) -> frozenset[bytes]:
    """As many of the keys of each digest as there are rows with it."""
    left, found = there.copy(), []
    for key in keys:
        digest = key[:16].hex()
        if left[digest] > 0:
            left[digest] -= 1
            found.append(key)
    return frozenset(found)
