"""Storages keep what they were given, whole and once, and say plainly why they do not."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backups.conftest import settings
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.backups.storage_s3 import S3Storage
from tenant_lifecycle.errors import RepositoryDamaged, RepositoryRejected, RepositoryUnavailable
from tenant_lifecycle.sandbox.objects import ObjectServer

HOSTILE = [
    "", "/", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "./a", ".unfinished/x", "a/.hidden", "a\nb", "a\0b",
    "ä", "a b", "x'; DROP", "*", "a" * 600,
]  # fmt: skip


def listed(storage: Storage, prefix: str = "", after: str = "") -> list[tuple[str, int]]:
    return [(name, size) for name, size, _ in storage.names(prefix, after)]


def test_what_was_put_is_there_and_is_never_put_over(storage: Storage) -> None:
    assert storage.put("t/ab/one", b"first") is True
    assert storage.put("t/ab/one", b"second") is False
    assert storage.get("t/ab/one") == b"first"
    assert storage.get("t/ab/one", 1, 3) == b"irs"
    assert storage.get("t/ab/one", 2) == b"rst"


def test_names_come_in_order_and_by_prefix(storage: Storage) -> None:
    names = ["FORMAT", "a-b/x", "a.b", "a/b", "a/c/d", "ab", "b/1"]
    for name in reversed(names):
        storage.put(name, name.encode())
    assert listed(storage) == [(name, len(name)) for name in names]
    assert [name for name, _ in listed(storage, "a/")] == ["a/b", "a/c/d"]
    assert [name for name, _ in listed(storage, "a")] == names[1:6]
    assert [name for name, _ in listed(storage, "", "a/b")] == ["a/c/d", "ab", "b/1"]
    assert [name for name, _ in listed(storage, "a/", "a/c")] == ["a/c/d"]
    assert listed(storage, "nothing/") == []
    assert all(time > 1_600_000_000 for _, _, time in storage.names(""))


def test_deleting_is_safe_to_repeat_and_hits_that_name_only(storage: Storage) -> None:
    storage.put("a", b"1")
    storage.put("ab", b"2")
    storage.delete("a")
    storage.delete("a")
    assert listed(storage) == [("ab", 1)]
    assert storage.put("a", b"3") is True


def test_a_missing_object_is_damage_that_names_it(storage: Storage) -> None:
    with pytest.raises(RepositoryDamaged, match="t/no/such"):
        storage.get("t/no/such")


@pytest.mark.parametrize(("offset", "length"), [(0, 6), (3, 3), (5, 1), (100, 1)])
def test_too_few_bytes_are_damage(storage: Storage, offset: int, length: int) -> None:
    storage.put("short", b"12345")
    with pytest.raises(RepositoryDamaged, match="short"):
        storage.get("short", offset, length)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(folder: FolderStorage, tmp_path: Path, name: str) -> None:
    for call in (lambda: folder.put(name, b"x"), lambda: folder.get(name), lambda: folder.delete(name)):
        with pytest.raises(RepositoryRejected, match="no name of an object"):
            call()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["repository"]


def test_hostile_names_are_refused_in_buckets(new_bucket: Callable[..., S3Storage]) -> None:
    bucket = new_bucket()
    for name in HOSTILE:
        for call in (bucket.get, bucket.delete, lambda one: bucket.put(one, b"x")):
            with pytest.raises(RepositoryRejected, match="no name of an object"):
                call(name)


def test_of_many_writers_of_one_name_one_wins(storage: Storage) -> None:
    won: list[int] = []
    start = threading.Barrier(6)

    def write(number: int) -> None:
        start.wait()
        if storage.put("one", bytes([number]) * 1000):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.get("one") == bytes(won) * 1000


def test_deleting_in_a_bucket_with_versions_leaves_no_version(new_bucket: Callable[..., S3Storage]) -> None:
    bucket = new_bucket(versioning=True)
    bucket.put("keys/1.wrap", b"secret")
    bucket.put("keys/1.wrap.other", b"stays")
    bucket.delete("keys/1.wrap")
    left = bucket._client.list_object_versions(Bucket=bucket._bucket)
    assert [one["Key"] for one in left["Versions"]] == ["some/prefix/keys/1.wrap.other"]
    assert "DeleteMarkers" not in left


def test_a_folder_that_vanished_is_not_made_again(folder: FolderStorage, tmp_path: Path) -> None:
    folder.put("a/b", b"1")
    (tmp_path / "repository").rename(tmp_path / "elsewhere")
    for call in (lambda: folder.put("c", b""), lambda: folder.get("a/b"), lambda: list(folder.names(""))):
        with pytest.raises(RepositoryRejected, match="is not there"):
            call()
    (tmp_path / "repository").mkdir()
    with pytest.raises(RepositoryRejected, match="another one"):
        folder.put("c", b"")
    assert list((tmp_path / "repository").iterdir()) == []


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(RepositoryRejected):
            FolderStorage(path)
    with pytest.raises(RepositoryRejected, match="cannot be made"):
        FolderStorage.create(tmp_path / "file" / "below")


def test_links_in_a_folder_are_not_followed(folder: FolderStorage, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "repository" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "repository" / "up").symlink_to(tmp_path)
    assert listed(folder) == []
    assert folder.put("link", b"y") is False


def test_a_bucket_that_vanished_is_a_plain_refusal(new_bucket: Callable[..., S3Storage]) -> None:
    bucket = new_bucket()
    bucket.put("a", b"1")
    bucket.delete("a")
    bucket._client.delete_bucket(Bucket=bucket._bucket)
    for call in (lambda: bucket.put("c", b""), lambda: bucket.get("a"), lambda: list(bucket.names(""))):
        with pytest.raises(RepositoryRejected, match="NoSuchBucket") as caught:
            call()
        assert "create the bucket" in caught.value.next_step


def test_a_service_that_does_not_answer_is_worth_a_retry(object_server: ObjectServer) -> None:
    nobody = {**settings(object_server), "endpoint": "http://127.0.0.1:1"}
    bucket = S3Storage.from_settings("some-bucket", "", nobody)
    with pytest.raises(RepositoryUnavailable) as caught:
        bucket.get("a")
    assert caught.value.retryable


def test_a_full_disk_leaves_nothing_half(folder: FolderStorage, tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from tenant_lifecycle.backups.storage_folder import FolderStorage\n"
        "storage = FolderStorage(Path(sys.argv[1]))\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))\n"
        "storage.put('small', bytes(50_000))\n"
        "try: storage.put('large', bytes(200_000))\n"
        "except Exception as exc: print(type(exc).__name__, exc.next_step)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "repository")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("RepositoryRejected raise the limit")
    assert listed(folder) == [("small", 50_000)]
    assert list((tmp_path / "repository" / ".unfinished").iterdir()) == []


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full on this machine")
def test_no_room_says_so(folder: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: FolderStorage, path: Path, data: bytes) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(data)

    monkeypatch.setattr(FolderStorage, "_write", full)
    with pytest.raises(RepositoryRejected, match="No space left") as caught:
        folder.put("a", b"1")
    assert caught.value.next_step.startswith("make room")
    assert listed(folder) == []
