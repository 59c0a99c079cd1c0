"""The memory store as one that erases a tenant, and as one that searches for what was forgotten.

Two classes, as everywhere: what erases lists by the key map, what searches walks everything there is and knows the
map only to say what it does not mention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import (
    CANARY_NAME,
    Erased,
    Erasing,
    Found,
    Horizon,
    Looked,
    Place,
    Planted,
    Settled,
)
from tenant_lifecycle.stores.tally import Tally
from tenant_lifecycle.testing.memory import MemoryStore

#: Small, so that a few items make several batches.
BATCH = 2
ITEMS = "items"


class ErasingMemoryStore(MemoryStore):
    """`Erases`, `Closes` and `Plants`."""

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:  # noqa: ARG002
        return [
            Finding("memory.unmapped", Severity.REFUSAL, "a key that no rule mentions", subject=self.name)
            for key in self._all()
            if not self._key_map.mentions(key)
        ][:1]

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        resolved = self.resolve(tenant)
        items = self._items(resolved)
        for name in resolved.families:
            keys = sorted(key for key in items if resolved.family_of(key) == name)
            for first in range(0, len(keys), BATCH):
                check()
                some = keys[first : first + BATCH]
                size = sum(len(items[key]) for key in some)
                yield Batch(name, Method.DELETE, tuple(key.encode() for key in some), size)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        self._refuse_if_off()
        check()
        resolved = self.resolve(erasing.tenant)
        with self.server.lock:
            self._refuse_older(erasing)
            mine = [key.decode() for key in batch.keys if resolved.family_of(key.decode()) == batch.set]
            gone = [self.server.items.pop(key, None) is None for key in mine]
        return Erased(len(batch.keys) - sum(gone) - (len(batch.keys) - len(mine)), sum(gone))

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        check()
        return Settled()

    def horizon(self) -> Horizon | None:
        return None

    def close_writes(self, erasing: Erasing) -> None:
        with self.server.lock:
            self._refuse_older(erasing)
            self.server.closed.add(erasing.tenant)

    def reopen(self, erasing: Erasing) -> None:
        with self.server.lock:
            self._refuse_older(erasing)
            self.server.closed.discard(erasing.tenant)

    def closed(self, tenant: TenantId) -> bool:
        return tenant in self.server.closed

    def forget(self, erasing: Erasing) -> None:
        self.reopen(erasing)

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        """One item in the first family whose names are open."""
        patterns = [
            one for family in self.resolve(erasing.tenant).families.values() for one in family.patterns
        ]
        if not patterns:
            return []
        key = f"{patterns[0].prefix}{CANARY_NAME}{patterns[0].suffix}"
        with self.server.lock:
            self._refuse_older(erasing)
            self.server.items[key] = marker.encode()
        return [Planted(ITEMS, 1)]

    def _refuse_older(self, erasing: Erasing) -> None:
        if self.server.tokens.get(erasing.tenant, 0) > erasing.token:
            raise Fenced(f"a newer driver than token {erasing.token} writes to {self.name}")
        self.server.tokens[erasing.tenant] = erasing.token


class SearchingMemoryStore(MemoryStore):
    """`Searches`."""

    #: There is nothing behind the items.
    proves = Level.PHYSICAL
    #: Areas that these credentials may read; None: all.
    may_read: frozenset[str] | None = None

    def verifier_findings(self) -> list[Finding]:
        hidden = sorted(area for area in self._areas() if not self._may_read(area))
        severity = Severity.REFUSAL if hidden else Severity.OK
        message = f"may not read {', '.join(hidden)}" if hidden else "sees everything"
        return [Finding("memory.verifier", severity, message, subject=self.name)]

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        check()
        self._refuse_if_off()
        return frozenset(key for key in batch.keys if key.decode() in self.server.items)

    def places(self) -> list[Place]:
        self._refuse_if_off()
        return [Place(name, name == ITEMS, len(items)) for name, items in self._areas().items()]

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        self._refuse_if_off()
        tally = Tally(place.name, found)
        if not self._may_read(place.name):
            tally.could_not_read(f"no right to read {place.name}")
            return tally.looked()
        for key, value in list(self._areas()[place.name].items()):
            check()
            tally.items += 1
            proposal = "" if place.declared and self._key_map.mentions(key) else f"{key.partition('/')[0]}/*"
            tally.look(key, key.encode(errors="surrogateescape"), proposal)
            tally.look(key, value, proposal)
        return tally.looked()

    def _areas(self) -> dict[str, dict[str, bytes]]:
        return {ITEMS: self.server.items, **self.server.attic}

    def _may_read(self, area: str) -> bool:
        return self.may_read is None or area in self.may_read
