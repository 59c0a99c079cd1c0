"""A tenant's log gives back what was appended, once and in order, or names the object that is not what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.log.log_rig import ACME, ACME_2, Rig, frame
from tenant_lifecycle.backups.log import segment
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.errors import InvariantViolated, KeyUnavailable, LeaseLost, RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame

LINE = Line("postgres", timeline=1)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "repository")


def _fill(rig: Rig, segments: int = 4) -> list[Frame]:
    """Ten positions each."""
    log = rig.log()
    every: list[Frame] = []
    for number in range(segments):
        frames = [frame(number * 10 + place) for place in range(1, 11)]
        log.append(LINE, frames, _stretch(number * 10, number * 10 + 10))
        every += frames
    return every


def _stretch(after: int, through: int) -> Stretch:
    return Stretch(after, through, after * 10, through * 10)


def test_frames_are_read_as_they_were_appended_from_any_position(rig: Rig) -> None:
    frames = _fill(rig)
    for position in range(0, 45):
        assert list(rig.log().frames(LINE, position)) == frames[max(0, position - 1) :]
    assert rig.log().coverage(LINE) == [_stretch(0, 10), _stretch(10, 20), _stretch(20, 30), _stretch(30, 40)]
    assert rig.log().lines() == [LINE]


def test_reading_to_a_time_goes_on_to_the_first_frame_behind_it_and_not_much_further(rig: Rig) -> None:
    frames = _fill(rig)
    read = list(rig.log().frames(LINE, 1, through_us=140))
    assert read == frames[:30]


def test_appending_twice_adds_nothing_and_what_overlaps_is_added_once(rig: Rig) -> None:
    frames = _fill(rig, 2)
    before = rig.files()
    rig.log().append(LINE, frames, _stretch(0, 20))
    assert rig.files() == before
    rig.log().append(LINE, [*frames[15:], frame(21), frame(22)], _stretch(15, 22))
    assert list(rig.log().frames(LINE, 0)) == [*frames, frame(21), frame(22)]
    assert rig.log().coverage(LINE)[-1] == Stretch(20, 22, 150, 220)


def test_of_two_archivers_that_append_at_once_one_is_told_so(rig: Rig) -> None:
    first, second = rig.log(), rig.log()
    for log in (first, second):
        log.append(LINE, [frame(1)], _stretch(0, 1))
    second.head = lambda line: type(second).head(first, line)  # type: ignore[method-assign]
    second._heads.update(first._heads)
    stale = first.head(LINE)
    first.append(LINE, [frame(2)], _stretch(1, 2))
    second.head = lambda line: stale  # type: ignore[method-assign]
    with pytest.raises(LeaseLost, match="another archiver"):
        second.append(LINE, [frame(2, value=b"another")], _stretch(1, 2))
    second.append(LINE, [frame(2)], _stretch(1, 2))
    assert list(rig.log().frames(LINE, 0)) == [frame(1), frame(2)]


def test_frames_without_order_or_behind_what_they_cover_are_refused(rig: Rig) -> None:
    with pytest.raises(InvariantViolated, match="order"):
        rig.log().append(LINE, [frame(2), frame(1)], _stretch(0, 2))
    with pytest.raises(InvariantViolated, match="behind"):
        rig.log().append(LINE, [frame(3)], _stretch(0, 2))
    assert rig.files() == []


def test_a_large_append_is_several_segments_and_parts_of_a_transaction_stay_together(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "CLOSE_OPS", 3)
    frames = [frame(position, key=b"%d" % part) for position in (1, 2, 3, 4) for part in range(2)]
    rig.log().append(LINE, frames, _stretch(0, 9))
    assert list(rig.log().frames(LINE, 0)) == frames
    stretches = rig.log().coverage(LINE)
    assert [one.through for one in stretches] == [2, 9]
    assert [one.through_us for one in stretches] == [-1, 90]


def test_a_flipped_byte_is_named_wherever_it_is(rig: Rig) -> None:
    _fill(rig, 1)
    for path in rig.files():
        name = path.relative_to(rig.root).as_posix()
        sound = path.read_bytes()
        for place in range(len(sound)):
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            # A key epoch that does not exist is named as such.
            with pytest.raises((RepositoryDamaged, KeyUnavailable), match=rf"{name}|no key of epoch"):
                list(rig.log().frames(LINE, 0))
            path.write_bytes(sound)
    assert len(list(rig.log().frames(LINE, 0))) == 10


def test_a_segment_that_is_missing_cut_off_or_exchanged_is_named(rig: Rig) -> None:
    _fill(rig)
    second, third = rig.files()[1:3]
    sound = second.read_bytes()
    second.unlink()
    with pytest.raises(RepositoryDamaged, match=third.name):
        list(rig.log().frames(LINE, 0))
    for bad in (b"", sound[:10], sound[: len(sound) // 2], sound[:-1], third.read_bytes()):
        second.write_bytes(bad)
        with pytest.raises(RepositoryDamaged, match=second.name):
            list(rig.log().frames(LINE, 0))


def test_a_segment_that_was_replaced_by_an_older_one_of_the_same_name_is_noticed(
    rig: Rig, tmp_path: Path
) -> None:
    """Somebody who can write to the bucket, and kept an object from before, cannot bring it back."""
    other = Rig(tmp_path / "other")
    other.log().append(LINE, [frame(1, value=b"old")], _stretch(0, 10))
    _fill(rig, 2)
    rig.files()[0].write_bytes(other.files()[0].read_bytes())
    with pytest.raises(RepositoryDamaged, match="not the one that it was written after"):
        list(rig.log().frames(LINE, 0))


def test_a_tenants_segment_does_not_open_for_another(rig: Rig) -> None:
    _fill(rig, 1)
    mine = rig.files()[0]
    rig.log(ACME_2).append(LINE, [frame(1)], _stretch(0, 10))
    theirs = next(path for path in rig.files() if path != mine)
    mine.write_bytes(theirs.read_bytes())
    assert list(rig.log(ACME_2).frames(LINE, 0)) == [frame(1)]
    with pytest.raises(RepositoryDamaged, match="of another tenant"):
        list(rig.log(ACME).frames(LINE, 0))


def test_what_was_shredded_does_not_open(rig: Rig) -> None:
    frames = _fill(rig, 1)
    assert list(rig.log().frames(LINE, 0)) == frames
    rig.keys[ACME].key = None
    with pytest.raises(KeyUnavailable):
        list(rig.log().frames(LINE, 0))


def test_old_segments_may_be_deleted_and_the_rest_is_read(rig: Rig) -> None:
    frames = _fill(rig)
    for path in rig.files()[:2]:
        path.unlink()
    assert list(rig.log().frames(LINE, 21)) == frames[20:]
    assert rig.log().coverage(LINE)[0].after == 20


def test_hostile_names_of_stores_stay_in_their_folder(rig: Rig) -> None:
    hostile = Line("../../x*?[{\n\u2603'; --", environment="../blue/")
    rig.log().append(hostile, [frame(1)], _stretch(0, 1))
    rig.log().append(LINE, [frame(2)], _stretch(0, 2))
    assert list(rig.log().frames(hostile, 0)) == [frame(1)]
    assert set(rig.log().lines()) == {hostile, LINE}
