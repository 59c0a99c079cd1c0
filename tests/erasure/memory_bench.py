"""A bench of the memory store for the contract of erasing, and stores that break it in ways seen elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erased, Erasing, Found, Looked, Place
from tenant_lifecycle.stores.tally import Tally
from tenant_lifecycle.testing.memory import MemoryServer
from tenant_lifecycle.testing.memory_erasing import ErasingMemoryStore, SearchingMemoryStore

KEYS = KeyMap({"docs": Family(Template.parse("docs/{tenant}/*"))})


class MemoryErasingBench:
    """One server, seen twice."""

    def __init__(
        self,
        eraser: type[ErasingMemoryStore] = ErasingMemoryStore,
        verifier: type[SearchingMemoryStore] = SearchingMemoryStore,
    ) -> None:
        self.server = MemoryServer(attic={"exports": {}})
        self._eraser_type = eraser
        self.eraser = self.replaced_eraser()
        self.verifier = verifier(self.server, "blue", "memory", KEYS)
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "a key that no rule mentions": lambda text: self._put(self.server.items, "reports/1", text),
            "an area that no rule mentions": lambda text: self._put(self.server.attic["exports"], "1", text),
            "a new area": lambda text: self._put(self.server.attic.setdefault("dump", {}), "1", text),
        }

    def replaced_eraser(self) -> ErasingMemoryStore:
        return self._eraser_type(self.server, "blue", "memory", KEYS)

    def blinded(self) -> SearchingMemoryStore:
        store = type(self.verifier)(self.server, "blue", "memory", KEYS)
        store.may_read = frozenset({"items"})
        return store

    def put(self, tenant: str, item: str, content: str) -> None:
        self.server.write(tenant, f"docs/{tenant}/{item}", content.encode())

    def content(self, tenant: str, item: str) -> str | None:
        found = self.server.items.get(f"docs/{tenant}/{item}")
        return None if found is None else found.decode()

    @staticmethod
    def _put(area: dict[str, bytes], key: str, text: bytes) -> None:
        area[key] = text


class SaysDeleted(ErasingMemoryStore):
    """Its deletion answers as if it had happened."""

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        check()
        return Erased(len(batch.keys), 0)


class SkipsABatch(ErasingMemoryStore):
    """Its listing loses the last page."""

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        yield from list(super().doomed(tenant, check))[:-1]


class DeletesByPrefix(ErasingMemoryStore):
    """Takes everything that begins like one of the keys: a neighbour's too."""

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        result = super().erase(erasing, batch, check)
        for key in [key for key in self.server.items if key.startswith(f"docs/{erasing.tenant}")]:
            if "/0." in key:
                del self.server.items[key]
        return result


class DeletesWhatItIsTold(ErasingMemoryStore):
    """Does not look whose an item is."""

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        check()
        gone = [self.server.items.pop(key.decode(), None) is None for key in batch.keys]
        return Erased(len(gone) - sum(gone), sum(gone))


class NeverAsks(ErasingMemoryStore):
    """No hold can stop it."""

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return super().erase(erasing, batch, lambda: None)


class StaysOpen(ErasingMemoryStore):
    """Says that it refuses writes."""

    def close_writes(self, erasing: Erasing) -> None:
        """Forgets to."""

    def closed(self, tenant: TenantId) -> bool:
        return tenant == "acme"


class HidesAPlace(SearchingMemoryStore):
    """Lists only what is declared."""

    def places(self) -> list[Place]:
        return [place for place in super().places() if place.declared]


class SwallowsErrors(SearchingMemoryStore):
    """What it may not read is empty."""

    def verifier_findings(self) -> list:
        return []

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        if not self._may_read(place.name):
            return Looked(0, 0)
        return super().search(place, found, check)


class SeesNothing(SearchingMemoryStore):
    """As behind row-level security: no error, and nothing there."""

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        check()
        return Looked(0, 0)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:
        return frozenset()


class LooksAtNamesOnly(SearchingMemoryStore):
    """Reads keys and no contents."""

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        tally = Tally(place.name, found)
        for key in self._areas()[place.name]:
            check()
            tally.look(key, key.encode())
        return tally.looked()
