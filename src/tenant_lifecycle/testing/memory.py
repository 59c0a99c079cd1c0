"""A store that lives in this process: the smallest one that keeps every promise of a keyed store.

For tests of what works with any store, and as an example for authors of one. Its items are bytes under keys
that are texts; `MemoryServer` plays the part of the system behind it, and can forget everything.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.errors import Fenced, StoreUnavailable, TenantMoved
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.keymap import IdSource, KeyMap, ResolvedKeys, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.verification import Difference, DifferenceKind
from tenant_lifecycle.stores.base import Check, Compared, Copied, Feed, Keys, Part, Store
from tenant_lifecycle.stores.overlapping import overlaps
from tenant_lifecycle.stores.registry import no_ids


@dataclass
class MemoryServer:
    """Items by key, and whose driver wrote last."""

    items: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    reachable: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)
    #: Areas beside the items that no rule of a store is about: exports, copies, leftovers.
    attic: dict[str, dict[str, bytes]] = field(default_factory=dict)
    #: Tenants whose writes are refused.
    closed: set[str] = field(default_factory=set)

    def write(self, tenant: str, key: str, value: bytes) -> None:
        """Write as an application does.

        Raises:
            TenantMoved: the tenant's writes are refused.
        """
        with self.lock:
            if tenant in self.closed:
                raise TenantMoved("the tenant's writes are refused", epoch=0, target="")
            self.items[key] = value

    def restart(self, *, keep: bool = False) -> None:
        """Start anew; without ``keep`` everything is forgotten."""
        with self.lock:
            self.incarnation = uuid.uuid4().hex
            if not keep:
                self.items.clear()


class MemoryStore:
    """One `MemoryServer` as a store of one environment."""

    kind = "memory"

    def __init__(
        self, server: MemoryServer, environment: str, name: str, key_map: KeyMap, ids: IdSource = no_ids
    ) -> None:
        self.server = server
        self.environment = environment
        self.name = f"{environment}/{name}"
        self._key_map = key_map
        self._ids = ids

    # -- Store

    def probe(self) -> list[Finding]:
        if not self.server.reachable:
            return [Finding("memory.reachable", Severity.REFUSAL, "switched off", subject=self.name)]
        return [Finding("memory.reachable", Severity.OK, "answers", subject=self.name)]

    def tenants(self) -> list[TenantId]:
        return []

    def holds(self, tenant: TenantId) -> bool:
        return bool(self._items(self.resolve(tenant)))

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        resolved = self.resolve(tenant)
        found = self._items(resolved)
        return [
            SetSize(
                name,
                sum(resolved.family_of(key) == name for key in found),
                sum(len(value) for key, value in found.items() if resolved.family_of(key) == name),
                True,
            )
            for name in resolved.families
        ]

    def close(self) -> None:
        """Nothing is held."""

    # -- Prepares

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        there = _memory(target)
        findings = []
        unmapped = sum(not self._key_map.mentions(key) for key in self._all())
        if unmapped:
            message = f"{self.name}: {unmapped} key(s) that no rule mentions"
            findings.append(
                Finding("memory.unmapped", Severity.REFUSAL, message, "complete ownership.yaml", self.name)
            )
        if there._items(self.resolve(tenant)):
            message = f"{there.name} holds items of the tenant"
            findings.append(Finding("memory.target-occupied", Severity.REFUSAL, message, subject=there.name))
        return findings

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:  # noqa: ARG002
        return []

    def overlaps(self, tenant: TenantId, others: Iterable[TenantId]) -> list[Finding]:
        return overlaps(self.name, self.kind, self._key_map, tenant, others)

    # -- Copies

    def split(self, target: Store, feed: Feed) -> list[Part]:  # noqa: ARG002
        resolved = self.resolve(feed.tenant)
        moved = [name for name, f in resolved.families.items() if f.treatment is not Treatment.SKIP]
        sizes = {size.name: size.items for size in self.inventory(feed.tenant)}
        return [Part(name, name, sizes[name], False) for name in moved]

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        resolved = self.resolve(feed.tenant)
        items = size = 0
        for key in [key for key in self._items(resolved) if resolved.family_of(key) == part.set]:
            check()
            value = self._get(key)
            _memory(target)._put(feed, key, value)
            items, size = items + 1, size + len(value or b"")
        return Copied(items, size)

    # -- Digests

    def sets(self, tenant: TenantId) -> list[str]:
        families = self.resolve(tenant).families
        return [name for name, family in families.items() if family.treatment is Treatment.MOVE]

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        check()
        resolved = self.resolve(tenant)
        here, there = (
            {
                key: value
                for key, value in store._items(resolved).items()
                if resolved.family_of(key) == set_name
            }
            for store in (self, _memory(target))
        )
        differing = {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)}
        suspects = {set_name: frozenset(key.encode() for key in differing)} if differing else {}
        return Compared(len(here), 1, suspects)

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        families, there = self.resolve(tenant).families, _memory(target)
        found = []
        for name, some in keys.items():
            if families[name].treatment is not Treatment.MOVE:
                continue
            for key in sorted(some):
                text = key.decode()
                mine, theirs = self._get(text), there._get(text)
                if mine != theirs:
                    kind = DifferenceKind.DIFFERENT
                    if mine is None or theirs is None:
                        kind = DifferenceKind.EXTRA if mine is None else DifferenceKind.MISSING
                    found.append(Difference(name, key, text, kind, ("value",)))
        return found

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        families, there = self.resolve(feed.tenant).families, _memory(target)
        changed = 0
        for name, some in keys.items():
            for key in some:
                skip = families[name].treatment is Treatment.SKIP
                value = None if skip else self._get(key.decode())
                changed += there._put(feed, key.decode(), value)
        return changed

    # -- Keyed

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        return self.resolve(tenant).family_of(key.decode("utf-8", "surrogateescape"))

    def incarnation(self) -> str:
        self._refuse_if_off()
        return self.server.incarnation

    # -- Removes

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        resolved = self.resolve(feed.tenant)
        removed = dict.fromkeys(resolved.families, 0)
        for key in self._items(resolved):
            check()
            removed[resolved.family_of(key) or ""] += self._put(feed, key, None)
        return removed

    # -- what it is made of

    def resolve(self, tenant: TenantId) -> ResolvedKeys:
        """The tenant's families, as the environment's ids are now."""
        return self._key_map.resolve(tenant, self._ids(tenant))

    def _all(self) -> dict[str, bytes]:
        self._refuse_if_off()
        with self.server.lock:
            return dict(self.server.items)

    def _items(self, resolved: ResolvedKeys) -> dict[str, bytes]:
        return {key: value for key, value in self._all().items() if resolved.family_of(key) is not None}

    def _get(self, key: str) -> bytes | None:
        self._refuse_if_off()
        return self.server.items.get(key)

    def _put(self, feed: Feed, key: str, value: bytes | None) -> bool:
        """Write as ourselves; None deletes. Returns whether something changed."""
        self._refuse_if_off()
        with self.server.lock:
            if self.server.tokens.get(feed.tenant, 0) > feed.token:
                raise Fenced(f"a newer driver than token {feed.token} writes to {self.name}")
            self.server.tokens[feed.tenant] = feed.token
            before = self.server.items.get(key)
            if value is None:
                self.server.items.pop(key, None)
            else:
                self.server.items[key] = value
            return before != value

    def _refuse_if_off(self) -> None:
        if not self.server.reachable:
            raise StoreUnavailable(f"{self.name}: switched off", store=self.name)


def _memory(store: Store) -> MemoryStore:
    assert isinstance(store, MemoryStore)
    return store
