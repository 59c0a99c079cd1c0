"""Signed heads of the log: C2SP signed notes, checkpoints and proofs as text.

A *checkpoint* says "this log had so many entries and this root"; a *tlog proof* is an entry's inclusion proof with
the checkpoint it leads to. Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tenant_lifecycle.errors import IntegrityError
from tenant_lifecycle.evidence.keys import Algorithm, PublicKey, Signer
from tenant_lifecycle.evidence.merkle import HASH_BYTES

_DASH = "\N{EM DASH} "
_PROOF_HEAD = "c2sp.org/tlog-proof@v1"
_ED25519, _ECDSA = b"\x01", b"\x02"


@dataclass(frozen=True, slots=True)
class Head:
    """What a checkpoint says."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The signed text."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


def valid_origin(origin: str) -> bool:
    """Whether a log may have that name: it is the name of its key, too."""
    return bool(origin) and origin.isprintable() and "+" not in origin and not any(map(str.isspace, origin))


def key_id(name: str, key: PublicKey) -> bytes:
    """The four bytes that name a key in a note."""
    if key.algorithm is Algorithm.ED25519:
        return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]
    return hashlib.sha256(key.spki).digest()[:4]


def verifier_key(name: str, key: PublicKey) -> str:
    """The key as other programs for such logs take it: ``name+id+key``."""
    kind = _ED25519 if key.algorithm is Algorithm.ED25519 else _ECDSA
    return f"{name}+{key_id(name, key).hex()}+{_b64(kind + key.raw)}"


def sign_head(head: Head, signer: Signer) -> str:
    """The checkpoint: a signed note; the key's name is the log's origin.

    Raises:
        ValueError: the origin cannot name a key.
        StoreError: the key cannot be used.
    """
    if not valid_origin(head.origin):
        raise ValueError(f"{head.origin!r} cannot be the name of a log")
    signature = key_id(head.origin, signer.public) + signer.sign(head.text().encode())
    return f"{head.text()}\n{_DASH}{head.origin} {_b64(signature)}\n"


def read_head(note: str, origin: str, key: PublicKey) -> Head:
    """The head that a checkpoint of this log says, its signature checked.

    Raises:
        IntegrityError: no checkpoint, another log's, or not signed by the key.
    """
    text, blank, signatures = note.rpartition("\n\n")
    text += "\n"
    if not blank or not any(_signed(line, text, origin, key) for line in signatures.splitlines()):
        raise IntegrityError("the checkpoint is not signed by the log's key")
    return _head(text, origin)


def _head(text: str, origin: str) -> Head:
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != origin:
        raise IntegrityError("the checkpoint is another log's")
    size, root = lines[1], _unb64(lines[2])
    if not size.isascii() or not size.isdigit() or str(int(size)) != size or len(root) != HASH_BYTES:
        raise IntegrityError("the checkpoint has no size and root")
    return Head(origin, int(size), root)


def _signed(line: str, text: str, origin: str, key: PublicKey) -> bool:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or name != origin:
        return False
    signature = _unb64(encoded)
    return signature[:4] == key_id(origin, key) and key.verifies(signature[4:], text.encode())


@dataclass(frozen=True, slots=True)
class TlogProof:
    """That an entry is in the log, for somebody who has only the log's key."""

    index: int
    path: tuple[bytes, ...]
    #: The checkpoint's text, with its signature.
    checkpoint: str
    #: The entry's bytes.
    leaf: bytes

    def text(self) -> str:
        """The proof as text; the entry stands in it as extra data."""
        lines = [_PROOF_HEAD, f"extra {_b64(self.leaf)}", f"index {self.index}", *map(_b64, self.path)]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """Read `text`.

        Raises:
            IntegrityError: it is no such proof.
        """
        body, blank, checkpoint = text.partition("\n\n")
        head, *rest = body.split("\n")
        if not blank or head != _PROOF_HEAD or len(rest) < 2:
            raise IntegrityError("this is no proof of an entry in a log")
        extra, index, *path = rest
        number = index.removeprefix("index ")
        if not extra.startswith("extra ") or not index.startswith("index ") or not number.isdigit():
            raise IntegrityError("the proof does not say which entry it is about")
        return cls(int(number), tuple(map(_unb64, path)), checkpoint, _unb64(extra.removeprefix("extra ")))


def hashes_text(hashes: Sequence[bytes]) -> str:
    """Hashes of a proof, one a line."""
    return "".join(f"{_b64(one)}\n" for one in hashes)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise IntegrityError("a proof or checkpoint holds what is no base64") from exc
