"""An exactness proof that does not need order: the sum of a keyed hash over items, modulo 2^256.

Adding and taking away an item changes it by that item's hash alone, so the fingerprint of any moment follows from
a base's fingerprint and the changes since. Sums and not XOR, because an item twice would cancel out. Parts of big
items are left out: the item that names them by their digests stands for them (`parts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import is_part

_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How many items, and the sum of their hashes."""

    items: int = 0
    total: int = 0

    def plus(self, key: bytes, item: Item) -> Fingerprint:
        if is_part(item.key):
            return self
        return Fingerprint(self.items + 1, (self.total + item_hash(key, item)) % _MODULUS)

    def minus(self, key: bytes, item: Item) -> Fingerprint:
        if is_part(item.key):
            return self
        return Fingerprint(self.items - 1, (self.total - item_hash(key, item)) % _MODULUS)


def item_hash(key: bytes, item: Item) -> int:
    """HMAC-SHA256 of the item's set, key and cells, each with its length; ``key`` is 32 bytes."""
    encoded = []
    for part in (item.set.encode(), item.key, *item.cells):
        if part is None:
            encoded.append(b"\xff")
        else:
            length = len(part)
            encoded.append(_LENGTHS[length] if length < len(_LENGTHS) else _length(length))
            encoded.append(part)
    before, behind = _states(key)
    inner, outer = before.copy(), behind.copy()
    inner.update(b"".join(encoded))
    outer.update(inner.digest())
    return int.from_bytes(outer.digest(), "big")


def fingerprint(key: bytes, items: Iterable[Item]) -> Fingerprint:
    """Of all of them."""
    count = total = 0
    for item in items:
        if is_part(item.key):
            continue
        count, total = count + 1, total + item_hash(key, item)
    return Fingerprint(count, total % _MODULUS)


def _length(length: int) -> bytes:
    return b"\x00" + length.to_bytes(8, "big")


_LENGTHS = [_length(length) for length in range(1024)]


@lru_cache(maxsize=64)
def _states(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """SHA-256 after the key's block, inside and outside (RFC 2104): going on from there is twice as fast as from the key."""
    padded = key.ljust(64, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)
