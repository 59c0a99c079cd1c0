"""Checks find what is damaged, name it with what it hurts, and the second region mends it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from care_regions import ACME, HERE, HOSTILE, Regions, make_regions

from tenant_lifecycle.backups import reader
from tenant_lifecycle.backups.care.check import Part, check
from tenant_lifecycle.backups.care.ledger import read_ledger
from tenant_lifecycle.backups.care.objects import Sort, check_opened, directory_of, sort_of
from tenant_lifecycle.backups.care.repair import check_and_mend, open_or_mend
from tenant_lifecycle.backups.care.report import Damage, Level, Problem, Report
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import KeyUnavailable, LifecycleError


def look(repository: Repository, level: Level = Level.CONTENTS) -> Report:
    return check(repository, level)


def mend(regions: Regions) -> Report:
    """Everything from the beginning, as a command does: open, check, mend."""
    opened = open_or_mend(FolderStorage(Path(regions.home.storage.where)), HERE, regions.mirror)
    home = opened.repository
    report = check_and_mend(lambda: check(home, Level.CONTENTS, mirror=regions.mirror), home, regions.mirror)
    root = [Damage(Problem(name, "mended before opening"), "", "", mended="yes") for name in opened.mended]
    return replace(report, damages=(*report.damages, *root))


def names(repository: Repository) -> list[str]:
    return [name for name, _, _ in repository.storage.names("") if not name.startswith(("verify/", "aside/"))]


def flip(path: Path, position: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= bit
    path.chmod(0o600)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("level", Level)
def test_a_whole_repository_has_no_damage_at_any_level(regions: Regions, level: Level) -> None:
    for repository in (regions.home, regions.mirror):
        for _ in range(2):
            report = check(repository, level, mirror=regions.mirror)
            assert report.whole and not report.strays
            assert report.bases == (4 if level is Level.BASES else 0)
    regions.assert_whole(regions.mirror)


def test_any_byte_anywhere_is_found_and_mended(tmp_path: Path) -> None:
    """Random bytes of every object of a small repository; all positions of them are in the next test."""
    regions = make_regions(tmp_path, [ACME])
    dice = random.Random(5)
    for name in names(regions.home):
        path = regions.path(regions.home, name)
        size = path.stat().st_size
        # Each mending checks everything twice; single bytes of the large ones are in the next test.
        for position in dice.sample(range(size), min(size, 2)):
            flip(path, position, 1 << dice.randrange(8))
            report = mend(regions)
            found = {one.problem.name for one in report.damages}
            assert name in found, (name, position)
            assert report.whole, (name, position, report.damages)
            regions.assert_whole(Repository.open(FolderStorage(tmp_path / "here"), HERE))
            assert look(regions.home).whole


def test_every_byte_of_every_object_is_looked_at(regions: Regions) -> None:
    """Without mending, so that each position of each object can be tried."""
    for name in names(regions.home):
        path = regions.path(regions.home, name)
        whole = path.read_bytes()
        positions = range(len(whole)) if len(whole) < 400 else range(0, len(whole), len(whole) // 60)
        for position in positions:
            flip(path, position)
            assert damaged(regions, name), (name, position)
            path.write_bytes(whole)


def damaged(regions: Regions, name: str) -> bool:
    """Whether one object is found damaged, with what a check does to each."""
    storage = FolderStorage(Path(regions.home.storage.where))
    try:
        home = Repository.open(storage, HERE)
        check_opened(home.place(directory_of(name)), name, storage.get(name))
    except LifecycleError:
        return True
    return False


def test_a_damage_says_which_bases_it_hurts(regions: Regions) -> None:
    first, second = regions.expected[ACME]
    part = regions.home.tenant(ACME)
    directory = part.place.directory
    packs = [
        name for name in names(regions.home) if sort_of(name) is Sort.PACK and name.startswith(directory.path)
    ]
    hurt = {}
    for name in packs:
        path = regions.path(regions.home, name)
        whole = path.read_bytes()
        flip(path, len(whole) // 2)
        (one,) = look(regions.home, Level.BYTES).damages
        assert (one.problem.name, one.sort, one.directory) == (name, "pack", directory.path)
        hurt[name] = set(one.bases)
        path.write_bytes(whole)
    assert sorted(map(len, hurt.values())) == [1, 2], (
        "the delta's pack hurts the delta, the base's hurts both"
    )
    assert set().union(*hurt.values()) == {first, second}
    regions.path(regions.home, directory.manifest(first)).unlink()
    lost = next(one for one in look(regions.home).damages if one.problem.name == directory.manifest(first))
    assert set(lost.bases) == {first, second}
    assert not any(one.directory != directory.path for one in look(regions.home).damages)


@pytest.mark.parametrize("sort", [Sort.PACK, Sort.INDEX, Sort.MANIFEST, Sort.TENANT, Sort.KEY, Sort.FORMAT])
def test_a_missing_object_is_found_and_brought_back(regions: Regions, sort: Sort) -> None:
    look(regions.home)
    for name in [one for one in names(regions.home) if sort_of(one) is sort]:
        regions.path(regions.home, name).unlink()
    report = mend(regions)
    assert report.whole
    assert report.damages
    regions.assert_whole(Repository.open(FolderStorage(Path(regions.home.storage.where)), HERE))


def test_without_a_copy_a_missing_manifest_is_found_by_the_one_after_it(regions: Regions) -> None:
    part = regions.home.tenant(HOSTILE)
    first, second = regions.expected[HOSTILE]
    regions.path(regions.home, part.place.directory.manifest(first)).unlink()
    report = check(regions.home, Level.BASES)
    found = {one.problem.name for one in report.damages}
    assert f"{part.place.directory.manifest(second)}#previous" in found


def test_level_0_sees_a_cut_off_object_and_level_1_needs_no_tenants_key(regions: Regions) -> None:
    look(regions.home)
    name = next(one for one in names(regions.home) if sort_of(one) is Sort.PACK)
    path = regions.path(regions.home, name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    (one,) = look(regions.home, Level.LISTED).damages
    assert one.problem.name == name
    path.write_bytes(whole)
    for key in [one for one in names(regions.home) if sort_of(one) is Sort.KEY and one.startswith("t/")]:
        regions.path(regions.home, key).unlink()
    flip(path, 200)
    assert name in {one.problem.name for one in look(regions.home, Level.BYTES).damages}


def test_a_copy_that_is_damaged_itself_mends_nothing(regions: Regions) -> None:
    name = next(one for one in names(regions.home) if sort_of(one) is Sort.PACK)
    for repository in (regions.home, regions.mirror):
        flip(regions.path(repository, name), 300)
    before = regions.path(regions.home, name).read_bytes()
    report = mend(regions)
    assert not report.whole
    (one,) = [one for one in report.damages if one.problem.name == name]
    assert "the copy does not help" in one.unmended
    assert regions.path(regions.home, name).read_bytes() == before, "nothing was thrown away"


def test_what_was_damaged_is_set_aside_and_not_thrown_away(regions: Regions) -> None:
    name = next(one for one in names(regions.home) if sort_of(one) is Sort.INDEX)
    path = regions.path(regions.home, name)
    flip(path, 99)
    bad = path.read_bytes()
    assert mend(regions).whole
    (aside,) = [one for one, _, _ in regions.home.storage.names("aside/")]
    assert aside.endswith(name) and regions.home.storage.get(aside) == bad


def test_the_mirror_is_mended_from_the_repository(regions: Regions) -> None:
    name = next(one for one in names(regions.mirror) if sort_of(one) is Sort.PACK)
    flip(regions.path(regions.mirror, name), 100)
    report = check_and_mend(lambda: check(regions.mirror, Level.CONTENTS), regions.mirror, regions.home)
    assert report.whole and [one.problem.name for one in report.damages] == [name]
    regions.assert_whole(regions.mirror)


def test_a_wrong_wrapping_key_is_no_damage_to_be_mended(regions: Regions) -> None:
    before = {name: regions.path(regions.home, name).read_bytes() for name in names(regions.home)}
    with pytest.raises(KeyUnavailable):
        open_or_mend(regions.home.storage, LocalWrapping(bytes(32)), regions.mirror)
    assert before == {name: regions.path(regions.home, name).read_bytes() for name in names(regions.home)}


def test_items_that_do_not_add_up_are_found_at_level_3(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Authentic, and yet another item than was read: only the fingerprint tells."""
    right: Callable[..., object] = reader.BaseReader.items

    def one_less(*arguments: object) -> object:
        items = list(right(*arguments))  # type: ignore[call-overload]
        return iter(items[1:])

    monkeypatch.setattr(reader.BaseReader, "items", one_less)
    report = check(regions.home, Level.BASES)
    assert len(report.damages) == 8 and report.bases == 0


def test_a_part_of_the_check_reads_a_part_and_soon_all(regions: Regions) -> None:
    everything = {one for one in names(regions.home) if not one.startswith("tomb")}
    day, at = 86_400.0, [2e9]
    for _ in range(30):
        at[0] += day
        report = check(regions.home, Level.CONTENTS, part=Part(30 * day, day), now=lambda: at[0])
        assert report.whole
    opened = read_ledger(regions.home.storage, regions.home.signer).opened_at
    assert everything <= set(opened)
    assert all(at[0] - when <= 30 * day for when in opened.values())
