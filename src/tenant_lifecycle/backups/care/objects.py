"""What each object of a repository is, by its name: in which order it is copied, and how one tells that it is whole.

Without a tenant's key (level L1) the bytes are compared with what name, signature or the ledger say. With it (L2)
the object is opened, and what it says of its contents is compared with them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from tenant_lifecycle.backups.care.signed import Signs, read_signed
from tenant_lifecycle.backups.formatting import decode_format
from tenant_lifecycle.backups.index import open_index
from tenant_lifecycle.backups.keys import read_wrap, shredded_mark
from tenant_lifecycle.backups.log.flush import FRONT_BYTES, front_length, ledger_length, open_ledger
from tenant_lifecycle.backups.log.segment import digest_of
from tenant_lifecycle.backups.manifests import SIGNATURE_BYTES, open_manifest, signed_part
from tenant_lifecycle.backups.naming import TENANTS, Directory, content_digest
from tenant_lifecycle.backups.packs import check_pack
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.sealing import blocks_of, read_header
from tenant_lifecycle.errors import RepositoryDamaged


class Sort(Enum):
    """What an object is; the value is the word for people."""

    FORMAT = "format"
    KEY = "wrapped key"
    SHREDDED = "mark of destroyed keys"
    TENANT = "tenant's id"
    STAGED = "staged log"
    SEGMENT = "segment of the log"
    COVERAGE = "coverage"
    PACK = "pack"
    INDEX = "index"
    MANIFEST = "manifest"
    TOMB = "mark before deletion"
    NOTE = "note of the care"
    ASIDE = "damaged object that was set aside"
    UNKNOWN = "unknown"


_HEX = "[0-9a-f]{64}"
_DIRECTORY = rf"(?:t/{_HEX}/)?"
_NAMES: tuple[tuple[re.Pattern[str], Sort], ...] = tuple(
    (re.compile(pattern), sort)
    for pattern, sort in (
        (r"FORMAT", Sort.FORMAT),
        (rf"{_DIRECTORY}keys/\d{{8}}\.wrap", Sort.KEY),
        (rf"{_DIRECTORY}keys/\d{{8}}\.shredded", Sort.SHREDDED),
        (rf"t/{_HEX}/tenant\.id", Sort.TENANT),
        (rf"t/{_HEX}/base/[^/]+\.mf", Sort.MANIFEST),
        (rf"t/{_HEX}/packs/[0-9a-f]{{2}}/{_HEX}\.pack", Sort.PACK),
        (rf"t/{_HEX}/index/{_HEX}\.idx", Sort.INDEX),
        (rf"t/{_HEX}/log/.+\.seg", Sort.SEGMENT),
        (r"slots/.+\.cov", Sort.COVERAGE),
        (r"slots/.+\.stg", Sort.STAGED),
        (rf"{_DIRECTORY}tomb/.+\.tomb", Sort.TOMB),
        (r"(?:care|verify)/.+", Sort.NOTE),
        (r"aside/.+", Sort.ASIDE),
    )
)
#: In which order a copy is made: what others refer to comes before them, and manifests last. Wrapped keys are
#: wrapped anew, and notes, tombs and what was set aside belong to one place.
COPY_ORDER: tuple[Sort, ...] = (
    Sort.SHREDDED, Sort.FORMAT, Sort.TENANT, Sort.STAGED, Sort.SEGMENT, Sort.PACK, Sort.INDEX, Sort.COVERAGE,
    Sort.MANIFEST,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """One object as the storage lists it."""

    name: str
    size: int
    #: Seconds since 1970, the storage's clock.
    modified: float

    @property
    def sort(self) -> Sort:
        return sort_of(self.name)


def sort_of(name: str) -> Sort:
    """What the object is, by its name."""
    return next((sort for pattern, sort in _NAMES if pattern.fullmatch(name)), Sort.UNKNOWN)


def directory_of(name: str) -> Directory:
    """The tenant's directory that the object is in, or the repository's own."""
    return Directory("/".join(name.split("/")[:2])) if name.startswith(TENANTS) else Directory("")


def check_closed(name: str, data: bytes, signs: Signs, digest: str | None) -> None:
    """Level L1, without any tenant's key; ``digest`` (SHA-256, hex) is what an earlier check saw, if one did.

    Raises:
        RepositoryDamaged: the bytes are not those that were written.
    """
    sort = sort_of(name)
    if sort in _CLOSED:
        _CLOSED[sort](name, data, signs)
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise RepositoryDamaged(f"{name}: its bytes are others than when it was checked last")


def check_opened(place: Place, name: str, data: bytes) -> None:
    """Level L2, with the keys of the directory that it is in.

    Raises:
        RepositoryDamaged: it does not open, or holds other contents than it says.
        KeyUnavailable: its key is not there.
    """
    check_closed(name, data, place.signer, None)
    sort = sort_of(name)
    if sort in _OPENED:
        _OPENED[sort](place, name, data)


def _content_named(name: str, data: bytes, _: Signs) -> None:
    if hashlib.sha256(data).hexdigest() != content_digest(name):
        raise RepositoryDamaged(f"{name}: its bytes are others than its name says")
    _sealed(name, data, _)


def _sealed(name: str, data: bytes, _: Signs) -> None:
    if not list(blocks_of(name, data)):
        raise RepositoryDamaged(f"{name}: is cut off behind its header")


def _manifest(name: str, data: bytes, signs: Signs) -> None:
    if len(data) <= SIGNATURE_BYTES or not signs.verifies(*signed_part(name, data)):
        raise RepositoryDamaged(f"{name}: has no valid signature of this repository")


def _wrap(name: str, data: bytes, _: Signs) -> None:
    read_wrap(name, data)


def _shredded(name: str, data: bytes, _: Signs) -> None:
    if data != shredded_mark(int(name.rpartition("/")[2].partition(".")[0])):
        raise RepositoryDamaged(f"{name}: is not the mark that was written")


def _note(name: str, data: bytes, signs: Signs) -> None:
    read_signed(name, data, signs)


def _format(_name: str, data: bytes, _: Signs) -> None:
    decode_format(data, "")


_CLOSED: Mapping[Sort, Callable[[str, bytes, Signs], None]] = {
    Sort.FORMAT: _format,
    Sort.KEY: _wrap,
    Sort.SHREDDED: _shredded,
    Sort.TENANT: _sealed,
    Sort.SEGMENT: _sealed,
    Sort.COVERAGE: _sealed,
    Sort.PACK: _content_named,
    Sort.INDEX: _content_named,
    Sort.MANIFEST: _manifest,
    Sort.TOMB: _note,
    Sort.NOTE: _note,
}


def _open_key(place: Place, name: str, _: bytes) -> None:
    place.keys.forget()
    place.keys.data(int(name.rpartition("/")[2].partition(".")[0]))


def _open_sealed(place: Place, name: str, data: bytes) -> None:
    header, _ = read_header(name, data)
    place.sealer.open(header.kind, name, data)


def _open_flush(place: Place, name: str, data: bytes) -> None:
    """Of the repository, as the ledger in it is; the ledger has the digests of the tenants' parts."""
    begins = front_length(ledger_length(name, data))
    ledger = open_ledger(place.sealer, name, data[FRONT_BYTES:begins])
    parts = [one for one in ledger.parts.values() if one.length]
    for one in parts:
        if digest_of(data[begins + one.offset : begins + one.offset + one.length]) != one.digest:
            raise RepositoryDamaged(f"{name}: the part of {one.tenant} was changed")
    if begins + sum(one.length for one in parts) != len(data):
        raise RepositoryDamaged(f"{name}: has other parts than its ledger says")


def _open_ledger(place: Place, name: str, data: bytes) -> None:
    open_ledger(place.sealer, name, data)


def _open_pack(place: Place, name: str, data: bytes) -> None:
    check_pack(place.sealer, place.keys, name, data)


def _open_index(place: Place, name: str, data: bytes) -> None:
    open_index(place.sealer, name, data)


def _open_manifest(place: Place, name: str, data: bytes) -> None:
    open_manifest(place.sealer, place.signer, name, data)


_OPENED: Mapping[Sort, Callable[[Place, str, bytes], None]] = {
    Sort.KEY: _open_key,
    Sort.TENANT: _open_sealed,
    Sort.SEGMENT: _open_sealed,
    Sort.STAGED: _open_flush,
    Sort.COVERAGE: _open_ledger,
    Sort.PACK: _open_pack,
    Sort.INDEX: _open_index,
    Sort.MANIFEST: _open_manifest,
}
