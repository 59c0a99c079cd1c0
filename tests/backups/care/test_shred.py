"""After shredding nothing opens from any copy, and the same bytes did open before."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from care_regions import ACME, HERE, HOSTILE, THERE, Regions
from making import full_base, some_items

from tenant_lifecycle.backups.care import mirror as mirroring
from tenant_lifecycle.backups.care.check import check
from tenant_lifecycle.backups.care.figures import figures
from tenant_lifecycle.backups.care.objects import Sort, sort_of
from tenant_lifecycle.backups.care.report import Level
from tenant_lifecycle.backups.care.shred import Receipt, opens, receipts, shred
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import KeyUnavailable, LifecycleError, PreconditionRefused


def destroy(regions: Regions, held: str = "") -> Receipt:
    return shred(regions.home, regions.mirror, ACME, held=lambda: held, now=time.time)


def anew(regions: Regions) -> list[Repository]:
    """Both regions as another process opens them."""
    return [
        Repository.open(FolderStorage(Path(one.storage.where)), key)
        for one, key in ((regions.home, HERE), (regions.mirror, THERE))
    ]


def sealed_objects(repository: Repository, path: str) -> dict[str, bytes]:
    names = [name for name, _, _ in repository.storage.names(path)]
    return {name: repository.storage.get(name) for name in names if sort_of(name) is not Sort.KEY}


def test_the_same_bytes_opened_before_and_do_not_after_from_any_copy(
    regions: Regions, tmp_path: Path
) -> None:
    directory = regions.home.directory(ACME)
    kept = sealed_objects(regions.home, directory.path)
    planted = kept[directory.tenant_id()]
    assert all(opens(one, directory, planted) for one in anew(regions))
    receipt = destroy(regions)
    assert [(one.before, one.after, one.keys) for one in receipt.probes] == [(True, False, 1)] * 2
    assert receipt.epochs == (1,) and receipt.left == 0 and receipt.deleted > 10
    assert receipts(regions.home, ACME) == receipts(regions.mirror, ACME) == [receipt]
    for one in anew(regions):
        # Somebody kept every object, and brings them back: all but the keys.
        for name, data in kept.items():
            one.storage.put(name, data)
        assert not opens(one, directory, planted)
        with pytest.raises(KeyUnavailable):
            one.tenant(ACME).manifests()
        part = one.tenant(HOSTILE)
        assert regions.restored(one, HOSTILE) == regions.expected[HOSTILE] and part.manifests()


def test_a_wrapped_key_that_comes_back_does_not_count(regions: Regions) -> None:
    directory = regions.home.directory(ACME)
    wrap, planted = (
        regions.home.storage.get(directory.key(1)),
        regions.home.storage.get(directory.tenant_id()),
    )
    destroy(regions)
    regions.home.storage.put(directory.key(1), wrap)
    assert not opens(anew(regions)[0], directory, planted)
    mirroring.copy(regions.mirror, regions.home)
    assert not opens(anew(regions)[0], directory, planted)


def test_the_repository_is_whole_afterwards_and_the_copy_brings_nothing_back(regions: Regions) -> None:
    check(regions.home, Level.CONTENTS)
    destroy(regions)
    mirroring.copy(regions.home, regions.mirror)
    mirroring.copy(regions.mirror, regions.home)
    for one in anew(regions):
        report = check(one, Level.BASES, mirror=regions.mirror)
        assert report.whole, report.damages
        (path,) = {name.split("/")[1] for name, _, _ in one.storage.names(regions.home.directory(ACME).path)}
        left = [name for name, _, _ in one.storage.names(f"t/{path}/")]
        assert [sort_of(name) for name in left] == [Sort.SHREDDED]


def test_a_hold_forbids_it_and_nothing_is_gone(regions: Regions) -> None:
    with pytest.raises(PreconditionRefused, match="matter 12"):
        destroy(regions, "matter 12")
    regions.assert_whole(anew(regions)[0])
    regions.assert_whole(anew(regions)[1])
    assert receipts(regions.home, ACME) == []


def test_doing_it_again_adds_a_receipt_that_claims_no_second_destruction(regions: Regions) -> None:
    destroy(regions)
    again = destroy(regions)
    assert [(one.before, one.after, one.keys) for one in again.probes] == [(True, False, 0)] * 2
    assert again.deleted == 0


@pytest.mark.parametrize("fails_at", [0, 1, 2, 3, 7])
def test_cut_off_anywhere_it_goes_on(
    regions: Regions, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """A region fails at the n-th deletion; the second attempt ends it and knows what the first had seen."""
    right: Callable[[FolderStorage, str], None] = FolderStorage.delete
    calls = iter(range(1000))

    def failing(self: FolderStorage, name: str) -> None:
        if next(calls) == fails_at:
            raise KeyboardInterrupt
        right(self, name)

    planted = regions.home.storage.get(regions.home.directory(ACME).tenant_id())
    monkeypatch.setattr(FolderStorage, "delete", failing)
    with pytest.raises(KeyboardInterrupt):
        destroy(regions)
    receipt = destroy(regions)
    assert [(one.before, one.after) for one in receipt.probes] == [(True, False)] * 2
    assert not any(opens(one, regions.home.directory(ACME), planted) for one in anew(regions))


def test_a_receipt_that_was_changed_is_not_believed(regions: Regions) -> None:
    name = destroy(regions).name
    path = regions.path(regions.home, name)
    path.write_bytes(path.read_bytes().replace(b'"left":0', b'"left":1'))
    with pytest.raises(LifecycleError, match=name):
        receipts(regions.home, ACME)


def test_a_tenant_that_had_nothing_gets_a_receipt_of_nothing(regions: Regions) -> None:
    nobody = shred(regions.home, regions.mirror, type(ACME)("nobody"), held=lambda: "", now=time.time)
    assert nobody.deleted == 0 and not any(one.before for one in nobody.probes)


def test_figures_count_what_is_there(regions: Regions) -> None:
    full_base(regions.home.tenant(ACME), some_items(0, notes=8))
    by_tenant = {one.tenant: one for one in figures(regions.home)}
    acme = by_tenant[ACME]
    sizes = {name: size for name, size, _ in regions.home.storage.names(regions.home.directory(ACME).path)}
    assert acme.stored == sum(sizes.values())
    assert acme.packs == sum(size for name, size in sizes.items() if sort_of(name) is Sort.PACK)
    assert acme.bases == 3 and acme.unreferenced == 0 and acme.logical > 0
    assert (
        figures(regions.home, {acme.directory: 10**18})[0].cold
        + figures(regions.home, {acme.directory: 10**18})[1].cold
        == acme.packs
    )
    destroy(regions)
    gone = next(one for one in figures(regions.home) if one.directory == acme.directory)
    assert (gone.tenant, gone.packs, gone.bases) == (None, 0, 0)
