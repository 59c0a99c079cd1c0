"""An exactness proof that does not need order: the sum of a keyed hash over items, modulo 2^256.

Adding and taking away an item changes it by that item's hash alone, so the fingerprint of any moment follows from
a base's fingerprint and the changes since. Sums and not XOR, because an item twice would cancel out. Parts of big
items are left out: the item that names them by their digests stands for them (`parts`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

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
    parts = (item.set.encode(), item.key, *item.cells)
    # A zero and eight bytes of length: no length begins like a NULL.
    encoded = b"".join([b"\xff" if part is None else len(part).to_bytes(9, "big") + part for part in parts])
    return int.from_bytes(hmac.digest(key, encoded, hashlib.sha256), "big")


def fingerprint(key: bytes, items: Iterable[Item]) -> Fingerprint:
    """Of all of them."""
    count = total = 0
    for item in items:
        if is_part(item.key):
            continue
        count, total = count + 1, total + item_hash(key, item)
    return Fingerprint(count, total % _MODULUS)
