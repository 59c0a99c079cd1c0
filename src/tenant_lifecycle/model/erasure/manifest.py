"""The manifest: everything that will be deleted, frozen and digested before the first deletion.

Erasing and verifying work from it and can be repeated. It names items and so may hold personal data: it is kept
encrypted or dropped when the last verification is over; counts and digests stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

#: Between a set's name and that of a part of it which goes as a whole.
PARTITION = " partition "


def within(set_name: str, named: str) -> bool:
    """Whether a set is the one that a rule or a hold names, or a part of it."""
    return set_name == named or set_name.startswith(named + PARTITION)


class Method(StrEnum):
    """How a set's items go."""

    DELETE = "delete"
    #: A whole container that is the tenant's alone: partition, schema, namespace, index, stream.
    DROP = "drop"
    #: A container shared with others is written anew without the tenant.
    REWRITE = "rewrite"
    #: The item stays for others; what names the tenant in it is replaced, and nothing leads back.
    ANONYMISE = "anonymise"
    #: The key that everything was encrypted with is destroyed.
    CRYPTO_ERASE = "crypto_erase"
    #: Cannot be deleted now, and goes by itself at a date.
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class Batch:
    """Items of one set that are deleted by one call, or looked for by one call; in the order of deletion."""

    set: str
    method: Method
    #: The store's exact form of each item, versions included; unique inside the system.
    keys: tuple[bytes, ...]
    #: Bytes that the items take; 0 if the store does not tell.
    bytes: int = 0

    def digest(self) -> str:
        """SHA-256 in lower-case hex over set, method and keys, in order; unambiguous for whatever bytes."""
        hashed = hashlib.sha256()
        for part in (self.set.encode(), self.method.encode(), *self.keys):
            hashed.update(len(part).to_bytes(8, "big") + part)
        return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class SetCount:
    """What the manifest of one system holds of one set."""

    set: str
    method: Method
    items: int
    bytes: int


def digest_of(batches: Iterable[str]) -> str:
    """Digest of a system's manifest: over the digests of its batches, in order."""
    return hashlib.sha256("\n".join(batches).encode()).hexdigest()
