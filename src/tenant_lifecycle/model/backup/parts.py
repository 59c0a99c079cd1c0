"""Items of stores without columns: a header and content, and, where that is too big for memory, parts of it.

The one cell of such an item is its header (the store's business), and either its content, or the SHA-256 of each
of its parts in order. Parts are items of the same set, keyed by what they hold. They never change, two items may
share one, and those that nothing names any more are harmless; so fingerprints leave them out: the item that names
them by their digests stands for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tenant_lifecycle.model.backup.items import Item

#: Content above this many bytes is cut into parts of so many.
PART_BYTES = 8 * 2**20
#: What keys of parts begin with. A key of a store that reads like one is refused when it is backed up.
MARK = b"\0tl-part\0"
_DIGEST = 32
_INLINE, _PARTS = b"I", b"P"


def is_part(key: bytes) -> bool:
    """Whether it is the key of a part, and not of something that a store holds."""
    return key.startswith(MARK) and len(key) == len(MARK) + _DIGEST


def part_key(digest: bytes) -> bytes:
    """The key of the part with that SHA-256."""
    return MARK + digest


@dataclass(frozen=True, slots=True)
class Held:
    """What the cell of an item says."""

    header: bytes
    #: None: it is in the parts.
    content: bytes | None
    #: SHA-256 of each part, in order.
    parts: tuple[bytes, ...] = ()

    def cell(self) -> bytes:
        """As it stands in the item: the header's length in 4 bytes, the header, ``I`` and the content or ``P`` and the digests."""
        body = _PARTS + b"".join(self.parts) if self.content is None else _INLINE + self.content
        return len(self.header).to_bytes(4, "big") + self.header + body

    @classmethod
    def read(cls, cell: bytes) -> Held:
        """The inverse of `cell`.

        Raises:
            ValueError: it is no such cell.
        """
        end = 4 + int.from_bytes(cell[:4], "big")
        header, mark, body = cell[4:end], cell[end : end + 1], cell[end + 1 :]
        if mark == _INLINE:
            return cls(header, body)
        if mark != _PARTS or not body or len(body) % _DIGEST:
            raise ValueError("no cell of a header and content")
        return cls(header, None, tuple(body[at : at + _DIGEST] for at in range(0, len(body), _DIGEST)))


def items_of(
    set_name: str, key: bytes, header: bytes, content: Iterable[bytes], at_us: int
) -> Iterator[Item]:
    """The item, after its parts if it is big; ``content`` comes in pieces of any size, of which two parts are held."""
    waiting = bytearray()
    digests: list[bytes] = []
    for piece in content:
        waiting += piece
        while len(waiting) > PART_BYTES:
            yield _part(set_name, bytes(waiting[:PART_BYTES]), at_us, digests)
            del waiting[:PART_BYTES]
    if digests:
        yield _part(set_name, bytes(waiting), at_us, digests)
    held = Held(header, None if digests else bytes(waiting), tuple(digests))
    yield Item(set_name, key, (held.cell(),), at_us)


def _part(set_name: str, content: bytes, at_us: int, digests: list[bytes]) -> Item:
    digests.append(hashlib.sha256(content).digest())
    return Item(set_name, part_key(digests[-1]), (content,), at_us)


def named_only(items: Callable[[], Iterable[Item]]) -> Iterator[Item]:
    """Items without the parts that none of them names any more.

    ``items`` gives them in the order of keys, and is asked again where there are parts.
    """
    if not _any_part(items()):
        yield from items()
        return
    named = {
        digest
        for item in items()
        if not is_part(item.key)
        for digest in Held.read(item.cells[0] or b"").parts
    }
    for item in items():
        if not is_part(item.key) or item.key[len(MARK) :] in named:
            yield item


def _any_part(items: Iterable[Item]) -> bool:
    """Looks no further than where parts stand in the order of keys."""
    for item in items:
        if is_part(item.key):
            return True
        if item.key[: len(MARK)] > MARK:
            return False
    return False
