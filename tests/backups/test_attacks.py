"""Whoever can write into a repository can destroy, and be found out; he can never make it give other data."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backups.conftest import WRAPPING
from backups.making import NOTES, OBJECTS, all_items, delta_base, full_base, in_order, note, some_items
from tenant_lifecycle.backups.formatting import encode_format
from tenant_lifecycle.backups.index import open_index
from tenant_lifecycle.backups.manifests import SIGNATURE_BYTES, RepositorySigner, Stored, seal_manifest
from tenant_lifecycle.backups.packs import check_pack
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.sealing import blocks_of
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import KeyUnavailable, LifecycleError, RepositoryDamaged, RepositoryRejected
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.names import TenantId

TENANT = TenantId("attacked")
Everything = list[dict[str, list[Item]]]


class Victim:
    """A small repository: a full base, a delta of it and another full base; its objects are files."""

    def __init__(self, folder: FolderStorage) -> None:
        self.folder = folder
        self.root = Path(folder.where)
        part = Repository.create(folder, WRAPPING).tenant(TENANT)
        sets = some_items(notes=6)
        sets[OBJECTS.set] = sets[OBJECTS.set][:3]
        first = full_base(part, sets)
        now = {
            **sets,
            NOTES.set: [note(1, b"changed"), *(one for one in sets[NOTES.set] if one.key != b"%08d" % 1)],
        }
        delta_base(part, first, {NOTES.set: [note(1, b"changed")]}, {}, now)
        full_base(part, some_items(3, notes=4), shapes=[NOTES])
        self.part = part
        self.true = self.read()

    def read(self) -> Everything:
        """Everything, as a new process reads it."""
        part = Repository.open(self.folder, WRAPPING).tenant(TENANT)
        found = [all_items(part, manifest) for manifest in part.manifests()]
        assert TENANT in {one.tenant for one in Repository.open(self.folder, WRAPPING).tenants()}
        return found

    def scrubbed(self) -> None:
        """Read every byte of every object, as the check of level L2 does."""
        for name, _, _ in self.folder.names(self.part.place.directory.below("packs/")):
            check_pack(self.part.place.sealer, self.part.place.keys, name, self.folder.get(name))

    def names(self) -> list[str]:
        return [name for name, _, _ in self.folder.names("")]

    def named(self, kind: str) -> list[str]:
        return [name for name in self.names() if name.endswith(kind)]

    def write(self, name: str, data: bytes) -> None:
        (self.root / name).write_bytes(data)


@pytest.fixture
def victim(folder: FolderStorage) -> Victim:
    return Victim(folder)


def with_objects(names: list[str]) -> bool:
    kinds = {name.rpartition("/")[2].rpartition(".")[2] for name in names}
    return kinds == {"FORMAT", "wrap", "id", "mf", "pack", "idx"}


def test_the_victim_has_every_kind_of_object(victim: Victim) -> None:
    assert with_objects(victim.names())
    assert victim.true == victim.read()
    assert len(victim.true) == 3
    victim.scrubbed()


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.chaos)], ids=["some", "every"])
def test_any_flipped_byte_is_an_error_that_names_the_object_and_never_other_data(
    victim: Victim, step: int
) -> None:
    """Every byte of every object of the repository, each in its turn; under make test every eleventh."""
    dice = random.Random(step)
    tried = 0
    for name in victim.names():
        data = victim.folder.get(name)
        for place in range(dice.randrange(step), len(data), step):
            broken = bytearray(data)
            broken[place] ^= 1 << dice.randrange(8)
            victim.write(name, bytes(broken))
            tried += 1
            with pytest.raises((RepositoryDamaged, KeyUnavailable, RepositoryRejected)) as caught:
                assert victim.read() == victim.true
                victim.scrubbed()
            said = str(caught.value)
            # A changed version or key epoch is told as that.
            assert name in said or isinstance(caught.value, KeyUnavailable | RepositoryRejected), (
                name,
                place,
                said,
            )
        victim.write(name, data)
    assert victim.read() == victim.true
    assert tried > 7_000 / step - 20


def test_every_cut_off_object_and_every_missing_one_is_named(victim: Victim) -> None:
    for name in victim.names():
        data = victim.folder.get(name)
        for length in {0, 1, 50, 84, len(data) // 2, len(data) - SIGNATURE_BYTES, len(data) - 1}:
            victim.write(name, data[: max(0, length)])
            with pytest.raises((RepositoryDamaged, KeyUnavailable)) as caught:
                assert victim.read() == victim.true
                victim.scrubbed()
            assert name in str(caught.value), (name, length)
        (victim.root / name).unlink()
        if not name.endswith(".mf") or name == victim.named(".mf")[0]:
            with pytest.raises(LifecycleError):
                victim.read()
        victim.write(name, data)


def test_a_manifest_that_was_taken_away_leaves_a_hole(victim: Victim) -> None:
    first, second, third = victim.named(".mf")
    head = victim.part.head()
    assert victim.part.without_predecessor() == []
    data = victim.folder.get(second)
    (victim.root / second).unlink()
    assert victim.part.without_predecessor() == [Path(third).stem]
    victim.write(second, data)
    (victim.root / third).unlink()
    # The newest leaves no hole in the chain: the head that was noted elsewhere tells.
    assert victim.part.without_predecessor() == []
    assert victim.part.head() != head
    assert first


@pytest.mark.parametrize("kind", [".mf", ".pack", ".idx", ".id", ".wrap"])
def test_objects_that_were_exchanged_are_found(victim: Victim, kind: str) -> None:
    """Each object under the name of each other one of its kind: older manifests, and those of another tenant."""
    other = Repository.open(victim.folder, WRAPPING).tenant(TenantId("other"))
    full_base(other, some_items(9, notes=3))
    mine = [name for name in victim.named(kind) if name.startswith(victim.part.place.directory.path)]
    for name in mine:
        kept = victim.folder.get(name)
        for another in victim.named(kind):
            if another != name:
                victim.write(name, victim.folder.get(another))
                with pytest.raises((RepositoryDamaged, KeyUnavailable)):
                    assert victim.read() == victim.true
                    victim.scrubbed()
                victim.write(name, kept)
    assert victim.read() == victim.true


def test_blocks_of_a_pack_that_were_exchanged_are_found(victim: Victim) -> None:
    name = max(victim.named(".pack"), key=lambda one: len(victim.folder.get(one)))
    data = victim.folder.get(name)
    blocks = list(blocks_of(name, data))
    parts = [data[one.offset : one.offset + one.length] for one in blocks]
    head = data[: blocks[0].offset]
    assert len(parts) > 3
    for one in range(len(parts) - 1):
        swapped = [*parts]
        swapped[one], swapped[one + 1] = swapped[one + 1], swapped[one]
        victim.write(name, head + b"".join(swapped))
        with pytest.raises(RepositoryDamaged, match=name):
            assert victim.read() == victim.true
            victim.scrubbed()


def forged(victim: Victim, signer: RepositorySigner | None) -> Callable[[Stored, str], bytes]:
    def make(stored: Stored, name: str) -> bytes:
        used = signer or RepositorySigner(bytes(32))
        data = seal_manifest(victim.part.place.sealer, used, name, stored)
        return data if signer else data[:-SIGNATURE_BYTES]

    return make


@pytest.mark.parametrize("signer", [None, RepositorySigner(b"s" * 32)], ids=["unsigned", "another key"])
def test_a_manifest_that_is_not_signed_by_the_repository_does_not_count(
    victim: Victim, signer: RepositorySigner | None
) -> None:
    """Even if whoever made it has the tenant's keys."""
    name = victim.named(".mf")[-1]
    victim.write(name, forged(victim, signer)(victim.part.stored()[-1], name))
    with pytest.raises(RepositoryDamaged, match="no valid signature") as caught:
        victim.read()
    assert name in str(caught.value)


