"""Sealed objects: compressed, padded, encrypted blocks behind a header that can be read without a key.

Every object has a key of its own: HKDF-SHA256 of the tenant's data key, salted with the object's 32 random bytes.
So a counter is nonce enough for AES-256-GCM. Each block is bound to repository, tenant, kind, name, key epoch, its
number and whether it is the last: blocks and objects that are swapped, cut off or mixed do not open.
The bytes are described in docs/backups/format.md.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_lifecycle.backups.naming import content_digest
from tenant_lifecycle.errors import RepositoryDamaged

MAGIC = b"TLSEAL\r\n"
VERSION = 1
ID_BYTES = 32
_FIXED = struct.Struct(">8sBBBxI32s32sI")
_BLOCK = struct.Struct(">I")
_PLAIN = struct.Struct(">BII")
_NONCE = struct.Struct(">IQ")
_PLACE = struct.Struct(">IB")
_TAG_BYTES = 16
_AS_IT_IS, _ZSTD = 0, 1
_ZSTD_LEVEL = 3
_CLEAR_LIMIT = 1 << 20


class Kind(IntEnum):
    """What an object is; part of what its blocks are bound to. Numbers are never used again."""

    PACK = 1
    INDEX = 2
    MANIFEST = 3
    TENANT_ID = 4
    SEGMENT = 5
    STAGED = 6
    COVERAGE = 7
    REPORT = 8
    TOMB = 9


#: Their name is the SHA-256 of their bytes, so it cannot be inside of them.
_NAMED_BY_CONTENT = frozenset({Kind.PACK, Kind.INDEX})


class DataKeys(Protocol):
    """Where data keys come from."""

    def current(self) -> int:
        """The key epoch that new objects are sealed with."""

    def data(self, epoch: int) -> bytes:
        """32 bytes. Raises `KeyUnavailable`."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an object says about itself in clear; true only if its blocks open."""

    kind: Kind
    #: Bytes of the id in front of each block.
    id_bytes: int
    epoch: int
    tenant_hash: bytes
    nonce: bytes
    clear: bytes

    def encode(self) -> bytes:
        return (
            _FIXED.pack(
                MAGIC, VERSION, self.kind, self.id_bytes, self.epoch, self.tenant_hash, self.nonce, len(self.clear)
            )
            + self.clear
        )  # fmt: skip


def read_header(name: str, data: bytes) -> tuple[Header, int]:
    """The header, and where the first block begins; no key is needed.

    Raises:
        RepositoryDamaged: this is no sealed object of a version that is known.
    """
    if len(data) < _FIXED.size:
        raise RepositoryDamaged(f"{name}: is cut off inside its header")
    magic, version, kind, id_bytes, epoch, tenant_hash, nonce, length = _FIXED.unpack_from(data)
    if magic != MAGIC:
        raise RepositoryDamaged(f"{name}: is no sealed object")
    if version != VERSION:
        raise RepositoryDamaged(
            f"{name}: has format version {version}, this version reads {VERSION}",
            next_step="read it with a newer version of tenant-lifecycle",
        )
    end = _FIXED.size + length
    if (
        kind not in set(Kind)
        or id_bytes not in (0, ID_BYTES)
        or data[11]
        or length > _CLEAR_LIMIT
        or end > len(data)
    ):
        raise RepositoryDamaged(f"{name}: its header makes no sense")
    return Header(Kind(kind), id_bytes, epoch, tenant_hash, nonce, data[_FIXED.size : end]), end


@dataclass(frozen=True, slots=True)
class Placed:
    """One block in an object: where its header begins, and how many bytes with it."""

    number: int
    offset: int
    length: int
    id: bytes


def blocks_of(name: str, data: bytes) -> Iterator[Placed]:
    """Every block of an object in order; no key is needed. Raises `RepositoryDamaged` if they do not fit."""
    header, at = read_header(name, data)
    number = 0
    while at < len(data):
        begins = at + _BLOCK.size + header.id_bytes
        if begins > len(data):
            raise RepositoryDamaged(f"{name}: is cut off in front of block {number}")
        (stored,) = _BLOCK.unpack_from(data, at)
        if begins + stored > len(data):
            raise RepositoryDamaged(f"{name}: is cut off inside block {number}")
        yield Placed(number, at, begins + stored - at, data[at + _BLOCK.size : begins])
        at, number = begins + stored, number + 1


