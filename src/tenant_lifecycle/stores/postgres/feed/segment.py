"""One file of a spool: a header, then frames of length, checksum and content.

What a crash leaves behind is a file that ends too early: that tail is cut off. A frame that is whole and whose
checksum is wrong was changed by something else: that is an error, never skipped.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO

from tenant_lifecycle.stores.postgres.feed.record import head

_MAGIC = b"TLSPOOL1"
_HEADER = Struct(">8sQ32sI")
_FRAME = Struct(">II")
HEADER_SIZE = _HEADER.size
#: What the operating system says when a disk is full.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Damaged(Exception):
    """A segment's bytes are not what was written."""


@dataclass(slots=True)
class Segment:
    """A file of the spool and what is known about it."""

    path: Path
    #: Everything up to here is held elsewhere (the target, or the segment before).
    start: int
    #: Where the last complete transaction in it ends, in bytes.
    size: int = HEADER_SIZE
    #: Position of the last complete transaction in it; ``start`` if there is none.
    position: int = 0
    #: Transactions in it that were not taken.
    unread: int = 0


def header(start: int, shape: bytes) -> bytes:
    """The first bytes of a segment; ``shape`` is the digest of the tables it is written for."""
    body = _HEADER.pack(_MAGIC, start, shape, 0)[:-4]
    return body + zlib.crc32(body).to_bytes(4, "big")


def frame(content: bytes) -> bytes:
    """A content with its length and checksum."""
    return _FRAME.pack(len(content), zlib.crc32(content)) + content


def read_frame(file: BinaryIO) -> bytes | None:
    """The next content; None if the file ends before it is whole.

    Raises:
        Damaged: it is whole and its checksum is wrong.
    """
    start = file.tell()
    prefix = file.read(_FRAME.size)
    if len(prefix) == _FRAME.size:
        length, checksum = _FRAME.unpack(prefix)
        content = file.read(length)
        # A crashed machine may leave zeros where data was on its way: a length of zero is never written.
        if len(content) == length and length > 0:
            if zlib.crc32(content) != checksum:
                raise Damaged(f"checksum of the frame at byte {start} of {file.name} is wrong")
            return content
    file.seek(start)
    return None


def read_header(path: Path, shape: bytes) -> int | None:
    """Where the segment starts; None if the header itself was torn.

    Raises:
        Damaged: it is another's file, or its bytes were changed.
    """
    with path.open("rb") as file:
        data = file.read(HEADER_SIZE)
    if len(data) < HEADER_SIZE or not any(data):
        return None
    magic, start, written_for, checksum = _HEADER.unpack(data)
    if magic != _MAGIC or zlib.crc32(data[:-4]) != checksum or written_for != shape:
        raise Damaged(f"the header of {path.name} is not one of this spool")
    return int(start)


def transactions(path: Path) -> Iterator[tuple[int, int, int]]:
    """For every complete transaction: where it ends in the file, its position, its number of changes.

    Raises:
        Damaged: a checksum is wrong.
    """
    with path.open("rb") as file:
        file.seek(HEADER_SIZE)
        count = 0
        while (content := read_frame(file)) is not None:
            position, changes, last = head(content)
            count += changes
            if last:
                yield file.tell(), position, count
                count = 0


class NoRoom(Exception):
    """The file cannot grow now; nothing of what was to be written is in it."""


class SegmentFile:
    """The segment that is written to."""

    def __init__(self, path: Path, start: int, shape: bytes) -> None:
        self.segment = Segment(path, start, size=0, position=start)
        #: Bytes written; beyond ``segment.size`` they are part of a transaction that is not complete.
        self.written = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self.write(header(start, shape))
        except BaseException:
            self.close()
            path.unlink()
            raise
        self.segment.size = self.written

    @property
    def in_the_middle(self) -> bool:
        """The file ends in the middle of a transaction."""
        return self.written > self.segment.size

    def write(self, data: bytes) -> None:
        """Append all of it or nothing.

        Raises:
            NoRoom: the disk is full.
        """
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._fd, memoryview(data)[done:], self.written + done)
        except OSError as exc:
            os.ftruncate(self._fd, self.written)
            if exc.errno in NO_ROOM:
                raise NoRoom(exc.strerror) from exc
            raise
        self.written += done

    def complete(self, position: int, count: int) -> None:
        """All that was written is whole transactions now, ``count`` more of them."""
        self.segment.size = self.written
        self.segment.position = position
        self.segment.unread += count

    def abort(self) -> None:
        """Take back what is not a whole transaction."""
        os.ftruncate(self._fd, self.segment.size)
        self.written = self.segment.size

    def sync(self) -> None:
        """Force what was written, and the file's name, to disk."""
        os.fsync(self._fd)
        folder = os.open(self.segment.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
