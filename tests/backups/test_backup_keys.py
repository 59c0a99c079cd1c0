"""Keys: made once, wrapped, by epoch, and gone for good when they are shredded."""

from __future__ import annotations

import base64
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from backups.conftest import WRAPPING
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import KeyRing, LocalWrapping, shred
from tenant_lifecycle.backups.keys_kms import KmsWrapping
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.backups.sealing import Kind, Sealer
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import (
    ConfigError,
    KeyUnavailable,
    RepositoryDamaged,
    RepositoryRejected,
    RepositoryUnavailable,
)  # fmt: skip
from tenant_lifecycle.model.names import TenantId

REPOSITORY = bytes(16)
HERE = Directory.of_tenant(b"n" * 32, TenantId("x'; DROP"))
OTHER = Directory.of_tenant(b"n" * 32, TenantId("x'; DROP TABLE"))


def ring(storage: Storage, directory: Directory = HERE, wrapping: Any = WRAPPING) -> KeyRing:
    return KeyRing(storage, directory, REPOSITORY, wrapping)


def made(storage: Storage, directory: Directory = HERE, wrapping: Any = WRAPPING) -> KeyRing:
    keys = ring(storage, directory, wrapping)
    keys.create()
    return keys


def test_keys_are_found_again_and_differ_by_purpose_and_tenant(folder: FolderStorage) -> None:
    keys, again, other = made(folder), made(folder), made(folder, OTHER)
    assert keys.epochs() == [1]
    found = {keys.data(1), keys.subkey("id"), keys.subkey("cut"), keys.lasting("fp"), other.data(1)}
    assert len(found) == 5
    assert (again.data(1), again.lasting("fp")) == (keys.data(1), keys.lasting("fp"))


def test_rotating_keeps_the_old_epoch_and_the_lasting_keys(folder: FolderStorage) -> None:
    keys = made(folder)
    old, lasting = keys.data(1), keys.lasting("fp")
    assert keys.rotate() == 2
    again = ring(folder)
    assert (again.current(), again.data(1), again.lasting("fp")) == (2, old, lasting)
    assert again.data(2) != old


