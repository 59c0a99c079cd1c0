"""Any moment, computed from bases and log, is what a plain dictionary says that it was: rows, columns, fingerprints."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import pytest

from backups.moments.histories import History, State
from backups.moments.memory_bases import MemoryBases
from tenant_lifecycle.backups.log.codec import blocks, decode
from tenant_lifecycle.backups.moments import overlay
from tenant_lifecycle.backups.moments.cut import Cut, before_position, before_transaction
from tenant_lifecycle.backups.moments.moment import FoldedMoment
from tenant_lifecycle.backups.moments.replay import reaches
from tenant_lifecycle.backups.moments.synthetic import write_delta, write_synthetic
from tenant_lifecycle.model.backup.items import Frame, Item
from tenant_lifecycle.model.backup.manifest import Manifest, StoreBase

HISTORIES = 25
MOMENTS = 40


class Restoring:
    """Bases of a history, and moments from them; frames went through their bytes."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.bases = MemoryBases()
        self.frames = [frame for block in blocks(history.frames) for frame in decode(block)]
        self.positions = [frame.position for frame in self.frames]

    def read(self, base: StoreBase) -> Iterator[Frame]:
        return iter(self.frames[bisect_left(self.positions, base.log_from) :])

    def base(self, number: int) -> Manifest:
        store, state = self.history.base_at(number)
        return self.bases.full("blue", {"postgres": store}, {"postgres": state.items()})

    def reaches(self, manifest: Manifest, cut: Cut) -> bool:
        base = manifest.stores["postgres"]
        return base.at_us <= cut.at_us and reaches(base, self.read(base), cut)

    def moment(self, manifest: Manifest, cut: Cut) -> FoldedMoment:
        ends = {"postgres": self.frames[-1].position + 1}
        return FoldedMoment(self.bases, manifest, cut, self.read, ends)


def assert_equal(moment: FoldedMoment, state: State) -> None:
    assert moment.shapes("postgres") == state.shapes
    for name, rows in state.rows.items():
        items = list(moment.items("postgres", name))
        assert items == [Item(name, key, rows[key]) for key in sorted(rows)]
    assert moment.fingerprints("postgres") == {name: state.fingerprint(name) for name in state.rows}


def _times(history: History, rng: random.Random) -> Sequence[int]:
    """Random ones, and those on either side of a commit."""
    edges = [frame.at_us + away for frame in history.frames for away in (-1, 0)]
    return [
        rng.choice(edges) if rng.random() < 0.6 else rng.randint(min(edges), max(edges) + 5)
        for _ in range(MOMENTS)
    ]


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_moment_is_what_it_was(seed: int) -> None:
    rng = random.Random(seed)
    history = History.of(seed, rng.randint(20, 90))
    restoring = Restoring(history)
    for number in sorted(rng.sample(range(len(history.frames)), 3)):
        restoring.base(number)
    tried = 0
    for at_us in _times(history, rng):
        for manifest in restoring.bases.manifests():
            if restoring.reaches(manifest, Cut(at_us)):
                assert_equal(restoring.moment(manifest, Cut(at_us)), history.at(at_us))
                tried += 1
    assert tried >= MOMENTS // 2


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_moment_after_deltas_and_synthetic_fulls_is_what_it_was(seed: int) -> None:
    rng = random.Random(1000 + seed)
    history = History.of(1000 + seed, 80)
    restoring = Restoring(history)
    newest = restoring.base(5)
    for at_us in sorted(_times(history, rng)):
        if not restoring.reaches(newest, Cut(at_us)):
            continue
        moment = restoring.moment(newest, Cut(at_us))
        assert_equal(moment, history.at(at_us))
        if rng.random() < 0.3:
            write = rng.choice((write_delta, write_synthetic))
            newest = write(restoring.bases, moment, at_us, None, {})
            assert_equal(restoring.moment(newest, Cut(at_us)), history.at(at_us))
    assert len(restoring.bases.manifests()) > 2


@pytest.mark.parametrize("seed", range(10))
def test_the_moment_before_a_commit_has_everything_up_to_it(seed: int) -> None:
    history = History.of(2000 + seed, 40)
    restoring = Restoring(history)
    manifest = restoring.base(10)
    for frame in history.frames[15:]:
        by_position = before_position("postgres", restoring.frames, frame.position)
        by_number = before_transaction("postgres", restoring.frames, frame.xid or 0)
        assert by_position == by_number
        assert_equal(restoring.moment(manifest, by_position), history.before(frame.position))


@pytest.mark.parametrize("seed", range(6))
def test_what_does_not_fit_into_memory_is_folded_on_disk(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "KEEP_ENTRIES", 3)
    test_every_moment_after_deltas_and_synthetic_fulls_is_what_it_was(seed)