class Sealer:
    """Seals and opens the objects of one tenant."""

    def __init__(self, keys: DataKeys, repository: bytes, tenant_hash: bytes) -> None:
        """``repository`` is its id, 16 bytes; ``tenant_hash`` 32 bytes, zeros for the repository itself."""
        self._keys = keys
        self._repository = repository
        self._tenant_hash = tenant_hash

    def seal(self, kind: Kind, name: str, blocks: Iterable[bytes], clear: bytes = b"") -> bytes:
        """The object's bytes. ``clear`` stands readable in its header, and cannot be changed either."""
        sealing = self.begin(kind, name, clear)
        plain = list(blocks) or [b""]
        for number, block in enumerate(plain, start=1):
            sealing.add(block, last=number == len(plain))
        return sealing.data()

    def open(self, kind: Kind, name: str, data: bytes) -> list[bytes]:
        """The blocks of an object of that kind and name, all of them.

        Raises:
            RepositoryDamaged: they are not what was sealed under that kind and name for this tenant.
            KeyUnavailable: its key epoch is not there.
        """
        header, _ = read_header(name, data)
        opening = self.opening(kind, name, header)
        if kind in _NAMED_BY_CONTENT and hashlib.sha256(data).hexdigest() != content_digest(name):
            raise RepositoryDamaged(f"{name}: its bytes are others than its name says")
        placed = list(blocks_of(name, data))
        if not placed:
            raise RepositoryDamaged(f"{name}: is cut off behind its header")
        return [
            opening.block(one.number, data[one.offset : one.offset + one.length], last=one is placed[-1])
            for one in placed
        ]

    def begin(self, kind: Kind, name: str, clear: bytes = b"", *, ids: bool = False) -> Sealing:
        """An object that is sealed block by block; with ``ids`` each has 32 bytes in clear in front."""
        header = Header(
            kind, ID_BYTES if ids else 0, self._keys.current(), self._tenant_hash, os.urandom(32), clear
        )
        return Sealing(header.encode(), self._cipher(name, header))

    def opening(self, kind: Kind, name: str, header: Header) -> Opening:
        """To open single blocks of an object whose header is known."""
        if header.kind is not kind:
            raise RepositoryDamaged(f"{name}: says it is a {header.kind.name}, and should be a {kind.name}")
        if header.tenant_hash != self._tenant_hash:
            raise RepositoryDamaged(f"{name}: is of another tenant")
        return Opening(name, header.id_bytes, self._cipher(name, header))

    def _cipher(self, name: str, header: Header) -> _Cipher:
        key = HKDF(SHA256(), 32, header.nonce, b"tenant-lifecycle object").derive(
            self._keys.data(header.epoch)
        )
        inside = b"" if header.kind in _NAMED_BY_CONTENT else name.encode()
        bound = hashlib.sha256(self._repository + header.encode() + inside).digest()
        return _Cipher(AESGCM(key), bound)


class _Cipher:
    """One object's key, and what its blocks are bound to."""

    def __init__(self, cipher: AESGCM, bound: bytes) -> None:
        self._cipher = cipher
        self._bound = bound

    def encrypt(self, number: int, last: bool, block_id: bytes, plain: bytes) -> bytes:
        return self._cipher.encrypt(_NONCE.pack(0, number), plain, self._aad(number, last, block_id))

    def decrypt(self, number: int, last: bool, block_id: bytes, sealed: bytes) -> bytes:
        return self._cipher.decrypt(_NONCE.pack(0, number), sealed, self._aad(number, last, block_id))

    def _aad(self, number: int, last: bool, block_id: bytes) -> bytes:
        return self._bound + _PLACE.pack(number, last) + block_id


class Sealing:
    """An object while it is made."""

    def __init__(self, header: bytes, cipher: _Cipher) -> None:
        self.header = header
        self._parts = [header]
        self._cipher = cipher
        self._number = 0
        self.size = len(header)

    def add(self, block: bytes, block_id: bytes = b"", *, last: bool = False) -> Placed:
        """One more block; an object ends with one that is ``last``."""
        sealed = self._cipher.encrypt(self._number, last, block_id, pack_plain(block))
        placed = Placed(self._number, self.size, _BLOCK.size + len(block_id) + len(sealed), block_id)
        self._parts += (_BLOCK.pack(len(sealed)), block_id, sealed)
        self._number += 1
        self.size += placed.length
        return placed

    def data(self) -> bytes:
        """The object."""
        return b"".join(self._parts)


class Opening:
    """An object whose blocks are opened one by one."""

    def __init__(self, name: str, id_bytes: int, cipher: _Cipher) -> None:
        self._name = name
        self._id_bytes = id_bytes
        self._cipher = cipher

    def block(self, number: int, stored: bytes, *, last: bool = False) -> bytes:
        """The block, from its bytes with its header. Raises `RepositoryDamaged`."""
        begins = _BLOCK.size + self._id_bytes
        if len(stored) < begins + _TAG_BYTES or _BLOCK.unpack_from(stored)[0] != len(stored) - begins:
            raise RepositoryDamaged(f"{self._name}: block {number} has another length than it says")
        try:
            plain = self._cipher.decrypt(number, last, stored[_BLOCK.size : begins], stored[begins:])
        except InvalidTag as exc:
            raise RepositoryDamaged(
                f"{self._name}: block {number} was changed, or is not of this place",
                next_step="repair it from the other region, or restore from another base",
            ) from exc
        return unpack_plain(plain)


_compressors = threading.local()


def pack_plain(block: bytes) -> bytes:
    """Compressed if that helps, and padded so that its length says little about it."""
    if not hasattr(_compressors, "one"):
        _compressors.one = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=False)
    payload: bytes = _compressors.one.compress(block)
    codec = _ZSTD
    if len(payload) >= len(block):
        payload, codec = block, _AS_IT_IS
    length = _PLAIN.size + len(payload)
    return _PLAIN.pack(codec, len(block), len(payload)) + payload + bytes(padded(length) - length)


def unpack_plain(plain: bytes) -> bytes:
    """The block again; ``plain`` is authentic."""
    codec, length, stored = _PLAIN.unpack_from(plain)
    payload = plain[_PLAIN.size : _PLAIN.size + stored]
    if codec == _AS_IT_IS:
        return payload
    return zstandard.ZstdDecompressor().decompress(payload, max_output_size=length) if length else b""


def padded(length: int) -> int:
    """The least padded length: at most 12 % more, and O(log log n) bits told (Padmé, PURBs 2019, section 4)."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask
