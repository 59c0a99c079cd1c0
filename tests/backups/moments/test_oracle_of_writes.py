"""Stores without a log: any moment out of captured writes is what some order of the writes allows, or is a gap."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from backups.moments.memory_bases import KEY, MemoryBases
from tenant_lifecycle.backups.moments.cut import Cut
from tenant_lifecycle.backups.moments.doubts import Doubts, of_base
from tenant_lifecycle.backups.moments.moment import FoldedMoment
from tenant_lifecycle.backups.moments.synthetic import write_delta, write_synthetic
from tenant_lifecycle.backups.moments.window import Reach, contains, intervals
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.items import Delete, Frame, Item, Op, Unknown, Upsert
from tenant_lifecycle.model.backup.manifest import Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import opaque

SET = "session:{tenant}"
KEYS = [b"a", b"b/..", b"c*", b"d\x00", b"e"]


@dataclass(frozen=True)
class Write:
    key: bytes
    value: bytes | None
    #: Opened, took effect, and ended.
    begun: int
    effect: int
    ended: int
    lost: bool


class Traffic:
    """Writes of several clients; what each key was at any time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.writes: list[Write] = []
        for key in KEYS:
            clock = 1_000
            for _ in range(12):
                begun = clock + self.rng.randint(5, 120)
                effect = begun + self.rng.randint(1, 20)
                ended = effect + self.rng.randint(1, 20)
                value = None if self.rng.random() < 0.2 else b"%d" % self.rng.randrange(10**6)
                lost = self.rng.random() < 0.08
                self.writes.append(Write(key, value, begun, effect, ended, lost))
                # Written again before anybody could look.
                clock = ended - 1 if lost else ended + 2
        self.writes.sort(key=lambda write: write.ended)
        self.frames = [
            Frame(10 + number, write.ended, (_op(write),), not_before_us=write.begun)
            for number, write in enumerate(self.writes)
        ]

    def value(self, key: bytes, at_us: int) -> bytes | None:
        """By the time of effect: what a reader saw."""
        seen = [write.value for write in self.writes if write.key == key and write.effect <= at_us]
        return seen[-1] if seen else None

    def allowed(self, key: bytes, at_us: int) -> set[bytes | None]:
        """By the promise: what had ended surely counts; what was under way may."""
        ended = [write.value for write in self.writes if write.key == key and write.ended <= at_us]
        under_way = [w.value for w in self.writes if w.key == key and w.begun <= at_us < w.ended]
        return {ended[-1] if ended else None, *under_way}

    def base(self, bases: MemoryBases, begin: int) -> Manifest:
        """Read key by key while writes go on."""
        at_us, items = begin, []
        for key in KEYS:
            at_us += self.rng.randint(0, 40)
            value = self.value(key, at_us)
            if value is not None:
                items.append(Item(SET, key, (value,), at_us))
        first = next((f.position for f in self.frames if f.at_us > begin), self.frames[-1].position + 1)
        stored = SetStored(opaque(SET), fingerprint(KEY, items), 0, 0)
        base = StoreBase("redis", at_us + 1, first, None, {SET: stored})
        return bases.full("blue", {"redis": base}, {"redis": items})


def _op(write: Write) -> Op:
    if write.lost:
        return Unknown(SET, write.key)
    return Delete(SET, write.key) if write.value is None else Upsert(SET, write.key, (write.value,))


@pytest.mark.parametrize("seed", range(40))
def test_every_moment_is_what_some_order_of_the_writes_allows(seed: int) -> None:
    traffic, bases = Traffic(seed), MemoryBases()
    doubts = Doubts()
    doubts.take(traffic.frames)
    newest = traffic.base(bases, traffic.rng.randint(1_000, 1_600))
    end = traffic.frames[-1].at_us + 50
    tried = 0
    for at_us in sorted(traffic.rng.sample(range(1_000, end), 40)):
        base = newest.stores["redis"]
        said = tuple(of_base(base, doubts.found(), ()))
        if not contains(intervals([Reach("redis", base.at_us, end, said)]), at_us):
            continue
        moment = _moment(traffic, bases, newest, at_us)
        items = list(moment.items("redis", SET))
        found = {item.key: item.cells[0] for item in items}
        for key in KEYS:
            assert found.get(key) in traffic.allowed(key, at_us), (key, at_us)
        assert moment.fingerprints("redis")[SET] == fingerprint(KEY, items)
        tried += 1
        if tried in (3, 6):
            write = write_delta if tried == 3 else write_synthetic
            newest = write(bases, moment, at_us, None, {})
    assert tried >= 3 or any(doubt.to_us is None for doubt in doubts.found())


def _moment(traffic: Traffic, bases: MemoryBases, manifest: Manifest, at_us: int) -> FoldedMoment:
    ends = {"redis": traffic.frames[-1].position + 1}
    return FoldedMoment(
        bases,
        manifest,
        Cut(at_us),
        lambda base: (f for f in traffic.frames if f.position >= base.log_from),
        ends,
    )
