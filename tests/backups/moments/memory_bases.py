"""A repository of bases in memory, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId

KEY = b"k" * 32
TENANT = TenantId("x'; DROP TABLE tenants; --")


@dataclass
class MemoryBases:
    """`Bases` and `begin_base`; parents are merged as the repository does it."""

    stored: list[Manifest] = field(default_factory=list)
    contents: dict[tuple[str, str, str], dict[bytes, Item]] = field(default_factory=dict)

    def manifests(self) -> list[Manifest]:
        return list(self.stored)

    def items(self, manifest: Manifest, store: str, set_name: str) -> Iterator[Item]:
        content = self.contents[manifest.id, store, set_name]
        return (content[key] for key in sorted(content))

    def fingerprint_key(self) -> bytes:
        return KEY

    def full(
        self, environment: str, stores: Mapping[str, StoreBase], items: Mapping[str, Iterable[Item]]
    ) -> Manifest:
        """A base as it was read; ``items`` by store."""
        writer = self.begin_base(environment, BaseKind.FULL, None, {})
        for store, base in stores.items():
            for name, stored in base.sets.items():
                writer.add(store, stored.shape, [item for item in items[store] if item.set == name])
        return writer.commit(stores, max(base.at_us for base in stores.values()), None)

    def begin_base(
        self,
        environment: str,
        kind: BaseKind,
        parent: str | None,
        labels: Mapping[str, str],
        timeline: int = 1,
    ) -> MemoryWriter:
        return MemoryWriter(self, f"base{len(self.stored)}", environment, kind, parent, labels, timeline)


@dataclass
class MemoryWriter:
    bases: MemoryBases
    id: str
    environment: str
    kind: BaseKind
    parent: str | None
    labels: Mapping[str, str]
    timeline: int

    def _set(self, store: str, set_name: str) -> dict[bytes, Item]:
        place = (self.id, store, set_name)
        if place not in self.bases.contents:
            before = self.bases.contents.get((self.parent or "", store, set_name), {})
            self.bases.contents[place] = dict(before)
        return self.bases.contents[place]

    def add(self, store: str, shape: Shape, items: Iterable[Item]) -> SetStored:
        added = list(items)
        assert all(len(item.cells) == len(shape.columns) for item in added)
        self._set(store, shape.set).update((item.key, item) for item in added)
        return SetStored(shape, fingerprint(KEY, added), 0, 0)

    def gone(self, store: str, set_name: str, keys: Iterable[bytes]) -> None:
        content = self._set(store, set_name)
        for key in keys:
            content.pop(key, None)

    def commit(self, stores: Mapping[str, StoreBase], finished_us: int, expires_us: int | None) -> Manifest:
        manifest = Manifest(
            self.id, TENANT, self.environment, self.kind, self.parent, finished_us, finished_us, stores,
            labels=self.labels, expires_us=expires_us, timeline=self.timeline,
        )  # fmt: skip
        self.bases.stored.append(manifest)
        return manifest
