"""Moments through the whole log: random flushes, compactions and holes, bases and deltas, in a real repository."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from backups.log.log_rig import ACME, ACME_2, Rig, frame
from backups.moments.histories import History as Made
from backups.moments.memory_bases import MemoryBases
from backups.moments.test_oracle import assert_equal
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.moments.history import History
from tenant_lifecycle.backups.moments.synthetic import write_delta, write_synthetic
from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import UNCHANGED, Frame, Item, Reshape, Unknown, Upsert
from tenant_lifecycle.model.backup.manifest import Interval, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape, opaque
from tenant_lifecycle.model.backup.snapshot import Snapshot

NOW_US = 2_000_000_000_000_000


def _history(rig: Rig, bases: MemoryBases) -> History:
    slots = {}

    def slot_of(line: Line):
        return slots.setdefault(line, rig.slot_of(line))

    return History(bases, rig.log(), slot_of, lambda: NOW_US)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "repository")


def _flush(rig: Rig, frames: list[Frame], stretch: Stretch) -> None:
    """A neighbour writes at the same positions."""
    rig.slot().flush({ACME: frames, ACME_2: [frame(stretch.through)]}, stretch)


def _complete_us(made: Made, number: int) -> int:
    """The last moment of which every commit is among the first ``number``."""
    return min((one.at_us for one in made.frames[number:]), default=made.clock_us + 100) - 1


@pytest.mark.parametrize("seed", range(6))
def test_moments_of_the_window_are_exact_and_others_are_refused(rig: Rig, seed: int) -> None:
    rng = random.Random(seed)
    made = Made.of(seed + 500, 60)
    bases = MemoryBases()
    begin, through, through_us = 0, 4_000, 900_000
    while begin < len(made.frames):
        end = min(len(made.frames), begin + rng.randint(1, 9))
        position, complete_us = made.frames[end - 1].position, max(_complete_us(made, end), through_us)
        _flush(rig, made.frames[begin:end], Stretch(through, position, through_us + 1, complete_us))
        begin, through, through_us = end, position, complete_us
        if rng.random() < 0.25:
            rig.slot().compact(rig.by_directory)
            rig.slot().sweep(before=float("inf"))
        if rng.random() < 0.15 or not bases.stored:
            store, state = made.base_at(end)
            bases.full("blue", {"postgres": store}, {"postgres": state.items()})
        elif rng.random() < 0.3:
            _write_one(rng, rig, bases)
    window = _history(rig, bases).window()
    assert window.intervals
    tried = 0
    for at_us in {one.at_us + away for one in made.frames for away in (-1, 0, 1)}:
        inside = any(one.from_us <= at_us <= one.to_us for one in window.intervals)
        try:
            moment = _history(rig, bases).at(at_us)
        except NotRestorable as exc:
            assert not inside or "order of their times" in str(exc)
            continue
        assert inside
        assert_equal(moment, made.at(at_us))
        tried += 1
    assert tried > 20


def _write_one(rng: random.Random, rig: Rig, bases: MemoryBases) -> None:
    history = _history(rig, bases)
    window = history.window()
    if not window.intervals:
        return
    at_us = rng.randint(window.intervals[-1].from_us, window.intervals[-1].to_us)
    try:
        moment = history.at(at_us)
    except NotRestorable:
        return
    rng.choice((write_delta, write_synthetic))(bases, moment, at_us, None, {})


SHAPE = Shape("public.docs", (Column("id", "text"), Column("body", "text")), ("id",))


def _rows(at_us: int, log_from: int, items: tuple[Item, ...] = ()) -> StoreBase:
    """Sees nothing of the log."""
    sets = {"public.docs": SetStored(SHAPE, Fingerprint(), 0, 0)}
    return StoreBase("postgres", at_us, log_from, Snapshot(1, 1, frozenset(), log_from - 1), sets)


def _keys(at_us: int, log_from: int) -> StoreBase:
    return StoreBase(
        "redis", at_us, log_from, None, {"cache": SetStored(opaque("cache"), Fingerprint(), 0, 0)}
    )


def _base(bases: MemoryBases, *stores: StoreBase, timeline: int = 1) -> str:
    named = {store.store: store for store in stores}
    writer = bases.begin_base("blue", "full", None, {}, timeline=timeline)  # type: ignore[arg-type]
    for store in stores:
        for stored in store.sets.values():
            writer.add(store.store, stored.shape, [])
    return writer.commit(named, max(store.at_us for store in stores), None).id


def test_a_moment_needs_the_log_of_every_store(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10), _keys(150, 3))
    rig.slot().flush({ACME: [frame(20)]}, Stretch(0, 100, 0, 1000))
    assert _history(rig, bases).window().intervals == ()
    with pytest.raises(NotRestorable, match="no base whose change log is complete") as caught:
        _history(rig, bases).at(200)
    assert "archiver" in caught.value.next_step
    redis = rig.slot_of(Line("redis", environment="blue"))
    redis.flush({}, Stretch(0, 50, 0, 700))
    assert _history(rig, bases).window().intervals == (Interval(150, 700),)


@pytest.mark.parametrize(
    ("at_us", "why"),
    [
        (99, "before the first moment"),
        (1_500, "has a hole"),
        (5_000, "does not reach it"),
        (NOW_US + 1, "in the future"),
        (10**30, "in the future"),
        (-1, "before the first moment"),
    ],
)
def test_a_moment_that_cannot_be_is_refused_with_the_nearest_that_can(rig: Rig, at_us: int, why: str) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    _base(bases, _rows(2_000, 250))
    rig.slot().flush({ACME: [frame(20)]}, Stretch(0, 100, 0, 1000))
    rig.slot().flush({ACME: [frame(260)]}, Stretch(200, 300, 1_900, 3000))
    assert _history(rig, bases).window().intervals == (Interval(100, 1000), Interval(2_000, 3_000))
    with pytest.raises(NotRestorable, match=why) as caught:
        _history(rig, bases).at(at_us)
    assert "nearest: 1970-01-01T00:00:00." in caught.value.next_step
    assert "00.000100Z to 1970-01-01T00:00:00.001000Z" in caught.value.next_step


def test_a_delta_before_a_hole_does_not_bridge_it(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    rig.slot().flush({ACME: [frame(20)]}, Stretch(0, 100, 0, 1000))
    rig.slot().flush({ACME: [frame(260)]}, Stretch(200, 300, 1_900, 3000))
    write_delta(bases, _history(rig, bases).at(900), 900, None, {})
    window = _history(rig, bases).window()
    assert window.intervals == (Interval(100, 1000),)


def test_what_was_written_and_not_seen_is_a_gap_until_it_is_seen_again(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _keys(100, 1))
    redis = Line("redis", environment="blue")
    lost = Frame(5, 500, (Unknown("cache", b"k"),), not_before_us=400)
    other = Frame(6, 550, (Upsert("cache", b"other", (b"o",)),), not_before_us=540)
    rig.slot_of(redis).flush({ACME: [lost, other]}, Stretch(0, 6, 0, 600))
    window = _history(rig, bases).window()
    assert window.intervals == (Interval(100, 399),)
    seen = Frame(9, 800, (Upsert("cache", b"k", (b"v",)),), not_before_us=700)
    rig.slot_of(redis).flush({ACME: [seen]}, Stretch(6, 9, 601, 900))
    for _ in range(2):
        window = _history(rig, bases).window()
        assert window.intervals == (Interval(100, 399), Interval(700, 900))
        assert [(gap.from_us, gap.to_us, gap.store) for gap in window.gaps] == [(399, 700, "redis")]
        with pytest.raises(NotRestorable, match="was not seen"):
            _history(rig, bases).at(500)
        items = list(_history(rig, bases).at(800).items("redis", "cache"))
        assert [(item.key, item.cells) for item in items] == [(b"k", (b"v",)), (b"other", (b"o",))]
        rig.slot_of(redis).compact(rig.by_directory)
        rig.slot_of(redis).sweep(before=float("inf"))


def test_a_column_of_which_old_rows_are_not_told_is_a_gap_until_the_next_base(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    wider = Shape("public.docs", (*SHAPE.columns, Column("new", "text")), ("id",))
    rig.slot().flush({ACME: [frame(20), Frame(30, 300, (Reshape(wider),), 40)]}, Stretch(0, 100, 0, 1000))
    assert _history(rig, bases).window().intervals == (Interval(100, 299),)
    with pytest.raises(NotRestorable, match="unknown values in new"):
        _history(rig, bases).at(500)
    _base(bases, _rows(600, 60))
    assert _history(rig, bases).window().intervals == (Interval(100, 299), Interval(600, 1000))
    with pytest.raises(NotRestorable, match="unknown values in new"):
        _history(rig, bases).at(500)


def test_a_restore_in_place_begins_a_time_line_and_the_future_that_was_given_up_stays(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    rig.slot().flush({ACME: [frame(20, 200), frame(50, 500)]}, Stretch(0, 100, 0, 1000))
    _history(rig, bases).timelines.begin(2, begun_us=700, restored_us=300)
    _history(rig, bases).timelines.begin(2, begun_us=700, restored_us=300)
    history = _history(rig, bases)
    assert history.timelines.current() == 2
    assert history.window().intervals == (Interval(100, 699),)
    _base(bases, _rows(750, 80), timeline=2)
    history = _history(rig, bases)
    assert history.window().intervals == (Interval(100, 699), Interval(750, 1000))
    assert history.at(650).manifest.timeline == 1
    assert history.at(650, timeline=1).at_us == 650
    assert history.at(800).manifest.timeline == 2
    with pytest.raises(NotRestorable, match="on time-line 1: the change log does not reach it"):
        history.at(800, timeline=1)


def test_a_mark_names_a_moment_and_no_second_one(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    rig.slot().flush({}, Stretch(0, 100, 0, 1000))
    history = _history(rig, bases)
    for label in ("before the upgrade", "../x'; --\n"):
        history.timelines.put_mark(label, 400)
        history.timelines.put_mark(label, 400)
        assert history.at_mark(label).at_us == 400
    with pytest.raises(Exception, match="at another moment already"):
        history.timelines.put_mark("before the upgrade", 500)
    with pytest.raises(NotRestorable, match="no mark 'nobody'"):
        history.at_mark("nobody")


def test_a_base_is_there_without_any_log(rig: Rig) -> None:
    bases = MemoryBases()
    made = Made.of(77, 30)
    store, state = made.base_at(20)
    manifest = bases.full("blue", {"postgres": store}, {"postgres": state.items()})
    assert_equal(_history(rig, bases).of_base(manifest.id), state)


def test_the_moment_before_a_transaction_is_found_in_the_log(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    rig.slot().flush({ACME: [frame(20, 200), frame(50, 500, b"2")]}, Stretch(0, 100, 0, 1000))
    history = _history(rig, bases)
    for moment in (history.before_transaction("postgres", 57), history.before_position("postgres", 50)):
        assert [item.key for item in moment.items("postgres", "public.docs")] == [b"1"]
    with pytest.raises(NotRestorable, match="no commit of the tenant at transaction 9"):
        history.before_transaction("postgres", 9)


def test_a_segment_log_of_the_tenant_alone_serves_as_well(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    rig.log().append(Line("postgres", timeline=1), [frame(20, 200)], Stretch(0, 100, 0, 1000))
    assert _history(rig, bases).window().intervals == (Interval(100, 1000),)
    assert len(list(_history(rig, bases).at(200).items("postgres", "public.docs"))) == 1
    assert list(_history(rig, bases).at(199).items("postgres", "public.docs")) == []


def test_a_row_that_is_not_known_stays_so_until_every_cell_was_sent(rig: Rig) -> None:
    bases = MemoryBases()
    _base(bases, _rows(100, 10))
    frames = [
        Frame(20, 200, (Unknown("public.docs", b"1"),), 30),
        Frame(30, 300, (Upsert("public.docs", b"2", (b"2", UNCHANGED), b"1"),), 40),
        Frame(50, 500, (Upsert("public.docs", b"2", (b"2", b"whole")),), 50),
    ]
    rig.slot().flush({ACME: frames}, Stretch(0, 100, 0, 1000))
    assert _history(rig, bases).window().intervals == (Interval(100, 199), Interval(500, 1000))
    items = list(_history(rig, bases).at(500).items("postgres", "public.docs"))
    assert [(item.key, item.cells) for item in items] == [(b"2", (b"2", b"whole"))]
    with pytest.raises(NotRestorable, match="was not seen"):
        _history(rig, bases).at(400)
