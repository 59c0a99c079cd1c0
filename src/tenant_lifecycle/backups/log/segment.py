"""One segment of a tenant's own log: frames sealed with the tenant's key, chained to the segment before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from tenant_lifecycle.backups.log.codec import blocks, decode, weight
from tenant_lifecycle.backups.log.stretch import Heading, Stretch
from tenant_lifecycle.backups.sealing import Kind, Sealer, read_header
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame

#: A segment is closed when it has so many bytes of keys and cells, or so many operations.
CLOSE_BYTES = 8 * 2**20
CLOSE_OPS = 65_536


#: So many bytes from the beginning hold every heading.
HEADING_BYTES = 4096


def seal(sealer: Sealer, name: str, heading: Heading, frames: Iterable[Frame]) -> bytes:
    """The bytes of a segment of that name."""
    return sealer.seal(Kind.SEGMENT, name, blocks(frames), heading.written())


def heading_of(name: str, data: bytes) -> Heading:
    """What the object says about itself; no key is needed, and nothing is proven yet."""
    header, _ = read_header(name, data)
    return Heading.read(name, header.clear)


def digest_of(data: bytes) -> str:
    """What the next object of the chain says of this one."""
    return hashlib.sha256(data).hexdigest()


def frames_of(sealer: Sealer, kind: Kind, name: str, data: bytes) -> list[Frame]:
    """The frames of a segment, or of a part of a flush.

    Raises:
        RepositoryDamaged: a byte is not what was written under that name.
    """
    found: list[Frame] = []
    for block in sealer.open(kind, name, data):
        try:
            found += decode(block) if block else []
        except ValueError as exc:
            raise RepositoryDamaged(f"{name}: {exc}") from exc
    return found


def runs(frames: Sequence[Frame], stretch: Stretch) -> Iterator[tuple[Stretch, Sequence[Frame]]]:
    """The stretch in pieces that are each one segment; frames with one position stay together.

    Only the last piece says that a time is covered: commit times do not grow with positions.
    """
    after = stretch.after
    begin = size = ops = 0
    for place, frame in enumerate(frames):
        size, ops = size + weight(frame), ops + len(frame.ops)
        following = frames[place + 1].position if place + 1 < len(frames) else None
        if (size >= CLOSE_BYTES or ops >= CLOSE_OPS) and following not in (None, frame.position):
            yield (
                Stretch(after, frame.position, stretch.from_us, stretch.from_us - 1),
                frames[begin : place + 1],
            )
            after, begin, size, ops = frame.position, place + 1, 0, 0
    yield Stretch(after, stretch.through, stretch.from_us, stretch.through_us), frames[begin:]