def test_two_that_make_the_first_key_share_one(
    folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes between the first one's look and its key."""
    first, second = ring(folder), ring(folder)
    wrap = WRAPPING.wrap

    def quicker(secret: bytes, context: Any) -> bytes:
        monkeypatch.setattr(WRAPPING, "wrap", wrap)
        second.create()
        return wrap(secret, context)

    monkeypatch.setattr(WRAPPING, "wrap", quicker)
    first.create()
    assert first.epochs() == [1]
    assert first.data(1) == second.data(1)


def test_many_that_make_keys_at_once_have_the_same(folder: FolderStorage) -> None:
    for number in range(20):
        directory = Directory.of_tenant(b"n" * 32, TenantId(str(number)))
        found: list[tuple[list[int], bytes]] = []

        def make(directory: Directory = directory, found: list[tuple[list[int], bytes]] = found) -> None:
            keys = made(folder, directory)
            found.append((keys.epochs(), keys.lasting("fp")))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and all(one == found[0] for one in found)


def test_every_flipped_byte_of_a_wrap_is_found(folder: FolderStorage) -> None:
    made(folder)
    name = HERE.key(1)
    data = folder.get(name)
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        folder.delete(name)
        folder.put(name, bytes(broken))
        with pytest.raises((RepositoryDamaged, KeyUnavailable)) as caught:
            ring(folder).data(1)
        assert HERE.path in str(caught.value)


def test_a_wrap_of_another_tenant_or_epoch_does_not_open(folder: FolderStorage) -> None:
    made(folder)
    made(folder, OTHER)
    folder.put(HERE.key(2), folder.get(HERE.key(1)))
    with pytest.raises(RepositoryDamaged, match=r"00000002\.wrap"):
        ring(folder).data(2)
    folder.delete(HERE.key(1))
    folder.put(HERE.key(1), folder.get(OTHER.key(1)))
    with pytest.raises(RepositoryDamaged, match="belongs elsewhere"):
        ring(folder).data(1)


def test_another_wrapping_key_is_named(folder: FolderStorage) -> None:
    made(folder)
    with pytest.raises(KeyUnavailable, match="wrapped by local:"):
        ring(folder, wrapping=LocalWrapping(b"w" * 32)).data(1)


def test_a_missing_epoch_and_no_epoch_are_said(folder: FolderStorage) -> None:
    with pytest.raises(KeyUnavailable, match="has no key"):
        ring(folder).current()
    with pytest.raises(KeyUnavailable, match="no key of epoch 7"):
        made(folder).data(7)


def test_what_was_sealed_opens_before_shredding_and_from_no_copy_after(
    storage: Storage, tmp_path: Path
) -> None:
    mirror = FolderStorage.create(tmp_path / "mirror")
    keys = made(storage)
    keys.rotate()
    elsewhere = ring(mirror, wrapping=LocalWrapping(b"m" * 32))
    assert keys.copy_to(elsewhere) == 2
    name = HERE.below("base/1.mf")
    data = Sealer(keys, REPOSITORY, HERE.tenant_hash).seal(Kind.MANIFEST, name, [b"everything"])
    both = [(storage, WRAPPING), (mirror, LocalWrapping(b"m" * 32))]
    for place, wrapping in both:
        sealer = Sealer(ring(place, wrapping=wrapping), REPOSITORY, HERE.tenant_hash)
        assert sealer.open(Kind.MANIFEST, name, data) == [b"everything"]
    assert shred([storage, mirror], HERE) == {storage.where: 2, mirror.where: 2}
    assert shred([storage, mirror], HERE) == {storage.where: 0, mirror.where: 0}
    for place, wrapping in both:
        sealer = Sealer(ring(place, wrapping=wrapping), REPOSITORY, HERE.tenant_hash)
        with pytest.raises(KeyUnavailable, match="destroyed"):
            sealer.open(Kind.MANIFEST, name, data)
        assert not [one for one, _, _ in place.names("") if one.endswith(".wrap")]


def test_a_wrap_that_comes_back_after_shredding_is_not_used(folder: FolderStorage) -> None:
    keys = made(folder)
    kept = folder.get(HERE.key(1))
    shred([folder], HERE)
    folder.put(HERE.key(1), kept)
    with pytest.raises(KeyUnavailable, match="destroyed"):
        ring(folder).data(1)
    keys.forget()
    with pytest.raises(KeyUnavailable):
        keys.data(1)


def test_a_tenant_that_comes_again_gets_new_keys(folder: FolderStorage) -> None:
    old = made(folder)
    gone = old.data(1)
    shred([folder], HERE)
    again = made(folder)
    assert again.epochs() == [2]
    assert again.data(2) != gone
    assert again.lasting("fp") != old.lasting("fp")


def test_shredding_that_leaves_a_wrap_says_so(folder: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    made(folder)
    monkeypatch.setattr(folder, "delete", lambda name: None)
    with pytest.raises(RepositoryRejected, match="still there"):
        shred([folder], HERE)


def test_kms_wraps_and_unwraps_and_its_refusals_are_told_apart(folder: FolderStorage, kms: Any) -> None:
    arn, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    alias = f"alias/{uuid.uuid4().hex}"
    kms.create_alias(AliasName=alias, TargetKeyId=arn)
    keys = made(folder, wrapping=KmsWrapping(alias, kms))
    assert ring(folder, wrapping=KmsWrapping(arn, kms)).data(1) == keys.data(1)
    with pytest.raises(KeyUnavailable, match="wrapped by kms:"):
        ring(folder, wrapping=KmsWrapping(other, kms)).data(1)
    folder.put(HERE.key(2), folder.get(HERE.key(1)))
    with pytest.raises(RepositoryDamaged, match="belongs elsewhere"):
        ring(folder, wrapping=KmsWrapping(arn, kms)).data(2)
    with pytest.raises(KeyUnavailable, match="NotFound"):
        KmsWrapping("alias/nothing", kms)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("DisabledException", KeyUnavailable),
        ("KMSInvalidStateException", KeyUnavailable),
        ("AccessDeniedException", RepositoryRejected),
        ("ThrottlingException", RepositoryUnavailable),
    ],
)
def test_what_kms_refuses_is_told_apart(kms: Any, code: str, error: type[Exception]) -> None:
    """The emulator decrypts with disabled keys as well, and never throttles; so these answers are made up."""
    wrapping = KmsWrapping(kms.create_key()["KeyMetadata"]["Arn"], kms)
    with Stubber(kms) as stubber:
        stubber.add_client_error("decrypt", code)
        with pytest.raises(error, match=code):
            wrapping.unwrap(b"x" * 100, {"epoch": "1"})


def test_a_key_file_has_to_be_ones_own_and_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ConfigError, match="cannot be read"):
        LocalWrapping.from_file(path)
    path.write_text(base64.b64encode(b"k" * 32).decode() + "\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="other users"):
        LocalWrapping.from_file(path)
    path.chmod(0o600)
    assert LocalWrapping.from_file(path).id == LocalWrapping(b"k" * 32).id
    for text in ("", "abc", base64.b64encode(b"k" * 16).decode(), "ü" * 64, "z" * 64):
        path.write_text(text)
        with pytest.raises(ConfigError):
            LocalWrapping.from_file(path)


def test_a_key_in_the_environment_has_to_be_there() -> None:
    given = {"KEY": (b"k" * 32).hex()}
    assert LocalWrapping.from_environment("KEY", given).id == LocalWrapping(b"k" * 32).id
    with pytest.raises(ConfigError, match="NOT_SET"):
        LocalWrapping.from_environment("NOT_SET", given)
    assert (b"k" * 32).hex() not in repr(vars(LocalWrapping(b"k" * 32)))
