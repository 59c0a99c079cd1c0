"""A folder of logs: the contract of erasing, and what is peculiar to files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cramjam
import pytest

from tenant_lifecycle.errors import ConfigError, StoreBusy, StoreUnavailable
from tenant_lifecycle.model.findings import Severity, refusals
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.erasing import Place
from tenant_lifecycle.stores.folder import logfiles
from tenant_lifecycle.stores.folder.place import Folder
from tenant_lifecycle.stores.folder.store import FolderStore
from tenant_lifecycle.stores.registry import no_ids, open_store
from tenant_lifecycle.testing.erasing_contract import (
    ErasingContract,
    Killed,
    erase,
    erasing,
    everything,
    fill,
    full,
    hits,
    is_clean,
    look,
    manifest,
    nothing,
    recogniser,
)

KEYS = KeyMap(
    {"own": Family(Template.parse("tenants/{tenant}/*"))},
    shared={"lines": Shared(Template.parse("app.log*"), ("tenant_id",))},
)


class FolderBench:
    """Everybody's lines in one file, some of it rotated and packed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.log = root / "app.log"
        self.log.touch()
        self.eraser = self.replaced_eraser()
        self.verifier = self.replaced_eraser()
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "a file that no rule mentions": lambda text: self._write("debug/core.dump", text),
            "a packed file": lambda text: self._write("debug/old.gz", gzip.compress(text)),
            "zstd": lambda text: self._write("debug/old.zst", bytes(cramjam.zstd.compress(text))),
            "a line without an owner": lambda text: self._append(b"Traceback: " + text + b"\n"),
            "a name": lambda text: self._write(f"debug/{text.decode()}.txt", b""),
        }

    def replaced_eraser(self) -> FolderStore:
        return FolderStore(Folder("blue/logs", self.root, KEYS, no_ids, 0.0), "blue")

    def blinded(self) -> FolderStore:
        self._write("debug/cut.gz", gzip.compress(b"secret" * 100)[:-12])
        return self.verifier

    def put(self, tenant: str, item: str, content: str) -> None:
        self._append(json.dumps({"tenant_id": tenant, "item": item, "text": content}).encode() + b"\n")

    def content(self, tenant: str, item: str) -> str | None:
        for line in self.log.read_bytes().splitlines():
            if line.startswith(b"{"):
                record = json.loads(line)
                if (record["tenant_id"], record["item"]) == (tenant, item):
                    return record["text"]
        return None

    def _append(self, line: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(line)

    def _write(self, file: str, content: bytes) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class TestFolderStore(ErasingContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> FolderBench:
        return FolderBench(tmp_path / "logs")


@pytest.fixture
def bench(tmp_path: Path) -> FolderBench:
    bench = FolderBench(tmp_path / "logs")
    fill(bench)
    return bench


# -- packed files


@pytest.mark.parametrize(
    ("name", "pack", "unpack"),
    [
        ("app.log-1.gz", gzip.compress, gzip.decompress), ("app.log-1.bz2", bz2.compress, bz2.decompress),
        ("app.log-1.xz", lzma.compress, lzma.decompress),
        ("app.log-1.zst", cramjam.zstd.compress, cramjam.zstd.decompress),
        ("app.log-1.lz4", cramjam.lz4.compress, cramjam.lz4.decompress),
    ],
)  # fmt: skip
def test_a_rotated_and_packed_file_is_written_anew(bench: FolderBench, name: str, pack, unpack) -> None:
    mine, theirs = (json.dumps({"tenant_id": one}).encode() + b"\n" for one in ("acme", "acme2"))
    (bench.root / name).write_bytes(bytes(pack(mine + theirs + mine)))
    batches = erase(bench, "acme")
    assert sum(len(batch.keys) for batch in batches) == 7
    assert bytes(unpack((bench.root / name).read_bytes())) == theirs
    assert is_clean(bench.verifier, "acme", batches)


def test_two_equal_lines_are_two_items(bench: FolderBench) -> None:
    bench.put("acme", "0.txt", "acme 0")
    (batch,) = manifest(bench.eraser, "acme")
    assert len(batch.keys) == 6
    assert bench.eraser.erase(erasing("acme"), batch, nothing).deleted == 6


def test_what_was_written_after_the_manifest_stays_and_is_found(bench: FolderBench) -> None:
    batches = manifest(bench.eraser, "acme")
    bench.put("acme", "late", "late")
    for batch in batches:
        bench.eraser.erase(erasing("acme"), batch, nothing)
    assert bench.content("acme", "late") == "late"
    assert hits(look(bench.verifier, "acme")) > 0


# -- replacing a file


def test_neighbours_lines_and_the_files_mode_and_times_stay_as_they_are(bench: FolderBench) -> None:
    bench.log.chmod(0o640)
    before = [
        line for line in bench.log.read_bytes().splitlines(True) if json.loads(line)["tenant_id"] != "acme"
    ]
    was = bench.log.stat()
    erase(bench, "acme")
    assert bench.log.read_bytes().splitlines(True) == before
    now = bench.log.stat()
    assert (now.st_mode, now.st_mtime_ns) == (was.st_mode, was.st_mtime_ns)


def test_a_file_that_somebody_writes_to_is_refused_with_a_date(bench: FolderBench) -> None:
    busy = FolderStore(Folder("blue/logs", bench.root, KEYS, no_ids, 300.0), "blue")
    (batch,) = manifest(busy, "acme")
    result = busy.erase(erasing("acme"), batch, nothing)
    assert {one.code for one in result.refused} == {"InUse"}
    assert result.refused[0].until is not None and result.refused[0].until > time.time()
    assert everything(bench) == full()


def test_a_line_that_comes_while_the_file_is_read_is_not_lost(bench: FolderBench) -> None:
    with pytest.raises(StoreBusy):
        logfiles.rewrite(
            bench.log,
            lambda line: b'"acme"' not in line,
            "blue/logs",
            lambda: bench.put("acme2", "late", "late"),
        )
    assert bench.content("acme2", "late") == "late"
    assert set(everything(bench)) == set(full())


def test_killed_while_it_is_rewritten_the_old_file_is_whole(bench: FolderBench) -> None:
    def dies() -> None:
        raise Killed

    with pytest.raises(Killed):
        logfiles.rewrite(bench.log, lambda line: False, "blue/logs", dies)
    assert everything(bench) == full()
    assert sorted(path.name for path in bench.root.iterdir()) == ["app.log"]


def test_half_a_copy_of_a_process_that_was_killed_is_found_and_removed(bench: FolderBench) -> None:
    batches = erase(bench, "acme")
    (bench.root / ".tenant-lifecycle-x.log").write_bytes(b'{"tenant_id": "acme"}')
    assert not is_clean(bench.verifier, "acme", batches)
    bench.eraser.settle(erasing("acme"), ["lines"], nothing)
    assert is_clean(bench.verifier, "acme", batches)


def test_own_files_are_deleted_and_nothing_outside_of_the_folder(bench: FolderBench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not ours")
    for tenant in ("acme", "acme2"):
        bench._write(f"tenants/{tenant}/trace.txt", b"trace")
    (bench.root / "tenants/acme/link").symlink_to(tmp_path / "secret")
    erase(bench, "acme")
    assert not (bench.root / "tenants/acme/trace.txt").exists()
    assert (bench.root / "tenants/acme2/trace.txt").exists()
    assert (tmp_path / "secret").read_text() == "not ours"
    escaping = FolderStore(Folder("blue/logs", bench.root, KEYS, no_ids, 0.0), "blue")
    assert escaping.plant(erasing("../../.."), "marker") == []
    assert not list(manifest(escaping, "../../.."))


# -- searching


def test_a_long_file_without_lines_is_read_piece_by_piece(bench: FolderBench) -> None:
    bench._write("debug/core", b"\xff" * ((1 << 20) - 2) + b" acme " + b"\xff" * (3 << 20) + b" acme")
    looked = bench.verifier.search(Place("debug", True), recogniser("acme"), nothing)
    assert looked.hit_count >= 2
    assert looked.bytes >= 4 << 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_unread(bench: FolderBench) -> None:
    batches = erase(bench, "acme")
    bench._write("debug/closed", b"")
    (bench.root / "debug/closed").chmod(0)
    assert not is_clean(bench.verifier, "acme", batches)


def test_something_that_is_no_file_is_unread(bench: FolderBench) -> None:
    batches = erase(bench, "acme")
    os.mkfifo(bench.root / "pipe")
    assert not is_clean(bench.verifier, "acme", batches)


# -- how it gets in


def test_it_is_opened_by_its_kind(tmp_path: Path) -> None:
    ownership = OwnershipMap({}, keys={"logs": KEYS})
    opened = {"name": "logs", "environment": "blue", "ownership": ownership}
    store = open_store("folder", settings={"path": str(tmp_path), "quiet": "1"}, **opened)
    assert [one.severity for one in store.probe()] == [Severity.OK]
    with pytest.raises(ConfigError, match="no path"):
        open_store("folder", settings={}, **opened)
    with pytest.raises(ConfigError, match="whose its lines are"):
        open_store("folder", settings={"path": "/x"}, name="other", environment="blue", ownership=ownership)


def test_a_folder_that_is_not_there_is_refused_and_never_clean(tmp_path: Path) -> None:
    store = FolderStore(Folder("blue/logs", tmp_path / "gone", KEYS, no_ids, 0.0), "blue")
    assert refusals(store.erasure_findings(TenantId("acme")))
    with pytest.raises(StoreUnavailable):
        look(store, "acme")
