"""The whole of it: a real repository with two tenants, bases, flushes, deltas, and any moment out of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from backups.conftest import WRAPPING
from backups.moments.histories import History as Made
from backups.moments.histories import State
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.moments.moment import FoldedMoment
from tenant_lifecycle.backups.moments.synthetic import write_delta, write_synthetic
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, SetStored
from tenant_lifecycle.model.names import TenantId

LINE = Line("postgres", environment="blue")


def _opened(root: Path) -> Repository:
    return Repository.open(FolderStorage(root), WRAPPING)


@pytest.mark.parametrize("seed", range(3))
def test_any_moment_comes_back_out_of_a_real_repository(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    Repository.create(FolderStorage.create(tmp_path), WRAPPING)
    tenants = {TenantId("acme"): Made.of(seed, 40), TenantId("acme'; --*/../\n"): Made.of(seed + 50, 40)}
    for tenant, made in tenants.items():
        _base(_opened(tmp_path).tenant(tenant), made, 3)
    through = 4_000
    for begin in range(0, 40, 8):
        end = min(40, begin + 8)
        position = max(made.frames[end - 1].position for made in tenants.values()) + through
        frames = {
            tenant: [one for one in made.frames if through < one.position <= position]
            for tenant, made in tenants.items()
        }
        _opened(tmp_path).slot(LINE).flush(frames, Stretch(through, position, through * 100, position * 100))
        through = position
    _opened(tmp_path).slot(LINE).flush({}, Stretch(through, through + 1, through * 100, 10**12))
    repository = _opened(tmp_path)
    repository.slot(LINE).compact(repository.log_in)
    for tenant, made in tenants.items():
        _check(rng, _opened(tmp_path).tenant(tenant), made)


def _check(rng: random.Random, backups: TenantBackups, made: Made) -> None:
    tried = 0
    for at_us in sorted(rng.choices([one.at_us + away for one in made.frames for away in (-1, 0)], k=12)):
        try:
            moment = backups.moment(at_us)
        except NotRestorable:
            continue
        _assert_equal(backups, moment, made.at(at_us))
        tried += 1
        if tried in (2, 5):
            write = write_delta if tried == 2 else write_synthetic
            write(backups, moment, at_us, None, {"made": "by the test"})  # type: ignore[arg-type]
    kinds = {manifest.kind for manifest in backups.manifests()}
    assert kinds == {BaseKind.FULL, BaseKind.DELTA, BaseKind.SYNTHETIC}
    assert tried >= 6


def _base(backups: TenantBackups, made: Made, number: int) -> None:
    store, state = made.base_at(number)
    writer = backups.begin_base("blue", BaseKind.FULL, None, {})
    sets: dict[str, SetStored] = {}
    for name, rows in state.rows.items():
        items = [Item(name, key, cells) for key, cells in rows.items()]
        sets[name] = writer.add("postgres", state.shapes[name], items)
    stored = type(store)(store.store, store.at_us, store.log_from, store.snapshot, sets, {})
    writer.commit({"postgres": stored}, store.at_us, None)


def _assert_equal(backups: TenantBackups, moment: FoldedMoment, state: State) -> None:
    key = backups.fingerprint_key()
    assert moment.shapes("postgres") == state.shapes
    fingerprints = moment.fingerprints("postgres")
    for name, rows in state.rows.items():
        expected = [Item(name, one, rows[one]) for one in sorted(rows)]
        assert list(moment.items("postgres", name)) == expected
        assert fingerprints[name] == fingerprint(key, expected)
