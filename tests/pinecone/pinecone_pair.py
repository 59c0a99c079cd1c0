"""A tenant's vectors on two emulators, and the official client beside our stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pinecone.index import Index

from tenant_lifecycle.model.keymap import Family, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.base import Feed, Keys
from tenant_lifecycle.stores.pinecone import keys
from tenant_lifecycle.stores.pinecone.store import PineconeStore

API_KEY = "secret-key-of-the-tests"

FAMILIES = {
    "docs": Family(Template.parse("{tenant}")),
    "knowledge": Family(Template.parse("kb-{collection}")),
    "parts": Family(Template.parse("{tenant}--*")),
    "answers": Family(Template.parse("warm:{tenant}"), treatment=Treatment.WARM),
    "cache": Family(Template.parse("cache:{tenant}"), treatment=Treatment.SKIP),
}


@dataclass
class Pair:
    """Blue and green, and the official client beside our stores."""

    servers: tuple[PineconeServer, PineconeServer]
    name: str
    source: PineconeStore
    target: PineconeStore
    blue: Index
    green: Index
    #: Collections by tenant.
    collections: dict[str, frozenset[str]] = field(default_factory=dict)

    def feed(self, tenant: str = "1", token: int = 1) -> Feed:
        return Feed("tl_test_fwd", TenantId(tenant), token)

    def copy(self, tenant: str = "1", token: int = 1) -> int:
        feed = self.feed(tenant, token)
        return sum(
            self.source.copy_part(self.target, feed, part, nothing).items
            for part in self.source.split(self.target, feed)
        )

    def suspects(self, tenant: str = "1") -> dict[str, frozenset[bytes]]:
        found: dict[str, frozenset[bytes]] = {}
        for name in self.source.sets(TenantId(tenant)):
            found.update(self.source.compare(self.target, TenantId(tenant), name, nothing).suspects)
        return found

    def faults(self, **values: Any) -> None:
        for server in self.servers:
            server.faults(**values)


NO_FAULTS = {
    "latency_ms": 0, "jitter_ms": 0, "throttle": 0, "rate": 0, "retry_after_s": 0, "errors": 0,
    "stale_ms": 0, "frozen": False,
}  # fmt: skip


def nothing() -> None:
    """A check that lets the work go on."""


def key(namespace: str, id: str) -> bytes:
    return keys.encode(namespace, id)


def wanted(set_name: str, namespace: str, *ids: str) -> Keys:
    return {set_name: frozenset(key(namespace, id) for id in ids)}


def vector(id: str, number: float = 1.0, **metadata: Any) -> dict[str, Any]:
    return {"id": id, "values": [number, 0.25, 1 / 3, 1.0], "metadata": {"n": number, **metadata}}
