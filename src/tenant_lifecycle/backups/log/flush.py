"""One flush of an archiver: the changes of all tenants in one object, each tenant's sealed with its own key.

::

    8 bytes   TLFLUSH and a zero
    4 bytes   length of the ledger, big-endian
    ledger    sealed with the repository's key: heading in clear, then which part is whose
    parts     one behind the other, each a sealed object of its tenant

One object, and not one for each tenant, because objects are paid for by the piece. A tenant whose keys are shredded
loses its parts with everything else.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tenant_lifecycle.backups.log.codec import blocks
from tenant_lifecycle.backups.log.segment import digest_of, frames_of
from tenant_lifecycle.backups.log.stretch import Content, Heading
from tenant_lifecycle.backups.sealing import Kind, Sealer, read_header
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame

_MAGIC = b"TLFLUSH\0"
_FRONT = struct.Struct(">8sI")


@dataclass(frozen=True, slots=True)
class Part:
    """What a flush, or the ledger of many, says of one tenant."""

    #: The tenant's directory: a keyed hash.
    tenant: str
    content: Content
    #: In a flush: where its bytes are. In a ledger of many flushes: 0, they are in the tenant's own log.
    offset: int = 0
    length: int = 0
    #: SHA-256 of those bytes, or of the tenant's segment that has them.
    digest: str = ""
    #: Name of that segment; empty in a flush.
    segment: str = ""
    #: Why the stretch is not covered for this tenant; empty: it is.
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one object of a log for all tenants says; tenants that it does not name were quiet."""

    name: str
    heading: Heading
    parts: Mapping[str, Part]


def part_name(name: str, tenant: str) -> str:
    """What a tenant's part is sealed under."""
    return f"{name}#{tenant}"


def seal_part(sealer: Sealer, name: str, tenant: str, frames: Sequence[Frame]) -> bytes:
    """One tenant's frames of a flush."""
    return sealer.seal(Kind.STAGED, part_name(name, tenant), blocks(frames))


def open_part(sealer: Sealer, ledger: Ledger, part: Part, data: bytes) -> list[Frame]:
    """The frames in a part's bytes. Raises `RepositoryDamaged` if they are others than the ledger says."""
    frames = frames_of(sealer, Kind.STAGED, part_name(ledger.name, part.tenant), data)
    if digest_of(data) != part.digest or Content.of(frames) != part.content:
        raise RepositoryDamaged(f"{ledger.name}: has other frames of {part.tenant} than it says")
    return frames


def seal_ledger(sealer: Sealer, name: str, heading: Heading, parts: Sequence[Part]) -> bytes:
    """Heading and parts, sealed with the repository's key."""
    told = json.dumps([asdict(part) for part in parts], sort_keys=True, separators=(",", ":"))
    return sealer.seal(Kind.COVERAGE, name, [told.encode()], heading.written())


def open_ledger(sealer: Sealer, name: str, data: bytes) -> Ledger:
    """Raises `RepositoryDamaged`."""
    header, _ = read_header(name, data)
    heading = Heading.read(name, header.clear)
    try:
        told = json.loads(b"".join(sealer.open(Kind.COVERAGE, name, data)))
        parts = [Part(**{**part, "content": Content(**part["content"])}) for part in told]
    except (ValueError, KeyError, TypeError) as exc:
        raise RepositoryDamaged(f"{name}: its ledger makes no sense") from exc
    return Ledger(name, heading, {part.tenant: part for part in parts})


def together(ledger: bytes, parts: Sequence[bytes]) -> bytes:
    """The bytes of a flush."""
    return b"".join([_FRONT.pack(_MAGIC, len(ledger)), ledger, *parts])


def front_length(ledger_length: int) -> int:
    """Where the parts begin."""
    return _FRONT.size + ledger_length


def ledger_length(name: str, front: bytes) -> int:
    """From the first `FRONT_BYTES` of a flush. Raises `RepositoryDamaged`."""
    if len(front) < _FRONT.size:
        raise RepositoryDamaged(f"{name}: is cut off")
    magic, length = _FRONT.unpack_from(front)
    if magic != _MAGIC:
        raise RepositoryDamaged(f"{name}: is no flush of an archiver")
    return int(length)


FRONT_BYTES = _FRONT.size
