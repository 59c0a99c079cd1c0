"""A tenant at one moment: for each store, its base with the log folded over it, computed when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from tenant_lifecycle.backups.moments.cut import Cut
from tenant_lifecycle.backups.moments.fold import Folded
from tenant_lifecycle.backups.moments.replay import Replayed, replay
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Frame, Item
from tenant_lifecycle.model.backup.manifest import Manifest, StoreBase
from tenant_lifecycle.model.backup.shape import Shape

#: The frames of a store from its base's `log_from` on, in order, at least up to the cut.
Frames = Callable[[StoreBase], Iterator[Frame]]


class Bases(Protocol):
    """Where bases are read: the part of `TenantRepository` that moments need."""

    def manifests(self) -> list[Manifest]: ...

    def items(self, manifest: Manifest, store: str, set_name: str) -> Iterator[Item]: ...

    def fingerprint_key(self) -> bytes: ...


class FoldedMoment:
    """`backups.contract.Moment` from a base and the log since; nothing is read before it is asked for."""

    def __init__(
        self, bases: Bases, manifest: Manifest, cut: Cut, frames: Frames, ends: Mapping[str, int]
    ) -> None:
        """``ends``: by store the position behind everything that its log has without a hole."""
        self.manifest = manifest
        self.at_us = cut.at_us
        self.cut = cut
        self._bases = bases
        self._frames = frames
        self._ends = ends
        self._replayed: dict[str, Replayed] = {}

    def stores(self) -> Sequence[str]:
        return sorted(self.manifest.stores)

    def base(self, store: str) -> StoreBase:
        if store not in self.manifest.stores:
            raise UsageError(
                f"the base {self.manifest.id} has no store {store!r}",
                next_step=f"one of: {', '.join(self.stores())}",
            )
        return self.manifest.stores[store]

    def shapes(self, store: str) -> Mapping[str, Shape]:
        return {name: folded.shape() for name, folded in self.folded(store).items()}

    def items(self, store: str, set_name: str) -> Iterator[Item]:
        return self._of(store, set_name).items()

    def fingerprints(self, store: str) -> Mapping[str, Fingerprint]:
        key = self._bases.fingerprint_key()
        return {name: folded.fingerprint(key) for name, folded in self.folded(store).items()}

    def changed(self, store: str, set_name: str) -> Iterator[tuple[bytes, Item | None]]:
        """Every key that the log touched since the base, in order, with its item at the moment; None: it is gone."""
        return self._of(store, set_name).changed()

    def is_delta(self, store: str, set_name: str) -> bool:
        """Whether what changed since the base can be said key by key: not after a truncation or a new shape."""
        fold = self._of(store, set_name).fold
        return not fold.emptied and fold.columns.same and set_name in self.base(store).sets

    def base_keys(self, store: str, set_name: str) -> Iterator[bytes]:
        """Keys of the base's items, in order."""
        return (item.key for item in self._base_items(self.base(store), set_name)())

    def log_end(self, store: str) -> int:
        """The position behind everything that the log has without a hole."""
        return self._ends[store]

    def folded(self, store: str) -> Mapping[str, Folded]:
        """Every set of a store; the log is read once."""
        base = self.base(store)
        return {
            name: Folded(
                name, fold, self._base_items(base, name), _stored(base, name), timed=base.snapshot is None
            )
            for name, fold in self.replayed(store).sets.items()
        }

    def replayed(self, store: str) -> Replayed:
        if store not in self._replayed:
            base = self.base(store)
            self._replayed[store] = replay(base, self._frames(base), self.cut)
        return self._replayed[store]

    def _base_items(self, base: StoreBase, set_name: str) -> Callable[[], Iterator[Item]]:
        if set_name not in base.sets:
            return lambda: iter(())
        return lambda: self._bases.items(self.manifest, base.store, set_name)

    def _of(self, store: str, set_name: str) -> Folded:
        folded = self.folded(store)
        if set_name not in folded:
            raise UsageError(
                f"{store} had no set {set_name!r} at that moment", next_step=f"one of: {', '.join(folded)}"
            )
        return folded[set_name]


def _stored(base: StoreBase, set_name: str) -> Fingerprint:
    return base.sets[set_name].fingerprint if set_name in base.sets else Fingerprint()
