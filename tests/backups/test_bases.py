"""Bases come back as they were, whole or as deltas, and are there only once they are committed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.conftest import WRAPPING
from backups.making import (
    NOTES,
    OBJECTS,
    all_items,
    counted,
    delta_base,
    full_base,
    in_order,
    note,
    some_items,
    stores_of,
    thing,
)  # fmt: skip
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import LocalWrapping, shred
from tenant_lifecycle.backups.naming import new_id
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.sorting import Sorter
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.backups.writer import RepositoryBaseWriter
from tenant_lifecycle.errors import (
    InvariantViolated,
    KeyUnavailable,
    RepositoryRejected,
    UnknownBackup,
    UsageError,
    WrongState,
)  # fmt: skip
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.manifest import BaseKind
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.names import TenantId

HOSTILE = [
    "x'; DROP TABLE",
    "*",
    "?",
    "[",
    "{",
    "/",
    "../..",
    "a\nb",
    "a\0b",
    "ü",
    "\udcff",
    "",
    "ten",
    "tenant",
]


@pytest.fixture
def part(folder: FolderStorage) -> TenantBackups:
    return Repository.create(folder, WRAPPING).tenant(TenantId("x'; DROP"))


def test_a_base_comes_back_as_it_was(storage: Storage) -> None:
    part = Repository.create(storage, WRAPPING).tenant(TenantId("x'; DROP"))
    sets = some_items()
    made = full_base(part, sets)
    again = Repository.open(storage, WRAPPING).tenant(TenantId("x'; DROP"))
    assert again.manifests() == [made]
    assert all_items(again, made) == {name: in_order(items) for name, items in sets.items()}
    for base in made.stores.values():
        for name, stored in base.sets.items():
            assert stored.fingerprint == fingerprint(again.fingerprint_key(), sets[name])
            assert stored.stored_bytes > 0


def test_deltas_are_merged_over_their_parents(part: TenantBackups) -> None:
    sets = some_items()
    first = full_base(part, sets)
    after = {item.key: item for item in sets[NOTES.set]}
    changed = [note(3, b"three"), note(500, b"new")]
    for item in changed:
        after[item.key] = item
    gone = [b"%08d" % 7, b"%08d" % 8, b"no such key"]
    for key in gone:
        after.pop(key, None)
    now = {**sets, NOTES.set: list(after.values())}
    second = delta_base(part, first, {NOTES.set: changed}, {NOTES.set: gone}, now)
    assert all_items(part, second) == {name: in_order(items) for name, items in now.items()}
    # The key comes back, and another goes, in a delta of the delta.
    third_changed = [note(7, b"seven again")]
    after[b"%08d" % 7] = third_changed[0]
    after.pop(b"%08d" % 3)
    now = {**now, NOTES.set: list(after.values())}
    third = delta_base(part, second, {NOTES.set: third_changed}, {NOTES.set: [b"%08d" % 3]}, now)
    found = all_items(part, third)
    assert found == {name: in_order(items) for name, items in now.items()}
    key = part.fingerprint_key()
    assert third.stores["postgres"].sets[NOTES.set].fingerprint == fingerprint(key, found[NOTES.set])
    assert all_items(part, first)[NOTES.set] == in_order(sets[NOTES.set])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_chain_of_deltas_is_what_a_dict_says(data: st.DataObject) -> None:
    keys = st.integers(0, 8)
    change = st.tuples(st.dictionaries(keys, st.binary(max_size=4)), st.sets(keys))
    with _temporary_part() as part:
        state = data.draw(st.dictionaries(keys, st.binary(max_size=4)))
        manifest = full_base(part, {NOTES.set: [note(*one) for one in state.items()]}, shapes=[NOTES])
        for changed, gone in data.draw(st.lists(change, max_size=4)):
            state = {number: body for number, body in state.items() if number not in gone} | changed
            now = {NOTES.set: [note(*one) for one in state.items()]}
            manifest = delta_base(
                part, manifest, {NOTES.set: [note(*one) for one in changed.items()]},
                {NOTES.set: [b"%08d" % number for number in gone]}, now,
            )  # fmt: skip
        assert all_items(part, manifest)[NOTES.set] == [note(*one) for one in sorted(state.items())]


def test_a_set_of_another_shape_in_a_delta_is_whole(part: TenantBackups) -> None:
    first = full_base(part, some_items(), shapes=[NOTES])
    wider = Shape(NOTES.set, (*NOTES.columns, Column("more", "text")), NOTES.key)
    writer = part.begin_base("blue", BaseKind.DELTA, first.id, {})
    items = [replace(note(1, b"one"), cells=(b"1", b"one", None))]
    stored = writer.add("postgres", wider, items)
    second = writer.commit(stores_of([wider], {wider.set: stored}), 1, None)
    assert all_items(part, second) == {NOTES.set: items}


def test_equal_items_of_a_set_without_a_key_are_all_kept(part: TenantBackups) -> None:
    twice = [note(1, b"same"), note(1, b"same"), note(2, b"other")]
    assert all_items(part, full_base(part, {NOTES.set: twice}, shapes=[NOTES]))[NOTES.set] == twice


def test_blocks_end_also_where_no_key_says_so(part: TenantBackups) -> None:
    """Equal keys say all the same."""
    dice = random.Random(3)
    rows = [note(1, dice.randbytes(40_000)) for _ in range(150)]
    full_base(part, {NOTES.set: rows}, shapes=[NOTES])
    sizes = [block.length for pack in part.reader().index.packs.values() for block in pack.blocks]
    assert max(sizes) < 1.2 * (1 << 20)


def test_more_than_memory_holds_is_sorted(folder: FolderStorage) -> None:
    numbers = list(range(5_000))
    random.Random(1).shuffle(numbers)
    with Sorter(memory_bytes=100_000) as sorter:
        for number in numbers:
            sorter.add(b"%06d" % number, b"v" * (number % 300))
        assert len(sorter._runs) > 5
        found = list(sorter.sorted())
    assert found == [(b"%06d" % number, b"v" * (number % 300)) for number in range(5_000)]


def test_many_blocks_and_packs_come_back_in_order(folder: FolderStorage) -> None:
    part = Repository.create(folder, WRAPPING).tenant(TenantId("many"))
    part.prepare()
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    writer._packs._pack_bytes = 100_000
    stored = writer.add("postgres", NOTES, counted(20_000))
    made = writer.commit(stores_of([NOTES], {NOTES.set: stored}), 1, None)
    assert len(writer._packs.packs) > 3
    assert sum(1 for _ in part.items(made, "postgres", NOTES.set)) == 20_000
    assert fingerprint(part.fingerprint_key(), part.items(made, "postgres", NOTES.set)) == stored.fingerprint


def test_what_did_not_change_is_stored_once_in_a_tenant_and_never_across(folder: FolderStorage) -> None:
    repository = Repository.create(folder, WRAPPING)
    first, second = repository.tenant(TenantId("1")), repository.tenant(TenantId("12"))
    sets = {
        NOTES.set: list(counted(8_000)),
        OBJECTS.set: [thing(b"large", random.Random(1).randbytes(6 << 20))],
    }

    def packed(part: TenantBackups) -> int:
        return sum(size for _, size, _ in folder.names(part.place.directory.below("packs/")))

    full_base(first, sets)
    once = packed(first)
    full_base(first, sets)
    assert packed(first) == once
    # One byte in front of the object, one row in the middle.
    sets[OBJECTS.set] = [thing(b"large", b"!" + sets[OBJECTS.set][0].cells[0])]  # type: ignore[operator]
    sets[NOTES.set].insert(4_000, note(99_999, b"new"))
    full_base(first, sets)
    assert packed(first) < once * 1.7
    full_base(second, sets)
    assert packed(second) > once * 0.9
    names = [
        {name.rpartition("/")[2] for name, _, _ in folder.names(one.place.directory.below("packs/"))}
        for one in (first, second)
    ]
    assert not names[0] & names[1]


@pytest.mark.parametrize("tenant", HOSTILE)
def test_hostile_tenants_have_a_part_of_their_own(folder: FolderStorage, tenant: str) -> None:
    repository = Repository.create(folder, WRAPPING)
    others = [repository.tenant(TenantId(other)) for other in ("ten", "t", tenant + "x")]
    for other in others:
        if other.tenant != tenant:
            full_base(other, {NOTES.set: [note(9, b"theirs")]}, shapes=[NOTES])
    part = repository.tenant(TenantId(tenant))
    made = full_base(part, {NOTES.set: [note(1, b"mine")]}, shapes=[NOTES])
    assert Repository.open(folder, WRAPPING).tenant(TenantId(tenant)).manifests() == [made]
    assert made.tenant == tenant
    assert TenantId(tenant) in {one.tenant for one in repository.tenants()}


def test_nothing_in_a_repository_tells_a_tenants_name_or_rows(folder: FolderStorage) -> None:
    part = Repository.create(folder, WRAPPING).tenant(TenantId("acme-corporation"))
    full_base(part, {NOTES.set: [note(1, b"the quick brown fox")]}, shapes=[NOTES])
    for name, _, _ in folder.names(""):
        stored = name.encode() + folder.get(name)
        for secret in (b"acme", b"public.notes", b"quick brown", b"postgres", bytes(range(16))):
            assert secret not in stored, name


def test_tenants_are_listed_and_the_shredded_have_no_name(folder: FolderStorage) -> None:
    repository = Repository.create(folder, WRAPPING)
    for name in ("one", "two", "three"):
        full_base(repository.tenant(TenantId(name)), some_items())
    shred([folder], repository.directory(TenantId("two")))
    assert sorted(one.tenant for one in repository.tenants()) == ["one", "three"]
    assert len(list(repository.directories())) == 3


def test_a_shredded_tenant_can_begin_again_and_its_old_bases_stay_closed(folder: FolderStorage) -> None:
    part = Repository.create(folder, WRAPPING).tenant(TenantId("again"))
    old = full_base(part, some_items())
    assert all_items(part, old)
    shred([folder], part.place.directory)
    part = Repository.open(folder, WRAPPING).tenant(TenantId("again"))
    with pytest.raises(KeyUnavailable, match="destroyed"):
        part.manifests()
    folder.delete(part.place.directory.manifest(old.id))
    for name, _, _ in list(folder.names(part.place.directory.below("index/"))):
        folder.delete(name)
    new = full_base(part, some_items(1))
    assert part.manifests() == [new]


def test_a_rotated_key_is_for_new_objects(part: TenantBackups) -> None:
    first = full_base(part, some_items(1))
    assert part.place.keys.rotate() == 2
    second = full_base(part, some_items(2))
    again = Repository.open(part.place.storage, WRAPPING).tenant(part.tenant)
    assert all_items(again, first) == {n: in_order(i) for n, i in some_items(1).items()}
    assert all_items(again, second) == {n: in_order(i) for n, i in some_items(2).items()}
    part.place.storage.delete(part.place.directory.key(1))
    again = Repository.open(part.place.storage, WRAPPING).tenant(part.tenant)
    with pytest.raises(KeyUnavailable, match="epoch 1"):
        again.manifests()


def test_nothing_is_there_before_it_is_committed(part: TenantBackups) -> None:
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    writer.add("postgres", NOTES, some_items()[NOTES.set])
    assert part.manifests() == []


def test_a_base_that_is_not_complete_is_not_committed(part: TenantBackups) -> None:
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    stored = writer.add("postgres", NOTES, some_items()[NOTES.set])
    stores = stores_of([NOTES], {NOTES.set: stored})
    with pytest.raises(InvariantViolated, match="was not added"):
        writer.commit(
            {**stores, **stores_of([OBJECTS], {OBJECTS.set: replace(stored, shape=OBJECTS)})}, 1, None
        )
    with pytest.raises(InvariantViolated, match="not committed"):
        writer.commit({}, 1, None)
    with pytest.raises(InvariantViolated, match="added twice"):
        writer.add("postgres", NOTES, [])
    with pytest.raises(InvariantViolated, match="nothing can be gone"):
        writer.gone("postgres", NOTES.set, [b"1"])
    with pytest.raises(InvariantViolated, match="into the set"):
        writer.add("s3", OBJECTS, [note(1, b"")])
    bad = {"postgres": replace(stores["postgres"], facts={"what": float("nan")})}
    with pytest.raises(UsageError, match="JSON"):
        writer.commit(bad, 1, None)
    assert part.manifests() == []


def test_bases_that_are_not_there_are_said(part: TenantBackups) -> None:
    made = full_base(part, some_items())
    with pytest.raises(UsageError, match="needs a parent"):
        part.begin_base("blue", BaseKind.DELTA, None, {})
    for unknown in ("01J0000000000000000000000", "../../FORMAT", "", "x" * 500):
        with pytest.raises(UnknownBackup):
            part.begin_base("blue", BaseKind.DELTA, unknown, {})
    with pytest.raises(UnknownBackup, match="no set"):
        list(part.items(made, "postgres", "public.other"))


def test_two_writers_at_once_both_get_their_base(folder: FolderStorage) -> None:
    repository = Repository.create(folder, WRAPPING)
    sets = some_items(notes=2_000)
    errors: list[BaseException] = []

    def write() -> None:
        try:
            full_base(Repository.open(folder, WRAPPING).tenant(TenantId("busy")), sets)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    part = repository.tenant(TenantId("busy"))
    assert errors == []
    assert len(part.manifests()) == 4
    for manifest in part.manifests():
        assert all_items(part, manifest) == {name: in_order(items) for name, items in sets.items()}


def test_of_two_writers_of_one_id_the_second_is_refused(part: TenantBackups) -> None:
    part.prepare()
    first = part.begin_base("blue", BaseKind.FULL, None, {})
    second = RepositoryBaseWriter(part.place, first._begun)
    for number, writer in enumerate((first, second)):
        stored = writer.add("postgres", NOTES, [note(number, b"")])
        if writer is first:
            made = writer.commit(stores_of([NOTES], {NOTES.set: stored}), 1, None)
    with pytest.raises(WrongState, match="somebody else"):
        second.commit(stores_of([NOTES], {NOTES.set: stored}), 1, None)
    assert all_items(part, made)[NOTES.set] == [note(0, b"")]


def test_keys_destroyed_while_writing_stop_the_base(part: TenantBackups) -> None:
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    stored = writer.add("postgres", NOTES, some_items()[NOTES.set])
    shred([part.place.storage], part.place.directory)
    with pytest.raises(KeyUnavailable, match="destroyed while"):
        writer.commit(stores_of([NOTES], {NOTES.set: stored}), 1, None)


def test_packs_about_to_be_deleted_are_not_referred_to(part: TenantBackups) -> None:
    sets = some_items()
    full_base(part, sets)
    storage, directory = part.place.storage, part.place.directory
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    stored = writer.add("postgres", NOTES, sets[NOTES.set])
    for name, _, _ in list(storage.names(directory.below("packs/"))):
        storage.put(directory.tomb(name), b"")
    with pytest.raises(WrongState, match="about to be deleted"):
        writer.commit(stores_of([NOTES], {NOTES.set: stored}), 1, None)
    again = full_base(part, sets)
    for name, _, _ in list(storage.names(directory.below("tomb/packs/"))):
        storage.delete(name.replace("/tomb/", "/").removesuffix(".tomb"))
    assert all_items(part, again) == {name: in_order(items) for name, items in sets.items()}


def test_many_bases_do_not_make_the_index_longer_to_read(part: TenantBackups) -> None:
    manifests = [full_base(part, {NOTES.set: [note(number, b"x")]}, shapes=[NOTES]) for number in range(40)]
    reader = part.reader()
    assert len(reader.index.objects) < 10
    assert all_items(part, manifests[0])[NOTES.set] == [note(0, b"x")]


def test_a_sweeper_can_ask_what_a_base_refers_to(part: TenantBackups) -> None:
    full_base(part, some_items(1))
    full_base(part, {NOTES.set: some_items(2)[NOTES.set]}, shapes=[NOTES])
    reader = part.reader()
    first, second = part.stored()
    assert reader.packs_of(first) | reader.packs_of(second) == set(reader.index.packs)
    assert not reader.packs_of(first) & reader.packs_of(second)
    assert len(reader.references(first)) >= 5


CRASH = """
import os, signal, sys
from pathlib import Path
from backups.conftest import WRAPPING
from backups.making import NOTES, counted, stores_of
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup.manifest import BaseKind

