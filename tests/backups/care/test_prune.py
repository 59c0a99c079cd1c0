"""Letting go: what may go goes after its grace time, and nothing else ever does, wherever the sweeper is killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from making import NOTES, OBJECTS, full_base, in_order, some_items, stores_of

from conftest import ACME, HERE, HOSTILE, THERE, Items, Regions
from tenant_lifecycle.backups.care import mirror as mirroring
from tenant_lifecycle.backups.care.check import check
from tenant_lifecycle.backups.care.lease import SweeperLease
from tenant_lifecycle.backups.care.objects import Sort, sort_of
from tenant_lifecycle.backups.care.prune import Asked, Pruned, plan, prune
from tenant_lifecycle.backups.care.report import Level
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import RepositoryRejected, WrongState
from tenant_lifecycle.model.backup.items import Delete, Frame
from tenant_lifecycle.model.backup.manifest import BaseKind
from tenant_lifecycle.model.backup.policy import BackupPolicies, BackupPolicy, CarePolicy
from tenant_lifecycle.model.names import TenantId

DAY = 86_400.0
#: Keeps nothing but the newest base.
STRICT = BackupPolicy(DAY, DAY, DAY, 0, 0, 0, pitr_s=0.0, rpo_s=5.0, least_bases=1)
POLICIES = BackupPolicies({"strict": STRICT}, "strict", CarePolicy())
ANYBODY = Asked(lambda _: "strict", lambda _: "")


class Clocked(FolderStorage):
    """A folder whose clock can be moved, and that can kill its process before one of its changes."""

    ahead_s = 0.0
    changes_left: int | None = None

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._written: dict[str, float] = {}

    def now(self) -> float:
        return time.time() + self.ahead_s

    def names(self, prefix: str, after: str = "") -> Iterator[tuple[str, int, float]]:
        for name, size, modified in super().names(prefix, after):
            yield name, size, self._written.get(name, modified)

    def put(self, name: str, data: bytes) -> bool:
        self._count()
        created = super().put(name, data)
        if created:
            self._written[name] = self.now()
        return created

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def _count(self) -> None:
        if self.changes_left is not None:
            self.changes_left -= 1
            if self.changes_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Bench:
    """Both regions on clocks that can be moved."""

    folder: Path

    def __post_init__(self) -> None:
        self.storage, self.copy = Clocked(self.folder / "here"), Clocked(self.folder / "there")
        self.home = Repository.open(self.storage, HERE)
        self.mirror = Repository.open(self.copy, THERE)

    def later(self, seconds: float) -> None:
        self.storage.ahead_s += seconds
        self.copy.ahead_s += seconds

    def prune(self, asked: Asked = ANYBODY, policies: BackupPolicies = POLICIES) -> Pruned:
        return prune(self.home, self.mirror, policies, asked, owner="test", now=self.storage.now)

    def names(self, sort: Sort, storage: Storage | None = None) -> set[str]:
        return {name for name, _, _ in (storage or self.storage).names("") if sort_of(name) is sort}

    def base(self, tenant: TenantId, seed: int) -> tuple[str, Items]:
        """One more full base that shares nothing with the others, and what it holds."""
        items = some_items(seed, notes=8)
        made = full_base(self.home.tenant(tenant), items)
        return made.id, {name: in_order(of) for name, of in items.items()}

    def assert_whole(self) -> None:
        for repository in (self.home, self.mirror):
            report = check(repository, Level.BASES, mirror=self.mirror)
            assert report.whole, report.damages


@pytest.fixture
def bench(regions: Regions, tmp_path: Path) -> Bench:
    """Three bases of acme (the second is a delta), two of the other; only the newest of each is wanted."""
    bench = Bench(tmp_path)
    bench.newest = dict([bench.base(ACME, 7)])  # type: ignore[attr-defined]
    mirroring.copy(bench.home, bench.mirror)
    return bench


def test_a_plan_names_what_may_go_with_every_reason_and_changes_nothing(bench: Bench) -> None:
    before = [name for name, _, _ in bench.storage.names("")]
    acme = next(
        one for one in plan(bench.home, POLICIES, ANYBODY, bench.storage.now()).plans
        if one.directory == bench.home.directory(ACME).path
    )  # fmt: skip
    assert [one.why for one in acme.doomed] == ["no rule of its tier needs it any more"] * 2
    assert acme.retention is not None and [one.keep for one in acme.retention.bases] == [False, False, True]
    assert [name for name, _, _ in bench.storage.names("")] == before


def test_nothing_goes_before_its_grace_time_and_then_it_goes_everywhere(bench: Bench) -> None:
    packs = bench.names(Sort.PACK)
    marked = bench.prune()
    assert (marked.marked, marked.deleted) == (2, 0)
    bench.later(71 * 3600)
    assert bench.prune().deleted == 0
    bench.assert_whole()
    bench.later(2 * 3600)
    assert bench.prune().deleted == 2
    assert len(bench.names(Sort.MANIFEST)) == len(bench.names(Sort.MANIFEST, bench.copy)) == 3
    for _ in range(6):
        bench.later(100 * 3600)
        bench.prune()
        bench.assert_whole()
    left = bench.names(Sort.PACK)
    assert left < packs and left == bench.names(Sort.PACK, bench.copy)
    assert bench.names(Sort.TOMB) == set(), "marks go with the last index that leads to what they mark"
    (newest,) = bench.home.tenant(ACME).manifests()
    part = bench.mirror.tenant(ACME)
    held = {
        name: list(part.items(newest, store.store, name))
        for store in newest.stores.values()
        for name in store.sets
    }
    assert {newest.id: held} == bench.newest  # type: ignore[attr-defined]
    assert len(bench.home.tenant(HOSTILE).manifests()) == 2, "its delta needs the parent"


def test_what_is_wanted_again_loses_its_mark(bench: Bench) -> None:
    assert bench.prune().marked == 2
    generous = BackupPolicies(
        {"strict": BackupPolicy(DAY, DAY, 400 * DAY, 9, 9, 9, 30 * DAY, 5.0, 9)}, "strict"
    )
    bench.later(100 * 3600)
    assert bench.prune(policies=generous).spared == 2
    assert bench.names(Sort.TOMB) == set()
    bench.later(100 * 3600)
    assert bench.prune().deleted == 0, "the more generous policy rests for seven days after it was given up"
    bench.later(8 * DAY)
    assert bench.prune().marked == 2


def test_a_changed_policy_deletes_nothing_for_seven_days(bench: Bench) -> None:
    generous = BackupPolicies(
        {"strict": BackupPolicy(DAY, DAY, 400 * DAY, 9, 9, 9, 30 * DAY, 5.0, 9)}, "strict"
    )
    assert bench.prune(policies=generous).marked == 0
    planned = plan(bench.home, POLICIES, ANYBODY, bench.storage.now())
    assert not any(one.doomed for one in planned.plans)
    assert bench.prune().marked == 0
    bench.later(7 * DAY - 60)
    assert bench.prune().marked == 0
    bench.later(120)
    assert bench.prune().marked == 2


def test_a_hold_stops_marking_and_deleting(bench: Bench) -> None:
    held = Asked(lambda _: "strict", lambda tenant: "a legal hold" if tenant == ACME else "")
    assert bench.prune(held).marked == 0
    assert bench.prune().marked == 2
    bench.later(100 * 3600)
    pruned = bench.prune(held)
    assert pruned.deleted == 0 and pruned.spared == 2
    assert {one.refused for one in pruned.plans} == {"", "a legal hold"}
    assert len(bench.home.tenant(ACME).manifests()) == 3


def test_where_something_is_damaged_nothing_goes(bench: Bench) -> None:
    name = sorted(bench.names(Sort.INDEX))[0]
    path = bench.folder / "here" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    pruned = bench.prune()
    assert [bool(one.refused) for one in pruned.plans].count(True) == 1
    assert "check --repair" in next(one.refused for one in pruned.plans if one.refused)


def test_clocks_that_differ_stop_the_sweeper(bench: Bench) -> None:
    bench.prune()
    with pytest.raises(RepositoryRejected, match="clock and ours differ"):
        prune(
            bench.home,
            bench.mirror,
            POLICIES,
            ANYBODY,
            owner="x",
            now=lambda: bench.storage.now() + 400 * DAY,
        )
    assert len(bench.names(Sort.MANIFEST)) == 5


def test_two_sweepers_at_once(bench: Bench) -> None:
    lease = SweeperLease.acquire(bench.storage, bench.home.signer, "the other", bench.storage.now)
    with pytest.raises(WrongState, match="the other"):
        bench.prune()
    lease.release()
    assert bench.prune().marked == 2


def test_a_base_that_is_written_while_packs_are_let_go(bench: Bench) -> None:
    """Its contents lie in packs that are marked meanwhile: it is told so, and the next one stores them anew."""
    items = some_items(7, notes=8)
    part = bench.home.tenant(HOSTILE)
    first = full_base(part, items)
    bench.later(DAY)
    full_base(part, some_items(8, notes=8))
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    shapes = (NOTES, OBJECTS)
    stored = {
        shape.set: writer.add("postgres" if shape is NOTES else "s3", shape, items[shape.set])
        for shape in shapes
    }
    for _ in range(4):
        # The first base goes, then nobody needs its packs, which are marked.
        bench.prune()
        bench.later(80 * 3600)
    assert first.id not in {one.id for one in part.manifests()}
    with pytest.raises(WrongState, match="about to be deleted"):
        writer.commit(stores_of(shapes, stored), 5_000, 0)
    again = full_base(part, items)
    for _ in range(3):
        bench.later(100 * 3600)
        bench.prune()
    assert [one.id for one in part.manifests()] == [again.id]
    mirroring.copy(bench.home, bench.mirror)
    bench.assert_whole()


def test_the_log_is_shortened_at_its_beginning_and_stays_readable(bench: Bench) -> None:
    """Segments from before the oldest base that is kept go; what it may need stays, and so does the newest."""
    place = bench.home.tenant(ACME).place
    line = Line("postgres", environment="blue")
    log = TenantLog(place.storage, place.sealer, place.directory)
    for position in (10, 20, 80, 90):
        frame = Frame(position, position, (Delete("public.notes", b"x"),), xid=position)
        log.append(line, [frame], Stretch(position - 10, position, position - 9, position))
    mirroring.copy(bench.home, bench.mirror)
    planned = next(one for one in plan(bench.home, POLICIES, ANYBODY, bench.storage.now()).plans
                   if one.directory == place.directory.path)  # fmt: skip
    assert [one.name.rpartition("/")[2][:12] for one in planned.doomed if ".seg" in one.name] == [
        "000000000001",
        "000000000002",
    ]
    bench.prune()
    bench.later(80 * 3600)
    bench.prune()
    for storage, region in ((bench.storage, bench.home), (bench.copy, bench.mirror)):
        assert len(bench.names(Sort.SEGMENT, storage)) == 2
        place = region.tenant(ACME).place
        left = TenantLog(place.storage, place.sealer, place.directory)
        assert [one.position for one in left.frames(line, 77)] == [80, 90]
    bench.assert_whole()


def _in_a_process(target: Callable[[], object]) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    process.join(60)
    return process.exitcode


def test_killed_before_every_change_nothing_needed_is_gone_and_the_next_run_ends_it(
    bench: Bench, tmp_path: Path
) -> None:
    """kill -9 before the n-th change, for every n, in each of the runs that it takes to let everything go."""
    kills = 0
    for round_ in range(4):
        whole = tmp_path / f"round{round_}"
        shutil.copytree(
            bench.folder, whole, ignore=lambda _, names: [n for n in names if n.startswith("round")]
        )
        steps = 0
        while True:
            one = Bench(_copied(whole, tmp_path / "try"))
            one.storage.ahead_s = one.copy.ahead_s = bench.storage.ahead_s
            one.storage.changes_left = steps
            one.copy.changes_left = None if steps % 2 else 10**6
            code = _in_a_process(one.prune)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            kills += 1
            survivor = Bench(tmp_path / "try")
            survivor.assert_whole()
            assert len(survivor.home.tenant(ACME).manifests()) >= 1
            _finish(survivor, bench.storage.ahead_s)
            steps += 1 if steps < 4 else 5
        bench.prune()
        bench.later(100 * 3600)
    assert kills > 10


def _copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def _finish(survivor: Bench, ahead_s: float) -> None:
    """When the dead sweeper's lease is over, the next ones end its work."""
    survivor.storage.ahead_s = survivor.copy.ahead_s = ahead_s + 700
    for _ in range(4):
        survivor.prune()
        survivor.later(100 * 3600)
    survivor.assert_whole()
    assert len(survivor.home.tenant(ACME).manifests()) == 1
    assert survivor.names(Sort.PACK) == survivor.names(Sort.PACK, survivor.copy)
