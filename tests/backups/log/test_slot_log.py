"""One flush for all tenants gives each its own changes back, before and after it was moved to the tenant's log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from backups.log.log_rig import ACME, ACME_2, Rig, frame
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.log.stretch import Stretch
from tenant_lifecycle.errors import KeyUnavailable, LeaseLost, RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.names import TenantId


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "repository")


def _stretch(after: int, through: int) -> Stretch:
    return Stretch(after, through, after * 10, through * 10)


def _fill(rig: Rig, first: int = 0, flushes: int = 6) -> dict[TenantId, list[Frame]]:
    """One tenant in every flush, the other in every second one."""
    slot = rig.slot()
    every: dict[TenantId, list[Frame]] = {ACME: [], ACME_2: []}
    for number in range(first, first + flushes):
        begin = number * 10
        new = {ACME: [frame(begin + 1), frame(begin + 5)]}
        if number % 2:
            new[ACME_2] = [frame(begin + 5, key=b"theirs")]
        slot.flush(new, _stretch(begin, begin + 10))
        for tenant, frames in new.items():
            every[tenant] += frames
    return every


def _read(rig: Rig, tenant: TenantId, position: int = 0) -> list[Frame]:
    return list(rig.slot().frames(rig.log(tenant), position))


def test_each_tenant_reads_its_own_and_everybody_is_covered(rig: Rig) -> None:
    every = _fill(rig)
    assert {tenant: _read(rig, tenant) for tenant in every} == every
    assert len(rig.files()) == 6
    for tenant in every:
        coverage = rig.slot().coverage(rig.log(tenant).directory.path)
        assert coverage == [(_stretch(n * 10, n * 10 + 10), "") for n in range(6)]


def test_compacting_changes_where_frames_lie_and_nothing_else(rig: Rig) -> None:
    every = _fill(rig)
    assert rig.slot().compact(rig.by_directory) == 6
    assert rig.slot().sweep(before=float("inf")) == 5
    assert {tenant: _read(rig, tenant) for tenant in every} == every
    assert rig.slot().coverage(rig.log().directory.path) == [(_stretch(0, 60), "")]
    more = _fill(rig, first=6)
    for position in (0, 31, 55, 61, 66, 105, 200):
        for tenant, frames in every.items():
            expected = [one for one in [*frames, *more[tenant]] if one.position >= position]
            assert _read(rig, tenant, position) == expected
    assert rig.slot().compact(rig.by_directory) == 6
    assert rig.slot().compact(rig.by_directory) == 0
    assert _read(rig, ACME) == every[ACME] + more[ACME]
    assert len(list(rig.slot().check())) == 7


def test_flushing_twice_adds_nothing_and_what_overlaps_is_added_once(rig: Rig) -> None:
    every = _fill(rig, flushes=2)
    before = rig.files()
    rig.slot().flush({ACME: every[ACME]}, _stretch(0, 20))
    assert rig.files() == before
    rig.slot().flush({ACME: [*every[ACME], frame(25)]}, _stretch(0, 30))
    assert _read(rig, ACME) == [*every[ACME], frame(25)]


def test_of_two_archivers_one_is_told_so(rig: Rig) -> None:
    first, second = rig.slot(), rig.slot()
    first.flush({}, _stretch(0, 10))
    stale = second.head()
    first.flush({ACME: [frame(11)]}, _stretch(10, 20))
    second.head = lambda: stale  # type: ignore[method-assign]
    with pytest.raises(LeaseLost, match="another archiver"):
        second.flush({ACME: [frame(12)]}, _stretch(10, 20))
    assert _read(rig, ACME) == [frame(11)]


def test_a_flush_of_which_nobody_heard_that_it_worked_is_taken_for_ours(rig: Rig) -> None:
    first, again = rig.slot(), rig.slot()
    first.flush({}, _stretch(0, 10))
    stale = again.head()
    first.flush({ACME: [frame(11)]}, _stretch(10, 20))
    again.head = lambda: stale  # type: ignore[method-assign]
    again.flush({ACME: [frame(11)]}, _stretch(10, 20))
    assert _read(rig, ACME) == [frame(11)]


def test_a_tenant_that_could_not_be_archived_is_not_covered_and_others_are(rig: Rig) -> None:
    slot = rig.slot()
    slot.flush({}, _stretch(0, 10))
    slot.flush({ACME: [frame(11)]}, _stretch(10, 20), {ACME_2: "a row without an owner"})
    slot.flush({}, _stretch(20, 30))
    expected = [(_stretch(0, 10), ""), (_stretch(10, 20), "a row without an owner"), (_stretch(20, 30), "")]
    for _ in range(2):
        assert rig.slot().coverage(rig.log(ACME_2).directory.path) == expected
        assert {why for _, why in rig.slot().coverage(rig.log().directory.path)} == {""}
        slot.compact(rig.by_directory)


def test_a_hole_between_flushes_stays_one_when_they_are_compacted(rig: Rig) -> None:
    slot = rig.slot()
    slot.flush({ACME: [frame(1)]}, _stretch(0, 10))
    slot.flush({ACME: [frame(51)]}, _stretch(50, 60))
    slot.compact(rig.by_directory)
    assert [one for one, _ in rig.slot().coverage("")] == [_stretch(0, 10), _stretch(50, 60)]
    assert _read(rig, ACME) == [frame(1), frame(51)]


def test_shredding_one_tenant_takes_its_parts_of_shared_objects(rig: Rig) -> None:
    every = _fill(rig)
    assert _read(rig, ACME) == every[ACME]
    rig.keys[ACME].key = None
    with pytest.raises(KeyUnavailable):
        _read(rig, ACME)
    assert _read(rig, ACME_2) == every[ACME_2]


def test_a_flipped_byte_of_a_flush_is_named_and_never_read(rig: Rig) -> None:
    every = _fill(rig, flushes=2)
    for path in rig.files():
        sound = path.read_bytes()
        name = path.relative_to(rig.root).as_posix()
        for place in range(0, len(sound), 3):
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x20]) + sound[place + 1 :])
            with pytest.raises((RepositoryDamaged, KeyUnavailable), match=rf"{name}|no key of epoch"):
                list(rig.slot().check())
            for tenant in (ACME, ACME_2):
                with suppress(RepositoryDamaged, KeyUnavailable):
                    assert _read(rig, tenant) == every[tenant]
        path.write_bytes(sound)


def test_missing_objects_are_noticed_before_and_after_compacting(rig: Rig) -> None:
    _fill(rig)
    rig.files()[2].unlink()
    with pytest.raises(RepositoryDamaged, match="missing"):
        _read(rig, ACME)


def test_a_tenants_log_that_lost_its_end_is_noticed(rig: Rig) -> None:
    _fill(rig)
    rig.slot().compact(rig.by_directory)
    next(
        path for path in rig.files() if path.suffix == ".seg" and rig.log().directory.path in str(path)
    ).unlink()
    with pytest.raises(RepositoryDamaged, match="is not in the repository"):
        _read(rig, ACME)


class Killed(BaseException):
    """Stands for the end of the process."""


class Dying:
    """A storage in front of a real one, whose process ends before or after the n-th write."""

    def __init__(self, storage: Storage, writes: int, *, after: bool) -> None:
        self._storage, self._left, self._after = storage, writes, after
        self.where = storage.where

    def put(self, name: str, data: bytes) -> bool:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Killed
        done = self._storage.put(name, data)
        if self._left < 0:
            raise Killed
        return done

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._storage.get(name, offset, length)

    def names(self, prefix: str, after: str = "") -> Iterator[tuple[str, int, float]]:
        return self._storage.names(prefix, after)

    def delete(self, name: str) -> None:
        self._storage.delete(name)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("writes", range(3))
def test_killed_at_any_write_of_a_compaction_nothing_is_lost_or_twice(
    rig: Rig, writes: int, after: bool
) -> None:
    every = _fill(rig)
    dying = Dying(rig.storage, writes, after=after)

    def log_through_it(path: str) -> object:
        log = rig.by_directory(path)
        log.storage = dying
        return log

    with pytest.raises(Killed):
        rig.slot(dying).compact(log_through_it)  # type: ignore[arg-type]
    assert {tenant: _read(rig, tenant) for tenant in every} == every
    more = _fill(rig, first=6, flushes=1)
    rig.slot().compact(rig.by_directory)
    rig.slot().sweep(before=float("inf"))
    assert {tenant: _read(rig, tenant) for tenant in every} == {
        tenant: frames + more[tenant] for tenant, frames in every.items()
    }
