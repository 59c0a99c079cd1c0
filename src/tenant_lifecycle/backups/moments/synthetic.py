"""New bases out of old ones and the log; the stores are not read.

A delta has what changed since its parent, key by key: the log compacted. A synthetic full has everything. Both are
bases at a cut of the log, and not at a snapshot: their log goes on at the first frame that was not taken, and
everything from there on is new to them. Fingerprints in their manifests are of the whole state, parents included,
and come from the log by addition; a synthetic full is compared with them before it is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from tenant_lifecycle.backups.contract import BaseWriter, TenantRepository
from tenant_lifecycle.backups.moments.moment import FoldedMoment
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.parts import named_only
from tenant_lifecycle.model.backup.snapshot import Snapshot


def write_delta(
    repository: TenantRepository,
    moment: FoldedMoment,
    finished_us: int,
    expires_us: int | None,
    labels: Mapping[str, str],
) -> Manifest:
    """A base at that moment which has what changed since the moment's own base."""
    parent = moment.manifest
    writer = repository.begin_base(
        parent.environment, BaseKind.DELTA, parent.id, labels, timeline=parent.timeline
    )
    stores = {
        store: _store_base(moment, store, _delta_sets(writer, moment, store)) for store in moment.stores()
    }
    return writer.commit(stores, finished_us, expires_us)


def write_synthetic(
    repository: TenantRepository,
    moment: FoldedMoment,
    finished_us: int,
    expires_us: int | None,
    labels: Mapping[str, str],
) -> Manifest:
    """A base at that moment which needs no other.

    Raises:
        RepositoryDamaged: what was merged has not the fingerprint that follows from the log; nothing is committed.
    """
    base = moment.manifest
    writer = repository.begin_base(base.environment, BaseKind.SYNTHETIC, None, labels, timeline=base.timeline)
    stores = {
        store: _store_base(moment, store, _full_sets(writer, moment, store)) for store in moment.stores()
    }
    return writer.commit(stores, finished_us, expires_us)


def _delta_sets(writer: BaseWriter, moment: FoldedMoment, store: str) -> Mapping[str, SetStored]:
    stored = {}
    fingerprints = moment.fingerprints(store)
    for name, shape in moment.shapes(store).items():
        present = (item for _, item in _changes(moment, store, name) if item is not None)
        added = writer.add(store, shape, present)
        writer.gone(store, name, (key for key, item in _changes(moment, store, name) if item is None))
        stored[name] = replace(added, fingerprint=fingerprints[name])
    return stored


def _changes(moment: FoldedMoment, store: str, set_name: str) -> Iterator[tuple[bytes, Item | None]]:
    """What to do to the parent's items, in order of keys; where their columns changed, every one is said anew."""
    if moment.is_delta(store, set_name):
        yield from moment.changed(store, set_name)
        return
    before = moment.base_keys(store, set_name)
    gone = next(before, None)
    for item in moment.items(store, set_name):
        while gone is not None and gone < item.key:
            yield gone, None
            gone = next(before, None)
        if gone == item.key:
            gone = next(before, None)
        yield item.key, item
    while gone is not None:
        yield gone, None
        gone = next(before, None)


def _full_sets(writer: BaseWriter, moment: FoldedMoment, store: str) -> Mapping[str, SetStored]:
    stored = {}
    fingerprints = moment.fingerprints(store)
    for name, shape in moment.shapes(store).items():
        # What replaced objects consisted of would be kept for good otherwise.
        stored[name] = writer.add(store, shape, named_only(partial(moment.items, store, name)))
        if stored[name].fingerprint != fingerprints[name]:
            raise RepositoryDamaged(
                f"the base {moment.manifest.id} merged with the log has not the items of {store}/{name} that it "
                "should have; nothing was committed",
                next_step="run: tenantctl backup check --level L3",
            )
    return stored


def _store_base(moment: FoldedMoment, store: str, sets: Mapping[str, SetStored]) -> StoreBase:
    old = moment.base(store)
    stopped_at = moment.replayed(store).stopped_at
    # Never behind a hole: the base would seem to have what was lost in it.
    end = moment.log_end(store)
    log_from = end if stopped_at is None else min(stopped_at, end)
    snapshot = None if old.snapshot is None else Snapshot(0, 0, frozenset(), log_from)
    return StoreBase(store, moment.at_us, log_from, snapshot, sets, old.facts)
