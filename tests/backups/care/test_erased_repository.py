"""The repository as a system of an erasure: what is erased is proven gone, and no restore brings it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ACME, HERE, HOSTILE, THERE, Regions
from erasing_marks import erasing, finder, frozen, go_on
from tenant_lifecycle.backups.care.check import check
from tenant_lifecycle.backups.care.exclusion import exclude, excluded
from tenant_lifecycle.backups.care.report import Level
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import LeaseLost, RepositoryDamaged, StoreError
from tenant_lifecycle.model.findings import Severity, refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.repository import RepositoryStore
from tenant_lifecycle.stores.erasing import Erases, Looked, Searches


@pytest.fixture
def store(regions: Regions) -> RepositoryStore:
    def opened() -> list[Repository]:
        places = ((regions.home, HERE), (regions.mirror, THERE))
        return [Repository.open(FolderStorage(Path(one.storage.where)), key) for one, key in places]

    return RepositoryStore(opened)


def looks(store: RepositoryStore, tenant: TenantId) -> list[Looked]:
    return [store.search(place, finder(tenant), go_on) for place in store.places()]


def test_it_can_be_asked_for_what_an_erasure_needs(store: RepositoryStore) -> None:
    assert isinstance(store, Erases) and isinstance(store, Searches)
    assert refusals(store.erasure_findings(ACME)) == [] and store.horizon() is None
    assert store.tenants() == sorted([ACME, HOSTILE])
    assert store.holds(ACME) and not store.holds(TenantId("acm"))


def test_the_manifest_names_keys_first_and_everything_in_both_regions(
    store: RepositoryStore, regions: Regions
) -> None:
    keys, objects = frozen(store, ACME)
    assert keys.set == "keys" and len(keys.keys) == 2
    directory = regions.home.directory(ACME).path
    for number, one in enumerate((regions.home, regions.mirror)):
        there = {f"{number}:{name}".encode() for name, _, _ in one.storage.names(directory)}
        assert there <= {*keys.keys, *objects.keys}
    assert sum(one.bytes for one in (keys, objects)) > 0


def test_a_tenant_is_found_before_and_nothing_after_while_the_other_stays(
    store: RepositoryStore, regions: Regions
) -> None:
    assert all(one.hit_count for one in looks(store, ACME))
    batches = frozen(store, ACME)
    for batch in batches:
        erased = store.erase(erasing(ACME), batch, go_on)
        assert erased.refused == () and erased.deleted + erased.gone == len(batch.keys)
    assert not any(store.remaining(ACME, batch, go_on) for batch in batches)
    assert not any(one.hit_count or one.unread for one in looks(store, ACME))
    assert all(one.hit_count for one in looks(store, HOSTILE))
    settled = store.settle(erasing(ACME), ["keys", "objects"], go_on)
    assert len(settled.done) >= 2 and all("before: yes, after: no" in line for line in settled.done[:2])
    for one in (regions.home, regions.mirror):
        assert regions.restored(one, HOSTILE) == regions.expected[HOSTILE]
        assert check(one, Level.BASES).whole


def test_erasing_again_finds_nothing_and_keeps_the_first_entry(
    store: RepositoryStore, regions: Regions
) -> None:
    batches = frozen(store, ACME)
    for batch in batches:
        store.erase(erasing(ACME), batch, go_on)
    entry = excluded(regions.home, ACME)
    for batch in batches:
        again = store.erase(erasing(ACME), batch, go_on)
        assert (again.deleted, again.gone) == (0, len(batch.keys))
    assert frozen(store, ACME) == [] and excluded(regions.home, ACME) == entry


def test_a_hold_that_is_placed_meanwhile_stops_it_before_a_key_goes(
    store: RepositoryStore, regions: Regions
) -> None:
    def held() -> None:
        raise LeaseLost("a hold was placed")

    (keys, _) = frozen(store, ACME)
    with pytest.raises(LeaseLost):
        store.erase(erasing(ACME), keys, held)
    regions.assert_whole(regions.home)


def test_the_list_of_the_erased_is_in_every_region_and_names_nobody(
    store: RepositoryStore, regions: Regions
) -> None:
    for batch in frozen(store, ACME):
        store.erase(erasing(ACME), batch, go_on)
    for one in (regions.home, regions.mirror):
        entry = excluded(one, ACME)
        assert entry is not None and entry.erasure == "erase_1" and len(entry.digest) == 64
        assert excluded(one, HOSTILE) is None and excluded(one, TenantId("acme2")) is None
        (name,) = [found for found, _, _ in one.storage.names("care/excluded/")]
        assert one.directory(ACME).path.removeprefix("t/") not in name
        assert b"acme" not in one.storage.get(name)


def test_a_changed_entry_stops_restores(regions: Regions) -> None:
    exclude([regions.home], ACME, "op_1", 2e9)
    (name,) = [found for found, _, _ in regions.home.storage.names("care/excluded/")]
    path = regions.path(regions.home, name)
    path.write_bytes(path.read_bytes().replace(b"op_1", b"op_2"))
    with pytest.raises(RepositoryDamaged, match="care/excluded"):
        excluded(regions.home, ACME)


def test_wrong_credentials_are_no_clean_look(regions: Regions) -> None:
    def wrong() -> list[Repository]:
        return [Repository.open(FolderStorage(Path(regions.home.storage.where)), LocalWrapping(bytes(32)))]

    store = RepositoryStore(wrong)
    assert [one.severity for one in store.verifier_findings()] == [Severity.REFUSAL]
    with pytest.raises(StoreError):
        store.places()
