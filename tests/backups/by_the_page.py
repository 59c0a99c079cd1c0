"""A reader of repositories written from docs/backups/format.md alone; it shares no line with the product."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Cells = list[bytes | None]


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def hkdf(key: bytes, info: str, salt: bytes | None = None) -> bytes:
    return HKDF(SHA256(), 32, salt, info.encode()).derive(key)


def unwrap(path: Path, wrapping: bytes) -> tuple[bytes, bytes]:
    said = json.loads(path.read_bytes())
    aad = canonical({name: said[name] for name in ("directory", "epoch", "repository")})
    wrapped = base64.b64decode(said["wrapped"])
    plain = AESGCM(wrapping).decrypt(wrapped[:12], wrapped[12:], aad)
    return plain[:32], plain[32:]


def padme(length: int) -> int:
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-length // step) * step


def varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def some_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(data, at)
    return data[at : at + length], at + length


class Tenant:
    """One tenant of a repository in a folder."""

    def __init__(self, root: Path, wrapping: bytes, tenant: str) -> None:
        self.format = json.loads((root / "FORMAT").read_bytes())
        signature = bytes.fromhex(self.format.pop("signature"))
        self.public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.format["public"]))
        self.public.verify(signature, canonical(self.format))
        _, secret = unwrap(root / "keys" / "00000001.wrap", wrapping)
        name_key = hkdf(secret, "tenant-lifecycle name")
        self.hash = hmac.digest(name_key, tenant.encode(), "sha256")
        self.root, self.base = root, root / "t" / self.hash.hex()
        self.keys = {int(one.stem): unwrap(one, wrapping) for one in (self.base / "keys").glob("*.wrap")}
        self.places = {
            one: place for path in self.base.glob("index/*.idx") for one, place in self._index(path)
        }

    def name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def blocks(self, data: bytes, name: str) -> list[tuple[bytes, bytes]]:
        """Id and block, each."""
        magic, version, kind, ids, zero, epoch, owner, nonce, clear = struct.unpack_from(
            ">8sBBBBI32s32sI", data
        )
        assert (magic, version, zero, owner) == (b"TLSEAL\r\n", 1, 0, self.hash)
        at = 84 + clear
        key = AESGCM(
            hkdf(hkdf(self.keys[epoch][0], "tenant-lifecycle data"), "tenant-lifecycle object", nonce)
        )
        inside = "" if kind in (1, 2) else name
        bound = hashlib.sha256(
            bytes.fromhex(self.format["repository"]) + data[:at] + inside.encode()
        ).digest()
        found = []
        while at < len(data):
            (length,) = struct.unpack_from(">I", data, at)
            block_id, begin = data[at + 4 : at + 4 + ids], at + 4 + ids
            at = begin + length
            number = len(found)
            aad = bound + struct.pack(">IB", number, at == len(data)) + block_id
            plain = key.decrypt(bytes(4) + struct.pack(">Q", number), data[begin:at], aad)
            found.append((block_id, self._inside(plain)))
        return found

    def manifests(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(self.base.glob("base/*.mf")):
            sealed, signature = path.read_bytes()[:-64], path.read_bytes()[-64:]
            signed = b"tenant-lifecycle manifest 1\0" + self.name(path).encode() + b"\0" + sealed
            self.public.verify(signature, signed)
            ((_, text),) = self.blocks(sealed, self.name(path))
            found.append(json.loads(text))
        return found

    def content(self, content_id: bytes) -> bytes:
        pack, number = self.places[content_id]
        path = self.base / "packs" / pack[:2] / f"{pack}.pack"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == pack
        found, content = self.blocks(path.read_bytes(), self.name(path))[number]
        assert found == content_id
        assert content_id in {
            hmac.digest(hkdf(key, "tenant-lifecycle id"), content, "sha256") for key, _ in self.keys.values()
        }
        return content

    def rows(self, manifest: dict[str, Any], store: str, set_name: str) -> list[tuple[bytes, int, Cells]]:
        """Key, time, cells; with the parents merged in."""
        said = next(one for one in manifest["stores"][store]["sets"] if one["shape"]["set"] == set_name)
        contents = said["contents"] or {"listings": [], "gone": [], "whole": False}
        rows: list[tuple[bytes, int, Cells]] = []
        if not contents["whole"]:
            parent = next(one for one in self.manifests() if one["id"] == manifest["parent"])
            rows = self.rows(parent, store, set_name)
        mine = list(self._listed(contents["listings"]))
        newer = {key for key, _, _ in mine} | {key for key, _, _ in self._listed(contents["gone"])}
        rows = sorted([one for one in rows if one[0] not in newer] + mine, key=lambda one: one[0])
        assert (len(rows), self.fingerprint(set_name, rows)) == (said["items"], said["fingerprint"])
        return rows

    def fingerprint(self, set_name: str, rows: list[tuple[bytes, int, Cells]]) -> str:
        key = hkdf(self.keys[max(self.keys)][1], "tenant-lifecycle fp")
        total = 0
        for row_key, _, cells in rows:
            parts: Cells = [set_name.encode(), row_key, *cells]
            item = b"".join(
                b"\xff" if one is None else b"\0" + struct.pack(">Q", len(one)) + one for one in parts
            )
            total += int.from_bytes(hmac.digest(key, item, "sha256"), "big")
        return f"{total % 2**256:064x}"

    def _index(self, path: Path) -> Iterator[tuple[bytes, tuple[str, int]]]:
        (_, head), *rest = self.blocks(path.read_bytes(), self.name(path))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        for pack, (_, entries) in zip(json.loads(head)["packs"], rest, strict=True):
            for content_id, number, _, _ in struct.iter_unpack(">32sIII", entries):
                yield content_id, (pack["sha256"], number)

    def _listed(self, listings: list[str]) -> Iterator[tuple[bytes, int, Cells]]:
        for listing in listings:
            data, at = self.content(bytes.fromhex(listing)), 1
            while at < len(data):
                block = data[at : at + 32]
                _, at = varint(data, at + 32)
                _, at = some_bytes(data, at)
                number, at = varint(data, at)
                at += 32 * number
                yield from self._records(self.content(block))

    def _records(self, block: bytes) -> Iterator[tuple[bytes, int, Cells]]:
        assert block[0] == 1
        at = 1
        while at < len(block):
            kind = block[at]
            key, at = some_bytes(block, at + 1)
            cells: Cells = []
            if kind == 1:
                yield key, 0, cells
                continue
            at_us, at = varint(block, at)
            number, at = varint(block, at)
            for _ in range(number):
                cell, at = self._cell(block, at)
                cells.append(cell)
            yield key, at_us, cells

    def _cell(self, block: bytes, at: int) -> tuple[bytes | None, int]:
        tag, at = varint(block, at)
        if tag == 0:
            return None, at
        if tag > 1:
            return block[at : at + tag - 2], at + tag - 2
        number, at = varint(block, at)
        chunks = [block[at + 32 * one : at + 32 * one + 32] for one in range(number)]
        return b"".join(map(self.content, chunks)), at + 32 * number

    def _inside(self, plain: bytes) -> bytes:
        codec, length, stored = struct.unpack_from(">BII", plain)
        assert len(plain) == padme(9 + stored)
        payload = plain[9 : 9 + stored]
        block = zstandard.ZstdDecompressor().decompress(payload, max_output_size=length) if codec else payload
        assert len(block) == length
        return block
