"""The queue between receiver and applier: in memory while the applier keeps up, on disk while it does not.

Before the applier runs, everything goes to disk and is synced before the source may forget it. While it runs,
the source forgets only what is applied, so what is in memory may be lost with the process: the source sends
it again. Order: what is in memory is always older than what is on disk, because nothing goes to memory while
something is on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from tenant_lifecycle.errors import FeedGap, SpoolFull
from tenant_lifecycle.stores.postgres.feed.layout import Layout, refuse_other_shape, shape, shape_digest
from tenant_lifecycle.stores.postgres.feed.record import Change, Record, decode, encode
from tenant_lifecycle.stores.postgres.feed.segment import (
    HEADER_SIZE,
    NO_ROOM,
    Damaged,
    NoRoom,
    Segment,
    SegmentFile,
    frame,
    read_frame,
    read_header,
    transactions,
)

#: What is buffered before it should be written to the file.
WRITE_BYTES = 256 * 1024
#: No more than this is taken from disk at once, however few changes it is.
TAKE_BYTES = 16 << 20
#: Transactions written at once.
_GROUP = 1000


@dataclass(frozen=True, slots=True)
class _Entry:
    """A frame that waits to be written."""

    #: Position of what was put before its transaction, and its own; None for a piece of a larger one.
    before: int
    position: int | None
    data: bytes


class Spool:
    """Holds the tenant's changes in order; one thread puts, another takes."""

    def __init__(
        self,
        folder: Path,
        store: str,
        layouts: tuple[Layout, ...],
        *,
        limit_bytes: int | None = None,
        memory_bytes: int = 32 << 20,
        segment_bytes: int = 16 << 20,
    ) -> None:
        self.folder = folder
        self.store = store
        #: Changes that were put and are not done.
        self.waiting = 0
        #: Position of the last transaction put.
        self.position = 0
        self._layouts = layouts
        self._digest = shape_digest(layouts)
        self._limit = limit_bytes
        self._memory_limit = memory_bytes
        self._segment_bytes = segment_bytes
        self._changed = threading.Condition()
        self._closed = False
        self._following = False
        self._memory: deque[tuple[Record, int]] = deque()
        self._memory_bytes = 0
        #: Files, oldest first; ``_file`` is the last of them while it is written to.
        self._segments: deque[Segment] = deque()
        self._next_number = 0
        self._file: SegmentFile | None = None
        self._pending: deque[_Entry] = deque()
        self._pending_bytes = 0
        self._done = 0
        #: Whole transactions that were put to disk (or wait to be) and were not taken.
        self._unread = 0
        self._open_piece = False
        self._reading: Segment | None = None
        self._reader: BinaryIO | None = None
        self._skip = 0
        self._disk_since = 0.0

    # -- opening and closing

    def open(self, applied: int, confirmed: int) -> int:
        """Take over what an earlier process left; return the position up to which nothing is needed any more.

        ``applied`` is what the target holds, ``confirmed`` what the source was told it may forget.

        Raises:
            FeedGap: changes that the source has forgotten are missing or damaged here.
            SourceChanged: the tables are not the ones the spool was written for.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._check_shape()
        self._skip = reached = applied
        paths = sorted(self.folder.glob("*.seg"))
        self._next_number = int(paths[-1].stem) + 1 if paths else 0
        for i, path in enumerate(paths):
            segment = self._take_over(path, last=path is paths[-1])
            if segment is None:
                break
            if segment.start > reached:
                # What stood between was only in memory. The source was never told, so it sends all of it again.
                if confirmed > reached:
                    raise self._gap(f"{path.name} starts behind what came before it")
                for useless in paths[i:]:
                    useless.unlink()
                break
            if segment.position <= applied:
                path.unlink()
                continue
            self._count(segment)
            reached = max(reached, segment.position)
        self.position = reached
        return reached

    def _check_shape(self) -> None:
        path = self.folder / "shape.json"
        if path.exists():
            try:
                before = json.loads(path.read_bytes())
            except ValueError:
                raise self._gap("shape.json is damaged") from None
            refuse_other_shape(self.store, before, shape(self._layouts))
        elif any(self.folder.glob("*.seg")):
            raise self._gap("shape.json is missing")
        else:
            temporary = path.with_suffix(".new")
            temporary.write_text(json.dumps(shape(self._layouts)))
            temporary.replace(path)

    def _take_over(self, path: Path, *, last: bool) -> Segment | None:
        """Check a file to its end and cut off a torn tail; None if not even its header was written."""
        try:
            start = read_header(path, self._digest)
            if start is None and last:
                path.unlink()
                return None
            if start is None:
                raise Damaged(f"{path.name} has no header")
            segment = Segment(path, start, position=start)
            for end, position, _ in transactions(path):
                segment.size, segment.position = end, position
        except Damaged as exc:
            raise self._gap(str(exc)) from exc
        if path.stat().st_size != segment.size:
            if not last:
                raise self._gap(f"{path.name} ends in the middle of a transaction")
            os.truncate(path, segment.size)
        with path.open("rb") as file:
            os.fsync(file.fileno())  # the process that wrote it may not have come to that
        return segment

    def _count(self, segment: Segment) -> None:
        for _, position, count in transactions(segment.path):
            self._unread += 1
            segment.unread += 1
            if position > self._skip:
                self.waiting += count
        self._segments.append(segment)

    def _gap(self, what: str) -> FeedGap:
        return FeedGap(
            f"{self.store}: the spool lost changes: {what}",
            store=self.store,
            next_step="abort the move and start it again: the tenant has to be copied anew",
        )

    def close(self) -> None:
        """Write out what waits, if there is room, and let go of the files; they stay."""
        with contextlib.suppress(SpoolFull):
            self.flush()
        with self._changed:
            self._closed = True
            self._close_file()
            self._stop_reading()
            self._changed.notify_all()

    # -- the receiver's side

    def follow(self) -> None:
        """From now on records may wait in memory: the source is told only of what is applied."""
        with self._changed:
            self._following = True

    @property
    def following(self) -> bool:
        return self._following

    @property
    def buffered(self) -> int:
        """Bytes that `flush` would write."""
        return self._pending_bytes

    def put(self, record: Record, size: int) -> None:
        """Add a whole transaction of about ``size`` bytes; for the taker it is there after `flush`."""
        with self._changed:
            in_memory = (
                self._following
                and not self._unread
                and not self._open_piece
                and self._memory_bytes + size <= self._memory_limit
            )
            if in_memory:
                # A file may not go on after something that is not in it: the next one on disk starts a new file.
                self._close_file()
                self._memory.append((record, size))
                self._memory_bytes += size
            else:
                self._wait_for_disk(_Entry(self.position, record.position, frame(encode(record))))
                if not self._unread:
                    self._disk_since = record.received
                self._unread += 1
                self._open_piece = False
            self.waiting += record.count
            self.position = record.position
            self._changed.notify_all()

    def put_piece(self, record: Record) -> None:
        """Write the next changes of a transaction that is too large for memory; `put` completes it."""
        with self._changed:
            self._wait_for_disk(_Entry(self.position, None, frame(encode(record, last=False))))
            self._open_piece = True

    def _wait_for_disk(self, entry: _Entry) -> None:
        self._pending.append(entry)
        self._pending_bytes += len(entry.data)

    def abort_pieces(self) -> None:
        """Forget the pieces of a transaction that will be sent again from its beginning."""
        with self._changed:
            if not self._open_piece:
                return
            self._open_piece = False
            while self._pending and self._pending[-1].position is None:
                self._pending_bytes -= len(self._pending.pop().data)
            if self._file is not None and self._file.in_the_middle:
                self._file.abort()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def flush(self) -> None:
        """Write what waits, so that it can be taken.

        Raises:
            SpoolFull: there is no room; what waits goes on waiting, and the next call goes on.
        """
        if not self._pending:
            return
        with self._changed:
            try:
                while self._pending:
                    self._write_some()
            except NoRoom as exc:
                # What is in this file can be deleted when it is applied, if nothing follows in it.
                if self._file is not None and not self._file.in_the_middle:
                    self._close_file()
                self._reclaim()
                raise SpoolFull(
                    f"{self.store}: no room for the spool in {self.folder.name}: {exc}; changes wait at the source",
                    store=self.store,
                    next_step="make room on the disk of the spool; receiving goes on by itself",
                ) from exc
            finally:
                self._changed.notify_all()

    def _write_some(self) -> None:
        """Write as many waiting frames as belong into one file and fit, at least one."""
        first = self._pending[0]
        file = self._file
        if file is not None and not file.in_the_middle:
            # A large transaction has a file of its own, so that it does not hold back what is before it.
            large = first.position is None and file.segment.size > HEADER_SIZE
            if large or file.written >= self._segment_bytes:
                file.sync()
                self._close_file()
                file = None
        if file is None:
            file = self._open_file(first.before)
        group = self._group(file)
        data = b"".join([entry.data for entry in group])
        if self._limit is not None and self._on_disk() + len(data) > self._limit:
            raise NoRoom(f"its limit of {self._limit} bytes is reached")
        file.write(data)
        for entry in group:
            self._pending.popleft()
            if entry.position is not None:
                file.complete(entry.position, 1)
        self._pending_bytes -= len(data)

    def _group(self, file: SegmentFile) -> list[_Entry]:
        """Waiting frames to be written at once: one, or several whole transactions while there is room."""
        group = [self._pending[0]]
        room = self._segment_bytes - file.written - len(group[0].data)
        if self._limit is not None:
            room = min(room, self._limit - self._on_disk() - len(group[0].data))
        for entry in islice(self._pending, 1, None):
            room -= len(entry.data)
            if room < 0 or entry.position is None or group[0].position is None or len(group) >= _GROUP:
                break
            group.append(entry)
        return group

    def _open_file(self, start: int) -> SegmentFile:
        path = self.folder / f"{self._next_number:012d}.seg"
        try:
            file = SegmentFile(path, start, self._digest)
        except OSError as exc:
            if exc.errno in NO_ROOM:
                raise NoRoom(exc.strerror) from exc
            raise
        self._next_number += 1
        self._file = file
        self._segments.append(file.segment)
        return file

    def _on_disk(self) -> int:
        unfinished = self._file.written - self._file.segment.size if self._file is not None else 0
        return sum(segment.size for segment in self._segments) + unfinished

    def sync(self) -> int:
        """Flush and force to disk; return the position up to which the source may forget.

        Raises:
            SpoolFull: as `flush`.
        """
        self.flush()
        if self._file is not None:
            self._file.sync()
        return self.position

    # -- the applier's side

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        """The next transactions, up to about ``limit`` changes; empty if there were none for so long.

        A transaction too large for memory comes last or alone, with its changes in pieces.
        """
        with self._changed:
            if not self._memory and self._readable() is None and not self._closed:
                self._changed.wait(timeout_s)
            if self._memory:
                return self._from_memory(limit)
        return self._from_disk(limit)

    def _from_memory(self, limit: int) -> list[Record]:
        records: list[Record] = []
        count = 0
        while self._memory and count < limit:
            record, size = self._memory.popleft()
            self._memory_bytes -= size
            records.append(record)
            count += record.count
        return records

    def _from_disk(self, limit: int) -> list[Record]:
        records: list[Record] = []
        count = size = 0
        while count < limit and size < TAKE_BYTES:
            with self._changed:
                segment = self._readable()
            if segment is None:
                break
            if self._reading is not segment:
                self._start_reading(segment)
            assert self._reader is not None
            start = self._reader.tell()
            record = self._read_one(segment)
            with self._changed:
                self._unread -= 1
                segment.unread -= 1
                self._disk_since = record.received
            if record.position > self._skip:
                records.append(record)
                count += record.count
                size += self._reader.tell() - start
                if record.pieces is not None:
                    break
        return records

    def _readable(self) -> Segment | None:
        """The file with the next transaction on disk, if there is one; hold the lock."""
        return next((segment for segment in self._segments if segment.unread), None)

    def _start_reading(self, segment: Segment) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = segment.path.open("rb", buffering=1 << 20)
        self._reader.seek(HEADER_SIZE)
        self._reading = segment

    def _read_one(self, segment: Segment) -> Record:
        assert self._reader is not None
        start = self._reader.tell()
        frames = 0
        while True:
            content = self._frame(self._reader)
            frames += 1
            record, last = decode(content)
            if last:
                break
        if frames > 1:
            path = segment.path
            record.pieces = lambda: self._pieces(path, start, frames)
            record.changes = []
            record.count = sum(len(piece) for piece in record.pieces())
        return record

    def _pieces(self, path: Path, start: int, frames: int) -> Iterator[list[Change]]:
        with path.open("rb", buffering=1 << 20) as file:
            file.seek(start)
            for _ in range(frames):
                yield decode(self._frame(file))[0].changes

    def _frame(self, file: BinaryIO) -> bytes:
        try:
            content = read_frame(file)
        except Damaged as exc:
            raise self._gap(str(exc)) from exc
        if content is None:
            raise self._gap(f"{file.name} became shorter")
        return content

    def done(self, position: int, count: int) -> None:
        """Everything up to the position is applied (``count`` changes of it since last time): delete what is over."""
        with self._changed:
            self.waiting -= count
            self._done = max(self._done, position)
            if not self._unread and not self._open_piece:
                self._close_file()
            self._reclaim()

    def _reclaim(self) -> None:
        while self._segments:
            segment = self._segments[0]
            written = self._file is not None and segment is self._file.segment
            if written or segment.unread or segment.position > self._done:
                break
            self._segments.popleft()
            if segment is self._reading:
                self._stop_reading()
            segment.path.unlink(missing_ok=True)

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._reading = None

    def oldest(self) -> float | None:
        """When the oldest record that was not taken was received; None if there is none."""
        with self._changed:
            if self._memory:
                return self._memory[0][0].received
            return self._disk_since if self._unread else None