calls = 0
real = FolderStorage.put
def put(self, name, data):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        # In the middle of it: half of the bytes are in the unfinished file.
        FolderStorage._write = lambda self, path, data: (path.write_bytes(data[: len(data) // 2]), os.kill(os.getpid(), signal.SIGKILL))
    return real(self, name, data)
FolderStorage.put = put
part = Repository.open(FolderStorage(Path(sys.argv[1])), WRAPPING).tenant("killed")
writer = part.begin_base("blue", BaseKind.FULL, None, {})
writer._packs._pack_bytes = 200_000
stored = writer.add("postgres", NOTES, counted(10_000))
writer.commit(stores_of([NOTES], {NOTES.set: stored}), 1, None)
print("committed")
"""


def test_killed_at_any_object_leaves_garbage_only_and_the_next_base_works(folder: FolderStorage) -> None:
    part = Repository.create(folder, WRAPPING).tenant(TenantId("killed"))
    before = full_base(part, some_items())
    died = 0
    for number in range(1, 30):
        done = subprocess.run(
            [sys.executable, "-c", CRASH, folder.where, str(number)], capture_output=True, text=True,
            cwd=Path(__file__).parents[1], check=False,
        )  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        died += 1
        assert part.manifests() == [before]
    assert died >= 4
    assert len(part.manifests()) == 2
    after = part.manifests()[-1]
    assert list(part.items(after, "postgres", NOTES.set)) == list(counted(10_000))
    assert all_items(part, before) == {name: in_order(items) for name, items in some_items().items()}


def test_a_repository_is_made_once_by_however_many(folder: FolderStorage) -> None:
    found: list[bytes] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        found.append(Repository.create(folder, WRAPPING).identity)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_a_storage_that_holds_something_else_is_left_alone(folder: FolderStorage) -> None:
    folder.put("holiday/photo.jpg", b"")
    with pytest.raises(RepositoryRejected, match="not empty"):
        Repository.create(folder, WRAPPING)
    with pytest.raises(RepositoryRejected, match="there is no repository"):
        Repository.open(folder, WRAPPING)


def test_another_wrapping_key_does_not_open_the_repository(folder: FolderStorage) -> None:
    Repository.create(folder, WRAPPING)
    with pytest.raises(KeyUnavailable, match="wrapped by"):
        Repository.open(folder, LocalWrapping(b"other" + bytes(27)))


def test_ids_sort_by_time() -> None:
    ids = [new_id(number * 1_000) for number in (0, 1, 1_000, 1_700_000_000_000, time.time_ns() // 1_000_000)]
    assert ids == sorted(ids) and {len(one) for one in ids} == {26}


@contextmanager
def _temporary_part() -> Iterator[TenantBackups]:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Repository.create(FolderStorage(Path(name)), WRAPPING).tenant(TenantId("some"))