def test_a_format_that_names_another_signer_is_not_believed(victim: Victim, tmp_path: Path) -> None:
    other = FolderStorage.create(tmp_path / "other")
    Repository.create(other, WRAPPING)
    victim.write("FORMAT", other.get("FORMAT"))
    with pytest.raises((RepositoryDamaged, KeyUnavailable)):
        victim.read()


def test_a_format_with_a_signer_of_somebody_else_is_not_believed(victim: Victim) -> None:
    """Of this repository, well signed, but not by its key: its manifests would be his."""
    identity = Repository.open(victim.folder, WRAPPING).identity
    victim.write("FORMAT", encode_format(identity, RepositorySigner(b"s" * 32)))
    with pytest.raises(RepositoryDamaged, match="another signer"):
        victim.read()


def test_a_whole_tenant_put_in_the_place_of_another_does_not_open(victim: Victim) -> None:
    other = Repository.open(victim.folder, WRAPPING).tenant(TenantId("other"))
    full_base(other, some_items(9, notes=3))
    mine, theirs = (victim.root / one.place.directory.path for one in (victim.part, other))
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    with pytest.raises(RepositoryDamaged, match="no valid signature"):
        victim.read()


def test_content_of_a_damaged_pack_is_taken_from_another_that_has_it(victim: Victim) -> None:
    sets = some_items(5, notes=5)
    full_base(victim.part, sets)
    old = set(victim.named(".pack"))
    tombs = [victim.part.place.directory.tomb(name) for name in old]
    for name in tombs:
        victim.folder.put(name, b"")
    made = full_base(victim.part, sets)
    for name in tombs:
        victim.folder.delete(name)
    expected = {name: in_order(items) for name, items in sets.items()}
    for names in (old, set(victim.named(".pack")) - old):
        kept = {name: victim.folder.get(name) for name in names}
        for name, data in kept.items():
            victim.write(name, data[:150] + bytes([data[150] ^ 1]) + data[151:])
        assert all_items(victim.part, made) == expected
        for name, data in kept.items():
            victim.write(name, data)


def test_an_index_can_be_made_again_from_packs(victim: Victim) -> None:
    place = victim.part.place
    told = {
        pack.sha256: pack
        for name in victim.named(".idx")
        for pack in open_index(place.sealer, name, victim.folder.get(name))[0]
    }
    found = {
        pack.sha256: pack
        for name in victim.named(".pack")
        for pack in [check_pack(place.sealer, place.keys, name, victim.folder.get(name))]
    }
    assert found == told
