"""Redis as a store: joins the stories of this folder into the contracts of `stores.base`, and adds nothing.

Each ability is told in a module of its own; a method here is one call into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.backing import BaseReading, Preview, SetDiff, Writing
from tenant_lifecycle.stores.base import (
    Check,
    Compared,
    Copied,
    Difference,
    Feed,
    Keys,
    Listening,
    Part,
    SetSize,
    Store,
)
from tenant_lifecycle.stores.erasing import (
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Level,
    Looked,
    Place,
    Planted,
    Settled,
)
from tenant_lifecycle.stores.keyed import machine_us
from tenant_lifecycle.stores.overlapping import overlaps
from tenant_lifecycle.stores.redis import (
    backup,
    copy,
    digests,
    doomed,
    erasable,
    erase,
    hints,
    incarnation,
    inventory,
    parts,
    plant,
    preflight,
    preview,
    probe,
    promote,
    remove,
    repair,
    restorable,
    search,
    settle,
)
from tenant_lifecycle.stores.redis.connection import Wire
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import Whose, key_map_for


class RedisStore:
    """One database of one server of one environment; safe to use from several threads."""

    kind = "redis"
    #: Every key of every database, entries included that a stream only marks as deleted.
    proves = Level.EXHAUSTIVE

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.name
        self.environment = server.environment
        self.clock: Callable[[], int] = machine_us

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> RedisStore:
        """What the entry point names. ``settings`` has ``url``; it connects at the first use.

        Raises:
            ConfigError: there is no url or it is none, or ``ownership.yaml`` has no rules for the store.
        """
        full = f"{environment}/{name}"
        if not settings.get("url"):
            raise ConfigError(
                f"store {full} has no url",
                next_step="give it one in lifecycle.yaml: redis://user:password@host:6379/0",
            )
        whose = Whose(key_map_for(ownership.keys, name, full), ids)
        return cls(Server(full, environment, Wire(full, settings["url"]), whose))

    # -- Store

    def probe(self) -> list[Finding]:
        return probe.probe(self.server)

    def tenants(self) -> list[TenantId]:
        """None: keys do not say where a tenant's id ends."""
        return []

    def holds(self, tenant: TenantId) -> bool:
        return inventory.holds(self.server, tenant)

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        return inventory.inventory(self.server, tenant, exact=exact)

    def close(self) -> None:
        self.server.close()

    # -- Prepares

    def preflight(self, target: Store, tenant: TenantId) -> list[Finding]:
        return preflight.preflight(self.server, _server(target), tenant)

    def create_missing(self, target: Store, tenant: TenantId) -> list[str]:  # noqa: ARG002
        """Nothing: a key needs nothing that has to be there before it."""
        return []

    def overlaps(self, tenant: TenantId, others: Iterable[TenantId]) -> list[Finding]:
        return overlaps(self.name, self.kind, self.server.whose.map, tenant, others)

    # -- Copies

    def split(self, target: Store, feed: Feed) -> list[Part]:
        return parts.split(self.server, _server(target), feed)

    def copy_part(self, target: Store, feed: Feed, part: Part, check: Check) -> Copied:
        return copy.copy_part(self.server, _server(target), feed, part, check)

    # -- Digests

    def sets(self, tenant: TenantId) -> list[str]:  # noqa: ARG002
        return self.server.whose.sets(Treatment.MOVE)

    def compare(self, target: Store, tenant: TenantId, set_name: str, check: Check) -> Compared:
        return digests.compare(self.server, _server(target), tenant, set_name, check)

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:  # noqa: ARG002
        return digests.compare_keys(self.server, _server(target), keys)

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        return repair.repair(self.server, _server(target), feed, keys)

    # -- Keyed

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        return self.server.whose.set_of(tenant, key)

    def incarnation(self) -> str:
        with self.server.session() as session:
            return incarnation.incarnation(session)

    # -- Hints

    def listen(
        self, tenant: TenantId, on_key: Callable[[bytes], None], on_gap: Callable[[str], None]
    ) -> Listening:
        return hints.listen(self.server, tenant, on_key, on_gap)

    # -- Shares

    def same_as(self, other: Store) -> bool:
        return incarnation.same(self.server, _server(other))

    # -- Removes

    def remove(self, feed: Feed, check: Check) -> Mapping[str, int]:
        return remove.remove(self.server, feed, check)

    # -- Backs, Captures

    def read_base(self, tenant: TenantId, check: Check) -> AbstractContextManager[BaseReading]:
        return backup.read_base(self.server, tenant, self.clock, check)

    def capture(self, tenant: TenantId, keys: Sequence[bytes]) -> list[Item | None]:
        return backup.capture(self.server, tenant, keys, self.clock)

    def capture_big(self, tenant: TenantId, key: bytes) -> Iterator[Item]:
        return backup.capture_big(self.server, tenant, key, self.clock)

    # -- Previews

    def check_restore(
        self,
        tenant: TenantId,  # noqa: ARG002
        shapes: Mapping[str, Shape],
        facts: Mapping[str, Any],
    ) -> list[Finding]:
        return restorable.check_restore(self.server, shapes, facts)

    def open_preview(
        self, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> Preview:
        return RedisPreview(name, preview.open_area(self.server, tenant, name, shapes, facts), tuple(shapes))

    def previews(self) -> list[str]:
        return preview.names(self.server)

    # -- Erases, Plants

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        return erasable.erasure_findings(self.server, tenant)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.server, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.server, erasing, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:
        return settle.settle(self.server, erasing, sets, check)

    def horizon(self) -> Horizon | None:
        return None

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        return plant.plant(self.server, erasing, marker)

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return erasable.verifier_findings(self.server)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return search.remaining(self.server, batch, check)

    def places(self) -> list[Place]:
        return search.places(self.server)

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.server, place, found, check)


@dataclass(slots=True)
class RedisPreview:
    """A preview of this store."""

    name: str
    area: preview.Area
    sets: tuple[str, ...]

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        return preview.load(self.area, set_name, items, check)

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        return preview.fingerprints(self.area, self.sets, key)

    def items(self, set_name: str) -> Iterator[Item]:
        return preview.read_back(self.area, set_name)

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        return promote.diff(self.area, examples, check)

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        return promote.promote(self.area, writing, sets, check)

    def discard(self) -> None:
        preview.discard(self.area)


def _server(store: Store) -> Server:
    """The other side of a pair; pairing by kind makes sure that it is one of ours."""
    if not isinstance(store, RedisStore):
        raise TypeError(f"{store.name} is not a Redis store")
    return store.server
