"""The folder with the verifier's eyes: every file in it, whatever it is called, to its last byte.

Shares nothing with the eraser's listing: no rules are asked but to say what is declared, and a file is read in blocks
and not by lines, so that binary files and lines without an end are read as well.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import cramjam

from tenant_lifecycle.errors import StoreUnavailable
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Found, Looked, Place
from tenant_lifecycle.stores.tally import Tally

#: Files are read in blocks that end with a line where there are lines.
BLOCK = 1 << 20
#: By which pieces of something without lines overlap.
OVERLAP = 1 << 14
_TOP = "."


def places(root: Path) -> list[Place]:
    """The files of the folder itself, and each folder in it."""
    if not root.is_dir():
        raise StoreUnavailable("the folder is not there", store=str(root.name))
    inside = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    return [Place(name, True) for name in (_TOP, *inside)]


def search(root: Path, place: Place, mentioned: Callable[[str], bool], found: Found, check: Check) -> Looked:
    """Names and contents; ``mentioned`` tells whether a rule is about a file."""
    tally = Tally(place.name, found)
    for path in _below(root, place.name, tally):
        check()
        tally.items += 1
        where = path.relative_to(root).as_posix()
        proposal = "" if mentioned(where) else _proposal(where)
        tally.look(where, os.fsencode(where), proposal)
        if path.is_symlink():
            tally.look(where, os.fsencode(path.readlink()), proposal)
        elif path.is_file():
            _content(path, where, tally, check, proposal)
        elif not path.is_dir():
            tally.could_not_read("something that is neither a file nor a folder")
    return tally.looked()


def _below(root: Path, name: str, tally: Tally) -> Iterator[Path]:
    if name == _TOP:
        yield from (
            root / entry.name for entry in os.scandir(root) if not entry.is_dir(follow_symlinks=False)
        )
        return
    yield root / name
    unread = _Unread(tally)
    for folder, folders, files in os.walk(root / name, onerror=unread):
        yield from (Path(folder) / one for one in (*folders, *files))


class _Unread:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __call__(self, error: OSError) -> None:
        self._tally.could_not_read(f"a folder: {error.strerror}")


def _content(path: Path, where: str, tally: Tally, check: Check, proposal: str) -> None:
    """Packed streams are unpacked here, for they may be large; other formats by the recogniser, from the bytes."""
    try:
        with _stream(path) as opened:
            for block in _blocks(opened):
                check()
                tally.look(where, block, proposal)
    except PermissionError as exc:
        tally.could_not_read(f"a file: {exc.strerror}")
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        tally.could_not_read("a packed file is damaged or cut off")


def _stream(path: Path) -> BinaryIO:
    match path.suffix:
        case ".gz":
            return cast("BinaryIO", gzip.open(path, "rb"))
        case ".bz2":
            return cast("BinaryIO", bz2.open(path, "rb"))
        case ".xz":
            return cast("BinaryIO", lzma.open(path, "rb"))
        case _:
            return path.open("rb")


def _blocks(opened: BinaryIO) -> Iterator[bytes]:
    """Whole lines where there are any, overlapping pieces where not; a file up to a block's size is one piece."""
    rest = b""
    while block := opened.read(BLOCK):
        block = rest + block
        end = block.rfind(b"\n") + 1
        if end > 0 and len(block) - end < OVERLAP:
            yield block[:end]
            rest = block[end:]
        elif len(block) < BLOCK:
            rest = block
        else:
            yield block
            rest = block[-OVERLAP:]
    if rest:
        yield rest


def _proposal(file: str) -> str:
    return f"shared: {{found: {{template: {file!r}, path: tenant_id}}}}"


# -- the manifest's items


def remaining(root: Path, batch: Batch, check: Check) -> frozenset[bytes]:
    """Files that are there, and as many lines of a digest as are found, at most those of the batch."""
    if batch.method is Method.DELETE:
        return frozenset(key for key in batch.keys if os.path.lexists(os.fsencode(root) + b"/" + key))
    by_file: dict[bytes, list[bytes]] = {}
    for key in batch.keys:
        by_file.setdefault(key.partition(b"\0")[0], []).append(key)
    left: set[bytes] = set()
    for file, keys in by_file.items():
        check()
        left |= set(_lines_left(root / os.fsdecode(file), keys))
    return frozenset(left)


def _lines_left(path: Path, keys: Sequence[bytes]) -> Iterator[bytes]:
    if not path.exists():
        return
    wanted: dict[bytes, list[bytes]] = {}
    for key in keys:
        wanted.setdefault(key.rsplit(b"\0", 2)[1], []).append(key)
    there: Counter[bytes] = Counter()
    with _readable(path) as opened:
        for line in opened:
            there[hashlib.sha256(line).hexdigest()[:32].encode()] += 1
    for name, some in wanted.items():
        yield from some[: there[name]]


def _readable(path: Path) -> BinaryIO:
    if path.suffix not in (".zst", ".lz4"):
        return _stream(path)
    packed = cramjam.zstd if path.suffix == ".zst" else cramjam.lz4
    return BytesIO(bytes(packed.decompress(path.read_bytes())))


def verifier_findings(root: Path, name: str) -> list[Finding]:
    """Whether this process can read all of the folder; it runs as one user, so nothing can be said of writing."""
    closed = [path for path in root.rglob("*") if not os.access(path, os.R_OK)]
    if closed:
        message = f"{len(closed)} files or folders cannot be read"
        return [
            Finding(
                "folder.verifier-blind", Severity.REFUSAL, message, "run as a user that reads all of it", name
            )
        ]
    return [Finding("folder.verifier", Severity.OK, "every file can be read", subject=name)]
