"""Base and log together: every state that a tenant's keys had comes back, also from a base that was read meanwhile.

The archiver is played by the test: it captures each key after it was written, as `operations.archive` does it.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from redis_pair import US, Pair

from backups.conftest import WRAPPING
from keyed_backup import FINGERPRINTS, base_of, go_on
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.moments.synthetic import write_synthetic
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup import parts
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Delete, Frame, Op, Upsert
from tenant_lifecycle.model.backup.manifest import BaseKind, StoreBase
from tenant_lifecycle.model.backup.parts import Held
from tenant_lifecycle.operations.backup.taking import Order, take_full

#: Steps before, during and after the reading of the base.
BEFORE, DURING, AFTER = 15, 6, 25


class Rig:
    """A tenant that is written to, an archiver, and what was there after every write."""

    def __init__(self, pair: Pair, backups: TenantBackups, seed: int) -> None:
        self.pair, self.backups, self.rng = pair, backups, random.Random(seed)
        self._ticks = itertools.count(1_000, 10)
        pair.source.clock = self.now
        self.frames: list[Frame] = []
        self.states: dict[int, dict[str, Fingerprint]] = {}

    def now(self) -> int:
        return next(self._ticks)

    def step(self) -> None:
        """Something is written and, when that has ended, captured."""
        began, key = self.now(), b"answer:1:%d" % self.rng.randrange(12)
        self._write(key)
        ended = self.now()
        self.frames.append(Frame(ended, ended, tuple(self._captured(key)), None, began))
        self.states[self.now()] = base_of(self.pair.source, US).fingerprints()

    def _write(self, key: bytes) -> None:
        db, rng = self.pair.blue, self.rng
        if rng.random() < 0.4:
            db.delete(key)
        match rng.randrange(4):
            case 0:
                db.delete(key)
            case 1:
                db.set(key, rng.randbytes(rng.choice((5, 50, 9_000))), px=rng.choice((None, 10**7)))
            case 2:
                db.delete(key)
                db.hset(key, mapping={b"%d" % n: rng.randbytes(100) for n in range(rng.choice((1, 60)))})
            case 3:
                db.delete(key)
                db.xadd(key, {b"f": rng.randbytes(rng.choice((3, 3_000)))})

    def _captured(self, key: bytes) -> list[Op]:
        source = self.pair.source
        (item,) = source.capture(US, [key])
        if item is None:
            return [Delete("answers", key)]
        items = [item] if item.cells else source.capture_big(US, key)
        return [Upsert(one.set, one.key, one.cells) for one in items]

    def base(self) -> int:
        """Take a base, with writes in the middle of its reading; when it was whole."""
        writer = self.backups.begin_base("blue", BaseKind.FULL, None, {})
        with self.pair.source.read_base(US, go_on) as reading:
            sets, begun = {}, reading.at_us
            for name in reading.shapes:
                items = reading.items(name)
                first = list(itertools.islice(items, 4)) if name == "answers" else []
                for _ in range(DURING if name == "answers" else 0):
                    self.step()
                sets[name] = writer.add("redis", reading.shapes[name], itertools.chain(first, items))
        ended = self.now()
        writer.commit({"redis": StoreBase("redis", ended, begun, None, sets, {})}, ended, None)
        return ended


@pytest.mark.parametrize("seed", range(4))
def test_every_state_comes_back_from_a_base_that_was_read_while_writes_went_on(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Small parts, and small pages of keys: big values and long readings are cheap so.
    monkeypatch.setattr(parts, "PART_BYTES", 2_000)
    monkeypatch.setattr("tenant_lifecycle.stores.redis.backup.PAGE", 2)
    repository = Repository.create(FolderStorage.create(tmp_path / "repository"), WRAPPING)
    rig = Rig(pair, repository.tenant(US), seed)
    for _ in range(BEFORE):
        rig.step()
    whole = rig.base()
    for _ in range(AFTER):
        rig.step()
    end = rig.now()
    repository.slot(Line("redis", environment="blue")).flush({US: rig.frames}, Stretch(1, end, 1, end))
    key, tried = rig.backups.fingerprint_key(), 0
    for at, state in rig.states.items():
        if at < whole:
            continue
        moment = rig.backups.moment(at)
        items = list(moment.items("redis", "answers"))
        assert fingerprint(FINGERPRINTS, items) == state["answers"]
        assert moment.fingerprints("redis")["answers"] == fingerprint(key, items)
        if tried % 6 == 0:
            preview = pair.source.open_preview(US, f"at_{at}", moment.shapes("redis"), {})
            preview.load("answers", iter(items), go_on)
            assert preview.fingerprints(FINGERPRINTS)["answers"] == state["answers"]
            preview.discard()
        tried += 1
    _synthetic_base_has_no_parts_that_nothing_names(rig, at)
    assert tried == AFTER and any(
        parts.is_part(op.key) for one in rig.frames for op in one.ops if isinstance(op, Upsert)
    )


def _synthetic_base_has_no_parts_that_nothing_names(rig: Rig, at: int) -> None:
    moment = rig.backups.moment(at)
    before = {item.key for item in moment.items("redis", "answers")}
    manifest = write_synthetic(rig.backups, moment, at, None, {})  # type: ignore[arg-type]
    after = list(rig.backups.items(manifest, "redis", "answers"))
    assert {key for key in before if not parts.is_part(key)} == {
        item.key for item in after if not parts.is_part(item.key)
    }
    named = {
        digest
        for item in after
        if not parts.is_part(item.key)
        for digest in Held.read(item.cells[0] or b"").parts
    }
    assert {parts.part_key(digest) for digest in named} == {
        item.key for item in after if parts.is_part(item.key)
    }


def test_a_base_that_the_operation_takes_is_where_the_log_goes_on(pair: Pair, tmp_path: Path) -> None:
    repository = Repository.create(FolderStorage.create(tmp_path / "repository"), WRAPPING)
    rig = Rig(pair, repository.tenant(US), 0)
    for step in range(20):
        rig.step()
        if step == 9:
            begun, whole = rig.now(), take_full(
                rig.backups, {"redis": pair.source}, Order("blue", {}), go_on, lambda _: None
            ).stores["redis"].at_us  # fmt: skip
    end = rig.now()
    # The archive began before the base, but not with the store.
    frames = [one for one in rig.frames if one.at_us > begun - 200]
    stretch = Stretch(begun - 200, end, begun - 200, end)
    repository.slot(Line("redis", environment="blue")).flush({US: frames}, stretch)
    later = [at for at in rig.states if at > whole]
    assert len(later) == 10
    for at in later:
        found = fingerprint(FINGERPRINTS, rig.backups.moment(at).items("redis", "answers"))
        assert found == rig.states[at]["answers"]
