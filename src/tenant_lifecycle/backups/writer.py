"""Writing a base: contents, then the index, then, last, the signed manifest. Before that nothing of it is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from tenant_lifecycle.backups.index import dead_packs, read_index, write_index
from tenant_lifecycle.backups.manifests import SetContents, Stored, seal_manifest
from tenant_lifecycle.backups.packs import PACK_BYTES, PackWriter
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.sets import SetWriter, WritingKeys
from tenant_lifecycle.errors import InvariantViolated, KeyUnavailable, WrongState
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId


@dataclass(frozen=True, slots=True)
class Begun:
    """What is known of a base before its first item."""

    id: str
    tenant: TenantId
    environment: str
    kind: BaseKind
    parent: Stored | None
    started_us: int
    labels: Mapping[str, str] = field(default_factory=dict)
    tier: str = ""
    timeline: int = 1


class RepositoryBaseWriter:
    """One base while it is written. Sets may be added by several threads, each set by one."""

    def __init__(self, place: Place, begun: Begun, pack_bytes: int = PACK_BYTES) -> None:
        self._place = place
        self._begun = begun
        self._epoch = place.keys.current()
        self._keys = WritingKeys(place.keys.lasting("fp"), place.keys.subkey("cut"))
        self._known = read_index(place.storage, place.sealer, place.directory)
        dead = dead_packs(place.storage, place.directory)
        self._packs = PackWriter(
            place.storage, place.sealer, place.keys, place.directory, self._known, dead, pack_bytes
        )
        self._contents: dict[tuple[str, str], SetContents] = {}
        self._shapes: dict[tuple[str, str], Shape] = {}

    @property
    def id(self) -> str:
        """The base's id, also before it is committed."""
        return self._begun.id

    def add(self, store: str, shape: Shape, items: Iterable[Item]) -> SetStored:
        """Store one set. In a delta: the items that changed; with another shape than the parent's, every item.

        The fingerprint that is returned is of these items; in a delta the manifest needs the whole set's.
        """
        which = store, shape.set
        if which in self._shapes:
            raise InvariantViolated(f"the set {shape.set!r} of {store} was added twice to base {self.id}")
        listings, stored = SetWriter(self._packs, self._keys).items(shape, items)
        self._shapes[which] = shape
        before = self._contents.get(which, SetContents())
        self._contents[which] = replace(before, listings=listings, whole=self._is_whole(store, shape))
        return stored

    def gone(self, store: str, set_name: str, keys: Iterable[bytes]) -> None:
        """In a delta: keys of the parent that are not there any more. A key that is also added stays, as added."""
        if self._begun.kind is not BaseKind.DELTA:
            raise InvariantViolated(f"base {self.id} is {self._begun.kind}: nothing can be gone from it")
        which = store, set_name
        before = self._contents.get(which, SetContents(whole=False))
        if before.gone:
            raise InvariantViolated(f"keys of {set_name!r} of {store} were taken twice from base {self.id}")
        self._contents[which] = replace(before, gone=SetWriter(self._packs, self._keys).gone(keys))

    def commit(self, stores: Mapping[str, StoreBase], finished_us: int, expires_us: int | None) -> Manifest:
        """Make the base be there.

        Raises:
            KeyUnavailable: the tenant's keys were destroyed meanwhile.
            WrongState: packs that it refers to are about to be deleted, or its id is taken.
            InvariantViolated: a set of it was never added.
        """
        self._check_complete(stores)
        self._packs.finish()
        if self._packs.packs:
            write_index(
                self._place.storage, self._place.sealer, self._place.directory, self._packs.packs, self._known
            )
        self._check_still_good()
        manifest = self._manifest(stores, finished_us, expires_us)
        self._put(Stored(manifest, self._contents, self._newest_digest()))
        return manifest

    def _is_whole(self, store: str, shape: Shape) -> bool:
        before = self._parents_set(store, shape.set)
        return before is None or before.shape != shape

    def _parents_set(self, store: str, set_name: str) -> SetStored | None:
        parent = self._begun.parent
        if self._begun.kind is not BaseKind.DELTA or parent is None:
            return None
        base = parent.manifest.stores.get(store)
        return base.sets.get(set_name) if base is not None else None

    def _check_complete(self, stores: Mapping[str, StoreBase]) -> None:
        named = {(store, one): base.sets[one] for store, base in stores.items() for one in base.sets}
        for (store, set_name), stored in named.items():
            shape = self._shapes.get((store, set_name))
            if shape is None:
                before = self._parents_set(store, set_name)
                shape = before.shape if before is not None else None
            if shape != stored.shape:
                raise InvariantViolated(
                    f"base {self.id}: the set {set_name!r} of {store} is to be committed and was not added"
                )
        if forgotten := set(self._contents) - set(named):
            raise InvariantViolated(f"base {self.id}: sets were added and not committed: {sorted(forgotten)}")

    def _check_still_good(self) -> None:
        place = self._place
        place.keys.forget()
        if self._epoch not in place.keys.epochs():
            raise KeyUnavailable(
                f"{place.directory.path}: the tenant's keys were destroyed while base {self.id} was written",
                where=place.storage.where,
            )
        if dying := self._packs.reused & dead_packs(place.storage, place.directory):
            raise WrongState(
                f"base {self.id} refers to {len(dying)} packs that are about to be deleted",
                next_step="begin the base again; it will store those contents anew",
            )

    def _manifest(
        self, stores: Mapping[str, StoreBase], finished_us: int, expires_us: int | None
    ) -> Manifest:
        begun = self._begun
        return Manifest(
            id=begun.id, tenant=begun.tenant, environment=begun.environment, kind=begun.kind,
            parent=begun.parent.manifest.id if begun.parent is not None else None, started_us=begun.started_us, finished_us=finished_us,
            stores=stores, tier=begun.tier, labels=begun.labels, expires_us=expires_us, timeline=begun.timeline,
            tool_version=version("tenant-lifecycle"),
        )  # fmt: skip

    def _newest_digest(self) -> str | None:
        names = self._place.manifest_names()
        return hashlib.sha256(self._place.storage.get(names[-1])).hexdigest() if names else None

    def _put(self, stored: Stored) -> None:
        place = self._place
        name = place.directory.manifest(self.id)
        data = seal_manifest(place.sealer, place.signer, name, stored)
        # A retried request of our own finds what it wrote itself.
        if not place.storage.put(name, data) and place.storage.get(name) != data:
            raise WrongState(f"base {self.id} was committed by somebody else", next_step="begin another one")
