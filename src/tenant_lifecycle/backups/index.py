"""Where each content lies: in which pack, at which block. One sealed object per base, read all together."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import canonical
from tenant_lifecycle.backups.naming import Directory, content_digest
from tenant_lifecycle.backups.sealing import Kind, Placed, Sealer
from tenant_lifecycle.errors import RepositoryDamaged

_ENTRY = struct.Struct(">32sIII")
#: So many index objects are read one by one; then a new one takes their place.
_MOST_OBJECTS = 32


@dataclass(frozen=True, slots=True)
class PackContents:
    """What is in one pack."""

    #: SHA-256 of the pack, hex.
    sha256: str
    size: int
    #: The pack's header, so that one block can be opened without reading it.
    header: bytes
    blocks: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """One content's place."""

    pack: PackContents
    block: Placed


class Index:
    """Every content of a tenant; about 400 bytes of memory each."""

    def __init__(self, packs: Iterable[PackContents] = (), objects: Sequence[str] = ()) -> None:
        self.packs: dict[str, PackContents] = {}
        #: The index objects that it was read from.
        self.objects = tuple(objects)
        self._places: dict[bytes, Located] = {}
        #: Where else contents are that two packs have: two writers at once, or a pack that is about to be deleted.
        self._elsewhere: dict[bytes, list[Located]] = {}
        for pack in packs:
            self.add(pack)

    def add(self, pack: PackContents) -> None:
        self.packs[pack.sha256] = pack
        for block in pack.blocks:
            if (before := self._places.get(block.id)) is not None:
                self._elsewhere.setdefault(block.id, []).append(before)
            self._places[block.id] = Located(pack, block)

    def find(self, content_id: bytes) -> Located | None:
        """Where the content is; None: it is nowhere."""
        return self._places.get(content_id)

    def elsewhere(self, content_id: bytes) -> list[Located]:
        """Where it is as well."""
        return self._elsewhere.get(content_id, [])

    def __len__(self) -> int:
        return len(self._places)


def write_index(
    storage: Storage, sealer: Sealer, directory: Directory, new: Sequence[PackContents], known: Index
) -> str:
    """Store where the contents of new packs are; its name. With too many objects, this one replaces those known."""
    supersedes = known.objects if len(known.objects) >= _MOST_OBJECTS else ()
    packs = [*(known.packs.values() if supersedes else ()), *new]
    return _put_index(storage, sealer, directory, packs, supersedes)


def rewrite_index(
    storage: Storage, sealer: Sealer, directory: Directory, known: Index, gone: frozenset[str]
) -> str:
    """Store everything that is known but the packs that are gone, in place of all that was read; its name."""
    packs = [pack for sha256, pack in sorted(known.packs.items()) if sha256 not in gone]
    return _put_index(storage, sealer, directory, packs, known.objects)


def _put_index(
    storage: Storage, sealer: Sealer, directory: Directory, packs: Sequence[PackContents], supersedes: Sequence[str]
) -> str:  # fmt: skip
    data = sealer.seal(Kind.INDEX, "", _encoded(packs, supersedes))
    name = directory.index(hashlib.sha256(data).hexdigest())
    storage.put(name, data)
    return name


def read_index(storage: Storage, sealer: Sealer, directory: Directory) -> Index:
    """Every index object but the superseded.

    Raises:
        RepositoryDamaged: one of them is not as it was written.
    """
    packs: dict[str, list[PackContents]] = {}
    superseded: set[str] = set()
    for name, _, _ in storage.names(directory.below("index/")):
        packs[name], replaces = open_index(sealer, name, storage.get(name))
        superseded.update(replaces)
    live = [name for name in packs if name not in superseded]
    dead = dead_packs(storage, directory)
    # What is found last counts, so packs that will stay come last.
    found = sorted((pack for name in live for pack in packs[name]), key=lambda pack: pack.sha256 not in dead)
    return Index(found, live)


def open_index(sealer: Sealer, name: str, data: bytes) -> tuple[list[PackContents], list[str]]:
    """What an index object says: packs, and the names of the objects that it supersedes."""
    head, *blocks = sealer.open(Kind.INDEX, name, data)
    said = json.loads(head)
    if said["format"] != 1:
        raise RepositoryDamaged(f"{name}: is of a format that this version cannot read")
    packs = [
        PackContents(one["sha256"], one["size"], bytes.fromhex(one["header"]), _placed(block))
        for one, block in zip(said["packs"], blocks, strict=True)
    ]
    return packs, list(said["supersedes"])


def dead_packs(storage: Storage, directory: Directory) -> frozenset[str]:
    """Packs that are about to be deleted: nothing new may refer to them."""
    tombs = storage.names(directory.below("tomb/packs/"))
    return frozenset(content_digest(name) for name, _, _ in tombs)


def _encoded(packs: Sequence[PackContents], supersedes: Sequence[str]) -> list[bytes]:
    said = [{"header": one.header.hex(), "sha256": one.sha256, "size": one.size} for one in packs]
    head = canonical({"format": 1, "packs": said, "supersedes": list(supersedes)})
    return [head, *(b"".join(_packed(block) for block in one.blocks) for one in packs)]


def _packed(block: Placed) -> bytes:
    return _ENTRY.pack(block.id, block.number, block.offset, block.length)


def _placed(packed: bytes) -> tuple[Placed, ...]:
    return tuple(
        Placed(number, offset, length, content_id)
        for content_id, number, offset, length in _ENTRY.iter_unpack(packed)
    )
