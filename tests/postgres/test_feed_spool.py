"""What was acknowledged is in the spool after any crash, and damage is never skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tenant_lifecycle.errors import FeedGap, SourceChanged, SpoolFull
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.feed.layout import Layout, StreamColumn
from tenant_lifecycle.stores.postgres.feed.record import PUT, Record
from tenant_lifecycle.stores.postgres.feed.spool import Spool
from tenant_lifecycle.stores.postgres.tables import Table


def layouts(*columns: str) -> tuple[Layout, ...]:
    table = Table(TableName("public", "docs"), 1, "r", (), ("id",), "d", ("id",), (), False, "p", 0, 0, 0)
    return (Layout(0, table, tuple(StreamColumn(c, 25, -1, 25, "b", True, True) for c in columns), ("id",)),)


def record(position: int, size: int = 50, count: int = 1) -> Record:
    changes = [(PUT, 0, b"k%d" % position, bytes([position % 256]) * size, 0)] * count
    return Record(position, max(0, position - 1), 1.0, changes, [], False, None, count)


def make(folder: Path, applied: int = 0, confirmed: int = 0, **options: int) -> Spool:
    spool = Spool(folder, "blue", layouts("id", "v"), **options)
    spool.open(applied, confirmed)
    return spool


def put(spool: Spool, *positions: int, size: int = 50) -> None:
    for position in positions:
        spool.put(record(position, size), size)


def drain(spool: Spool, limit: int = 1000) -> list[int]:
    found: list[int] = []
    while records := spool.take(limit, 0):
        found += [r.position for r in records]
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


def test_what_was_synced_is_there_again_in_order(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=300)
    put(spool, *range(1, 50))
    assert spool.sync() == 49
    spool.close()
    again = make(tmp_path)
    assert (again.position, again.waiting) == (49, 49)
    assert drain(again) == list(range(1, 50))


def test_what_the_target_holds_already_is_not_given_out_again(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, *range(1, 11))
    spool.sync()
    again = make(tmp_path, applied=7, confirmed=10)
    assert again.waiting == 3
    assert drain(again) == [8, 9, 10]
    assert make(tmp_path, applied=10, confirmed=10).position == 10
    assert segments(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 30, 60, 100, 150])
def test_a_torn_tail_is_cut_off(tmp_path: Path, cut: int) -> None:
    spool = make(tmp_path)
    put(spool, 1, 2, 3)
    spool.sync()
    spool.close()
    (path,) = segments(tmp_path)
    whole = path.stat().st_size
    os.truncate(path, whole - cut)
    again = make(tmp_path)
    kept = again.position
    assert kept == (2 if cut <= 100 else 1)
    put(again, 8, 9)
    again.sync()
    again.close()
    assert drain(make(tmp_path)) == [*range(1, kept + 1), 8, 9]


def test_zeros_left_by_a_crashed_machine_are_a_torn_tail(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, 1, 2)
    spool.sync()
    spool.close()
    (path,) = segments(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(500))
    assert drain(make(tmp_path)) == [1, 2]


def test_every_flipped_byte_is_an_error_or_a_gap_and_never_skipped(tmp_path: Path) -> None:
    spool = make(tmp_path / "good")
    put(spool, 1, 2, 3)
    spool.sync()
    spool.close()
    (path,) = segments(tmp_path / "good")
    good = path.read_bytes()
    for at in range(len(good)):
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        damaged = bytearray(good)
        damaged[at] ^= 0x10
        segments(tmp_path / "bad")[0].write_bytes(damaged)
        try:
            again = make(tmp_path / "bad", applied=0, confirmed=3)
        except FeedGap:
            continue
        # Only a length can make the rest look torn; then the position says that something is missing.
        assert again.position < 3


def test_a_byte_flipped_while_it_waits_is_an_error(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, 1, 2, 3)
    spool.flush()
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    with pytest.raises(FeedGap, match="checksum"):
        drain(spool)


def test_a_lost_segment_is_a_gap(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=100)
    for position in range(1, 6):
        put(spool, position)
        spool.flush()
    spool.sync()
    spool.close()
    segments(tmp_path)[1].unlink()
    with pytest.raises(FeedGap, match="starts behind"):
        make(tmp_path, confirmed=5)


def test_what_was_only_in_memory_is_asked_for_again(tmp_path: Path) -> None:
    spool = make(tmp_path, memory_bytes=120)
    spool.follow()
    put(spool, 1, 2, 3, 4)  # 1 and 2 in memory, the rest on disk
    spool.flush()
    assert len(segments(tmp_path)) == 1
    again = make(tmp_path, applied=1, confirmed=1)
    assert again.position == 1, "3 and 4 are useless without 2"
    assert segments(tmp_path) == []


def test_memory_and_disk_keep_the_order_and_disk_is_given_back(tmp_path: Path) -> None:
    spool = make(tmp_path, memory_bytes=120, segment_bytes=300)
    spool.follow()
    taken: list[int] = []
    position = 0
    for round_ in range(40):
        for _ in range(1 + round_ % 7):
            position += 1
            put(spool, position)
        spool.flush()
        while records := spool.take(2 + round_ % 3, 0):
            taken += [r.position for r in records]
            spool.done(records[-1].position, len(records))
            if round_ % 2:
                break
    taken += drain(spool)
    spool.done(position, 0)
    assert taken == list(range(1, position + 1))
    assert segments(tmp_path) == []
    put(spool, position + 1)
    assert segments(tmp_path) == [], "memory again"


def test_a_full_disk_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    spool = make(tmp_path, limit_bytes=600, segment_bytes=200)
    put(spool, *range(1, 5))
    spool.flush()
    put(spool, *range(5, 9))
    with pytest.raises(SpoolFull, match="no room") as raised:
        spool.flush()
    assert raised.value.retryable and raised.value.next_step
    records = spool.take(1000, 0)
    assert [r.position for r in records] == [1, 2, 3, 4]
    spool.done(4, 4)
    spool.flush()
    assert drain(spool) == [5, 6, 7, 8]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_really_full_file_system_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        spool = make(folder, segment_bytes=8000)
        put(spool, *range(1, 31), size=1000)
        spool.flush()
        put(spool, *range(31, 81), size=1000)
        with pytest.raises(SpoolFull):
            spool.flush()
        taken = [r.position for r in spool.take(1000, 0)]
        spool.done(taken[-1], len(taken))
        while len(taken) < 80:
            with contextlib.suppress(SpoolFull):
                spool.flush()
            records = spool.take(1000, 0)
            taken += [r.position for r in records]
            spool.done(taken[-1], len(records))
        assert taken == list(range(1, 81))
        spool.close()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_large_transaction_waits_on_disk_and_is_read_as_often_as_asked(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.follow()
    put(spool, 1)
    spool.put_piece(record(0, count=5))
    spool.put_piece(record(0, count=5))
    spool.flush()
    assert drain(spool) == [1], "not before it is whole"
    last = record(9, count=2)
    last.count = 12
    spool.put(last, 10)
    spool.flush()
    (large,) = spool.take(1000, 0)
    assert (large.position, large.count) == (9, 12)
    for _ in range(2):
        assert [len(piece) for piece in large.parts()] == [5, 5, 2]
    spool.done(9, 12)
    assert spool.waiting == 1


@pytest.mark.parametrize("flushed", [True, False])
def test_a_transaction_cut_in_the_middle_is_forgotten(tmp_path: Path, flushed: bool) -> None:
    spool = make(tmp_path)
    put(spool, 1)
    spool.put_piece(record(0, count=5))
    if flushed:
        spool.flush()
    spool.abort_pieces()
    put(spool, 2)
    spool.sync()
    spool.close()
    assert drain(make(tmp_path)) == [1, 2]


def test_other_columns_than_the_spool_was_written_for_are_named(tmp_path: Path) -> None:
    put(spool := make(tmp_path), 1)
    spool.sync()
    other = Spool(tmp_path, "blue", layouts("id", "v", "w"))
    with pytest.raises(SourceChanged, match=r"column w of public\.docs"):
        other.open(0, 0)
    (tmp_path / "shape.json").unlink()
    with pytest.raises(FeedGap):
        make(tmp_path)
