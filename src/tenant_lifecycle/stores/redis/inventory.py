"""What a tenant has here, and what nobody was named for."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.scan import scan, tenants_keys
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import is_ours, text_of

#: Sizes are asked of so many keys of a family, unless exact ones are wanted.
SAMPLED_KEYS = 300
#: A beginning that fewer unmapped keys share may be somebody's name, and is not shown.
SHARED_BY = 3


@dataclass
class Census:
    """One walk over every key of a server, sorted by whose it is."""

    #: The tenant's, by family.
    items: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    measured: Counter[str] = field(default_factory=Counter)
    #: Keys that no rule mentions.
    unmapped: int = 0
    beginnings: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def estimated_bytes(self, name: str) -> int:
        measured = self.measured[name]
        return self.bytes[name] * self.items[name] // measured if measured else 0

    def unmapped_sentence(self) -> str:
        """How many there are and what one looks like, without telling what may be a person's."""
        beginning, count = max(self.beginnings.items(), key=lambda one: one[1], default=("", 0))
        example = f"{count} like {beginning}…" if count >= SHARED_BY else f"one of them is {self.example}"
        return f"{self.unmapped} key(s) that no family and no global template mentions; {example}"


def census(server: Server, session: Session, tenant: TenantId, *, exact: bool = False) -> Census:
    """Walk over all keys. A key that comes twice, because the server resizes its table, is counted twice."""
    resolved = server.whose.resolve(tenant)
    found = Census()
    for keys in scan(session):
        measured: list[tuple[str, bytes]] = []
        for key in keys:
            if is_ours(key):
                continue
            text = text_of(key)
            name = resolved.family_of(text)
            if name is not None:
                found.items[name] += 1
                if exact or found.measured[name] < SAMPLED_KEYS:
                    found.measured[name] += 1
                    measured.append((name, key))
            elif not server.whose.mentions(text):
                found.unmapped += 1
                found.beginnings[_beginning(text)] += 1
                found.example = found.example or _described(key)
        sizes = session.calls([("MEMORY", "USAGE", key) for _, key in measured])
        for (name, _), size in zip(measured, sizes, strict=True):
            found.bytes[name] += size or 0
    return found


def _beginning(text: str) -> str:
    """A first word that looks like a kind of key, with what ends it; empty if there is none."""
    match = re.match(r"[a-z][a-z_-]{0,30}[:./|]", text)
    return match[0] if match else ""


def _described(key: bytes) -> str:
    return f"{len(key)} bytes long, with the SHA-256 {hashlib.sha256(key).hexdigest()[:16]}…"


def inventory(server: Server, tenant: TenantId, *, exact: bool) -> list[SetSize]:
    """Keys and bytes of the tenant, family by family; bytes are estimated from a few keys unless ``exact``.

    Raises:
        UnmappedData: there are keys that no rule mentions.
    """
    with server.session() as session:
        found = census(server, session, tenant, exact=exact)
    if found.unmapped:
        raise UnmappedData(
            f"{server.name}: {found.unmapped_sentence()}",
            next_step="add a family or a global template to ownership.yaml",
        )
    return [
        SetSize(name, found.items[name], found.estimated_bytes(name), exact)
        for name in server.whose.sets(*Treatment)
    ]


def holds(server: Server, tenant: TenantId) -> bool:
    """Whether any key of the tenant is here, also of families that are not moved."""
    resolved = server.whose.resolve(tenant)
    with server.session() as session:
        return any(page for page in tenants_keys(session, resolved, server.whose.sets(*Treatment)))
