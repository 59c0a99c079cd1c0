"""Files of lines, plain or compressed, as the eraser reads and rewrites them.

A file is replaced by a new one beside it in one step, so that a kill leaves the old or the new one, never half of
either. Whoever has the old one open goes on writing into it, and loses what is written: so only files that nobody has
written for a while are touched, and one that changed while it was read is left alone.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import cramjam

from tenant_lifecycle.errors import StoreBusy, StoreRejected

#: Formats without a reader of streams are opened as a whole, up to this many bytes.
MOST_OPENED = 1 << 30


def open_lines(path: Path, store: str) -> BinaryIO:
    """The lines of a file, whatever it is packed in; to be closed.

    Raises:
        StoreRejected: it may not be read, or is larger than can be opened.
    """
    try:
        match path.suffix:
            case ".gz":
                return cast("BinaryIO", gzip.open(path, "rb"))
            case ".bz2":
                return cast("BinaryIO", bz2.open(path, "rb"))
            case ".xz":
                return cast("BinaryIO", lzma.open(path, "rb"))
            case ".zst" | ".lz4":
                return _unpacked(path, store)
            case _:
                return path.open("rb")
    except OSError as exc:
        raise StoreRejected(f"{store}: a file cannot be read: {exc.strerror}", store=store) from exc


def _unpacked(path: Path, store: str) -> BinaryIO:
    whole = path.read_bytes()
    unpack = cramjam.zstd.decompress if path.suffix == ".zst" else cramjam.lz4.decompress
    if len(whole) > MOST_OPENED // 8:
        raise StoreRejected(f"{store}: a packed file of {len(whole)} bytes is not opened", store=store)
    try:
        return BytesIO(bytes(unpack(whole)))
    except cramjam.DecompressionError as exc:
        raise StoreRejected(f"{store}: a packed file is damaged", store=store) from exc


def lines(path: Path, store: str) -> Iterator[bytes]:
    """Each line with its end.

    Raises:
        StoreRejected: the file cannot be read to its end.
    """
    try:
        with open_lines(path, store) as opened:
            yield from opened
    except (OSError, EOFError, lzma.LZMAError, ValueError) as exc:
        raise StoreRejected(f"{store}: a file cannot be read to its end", store=store) from exc


def digest(line: bytes) -> bytes:
    """16 bytes that stand for a line."""
    return hashlib.sha256(line).digest()[:16]


def rewrite(path: Path, keep: Callable[[bytes], bool], store: str, before: Callable[[], None]) -> None:
    """Replace a file by its lines that ``keep`` wants; ``before`` is called before that, and may raise.

    The new file has the old one's mode, owner and times.

    Raises:
        StoreBusy: somebody wrote to it meanwhile; nothing was changed.
    """
    was = path.stat()
    descriptor, name = tempfile.mkstemp(prefix=".tenant-lifecycle-", suffix=path.suffix, dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            _pack(path.suffix, raw, (line for line in lines(path, store) if keep(line)))
            raw.flush()
            os.fsync(raw.fileno())
        _like(new, was)
        before()
        is_now = path.stat()
        if (is_now.st_ino, is_now.st_size, is_now.st_mtime_ns) != (was.st_ino, was.st_size, was.st_mtime_ns):
            raise StoreBusy(f"{store}: a file changed while it was read", store=store)
        new.replace(path)
        _sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _pack(suffix: str, raw: BinaryIO, kept: Iterator[bytes]) -> None:
    if suffix in (".zst", ".lz4"):
        pack = cramjam.zstd.compress if suffix == ".zst" else cramjam.lz4.compress
        raw.write(bytes(pack(b"".join(kept))))
        return
    with _packer(suffix, raw) as packed:
        packed.writelines(kept)


def _packer(suffix: str, raw: BinaryIO) -> AbstractContextManager[_Takes]:
    match suffix:
        case ".gz":
            return gzip.GzipFile(fileobj=raw, mode="wb", filename="")
        case ".bz2":
            return bz2.BZ2File(raw, "wb")
        case ".xz":
            return lzma.LZMAFile(raw, "wb")
        case _:
            return nullcontext(raw)


class _Takes(Protocol):
    """What lines are written to."""

    def writelines(self, lines: Iterable[bytes], /) -> None: ...


def _like(new: Path, was: os.stat_result) -> None:
    new.chmod(was.st_mode)
    with suppress(PermissionError):
        os.chown(new, was.st_uid, was.st_gid)
    os.utime(new, ns=(was.st_atime_ns, was.st_mtime_ns))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
