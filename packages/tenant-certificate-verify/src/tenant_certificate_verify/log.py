"""The issuer's log, from outside: signed heads, proofs of inclusion and of consistency (RFC 9162, C2SP)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tenant_certificate_verify import schema
from tenant_certificate_verify.strict import Invalid, Untrusted, from_base64, parse
from tenant_certificate_verify.trust import Policy, TrustedKey

_DASH = "\N{EM DASH} "
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_MOST_STEPS = 64
ENTRY = {
    "v": schema.one,
    "seq": int,
    "at_ms": int,
    "type": schema.word,
    "operation_id": str,
    "stream": int,
    "step": str,
    "before": str,
    "after": str,
    "digest": str,
    "actor": str,
    "tenant": str,
    "payload": schema.digest,
    "prev": schema.digest,
}


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head: so many entries, this root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry, and the way from it to a head."""

    index: int
    path: tuple[bytes, ...]
    leaf: bytes
    note: str


def read_proof(data: bytes) -> Proof:
    """Read ``inclusion.tlog-proof``. Raises Invalid."""
    try:
        body, blank, note = data.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError as error:
        raise Invalid("inclusion proof: not text") from error
    lines = body.split("\n")
    if not blank or len(lines) < 3 or lines[0] != "c2sp.org/tlog-proof@v1" or len(lines) > _MOST_STEPS + 3:
        raise Invalid("inclusion proof: not of the known form")
    extra, index = lines[1].removeprefix("extra "), lines[2].removeprefix("index ")
    if f"extra {extra}" != lines[1] or f"index {index}" != lines[2] or not _NUMBER.fullmatch(index):
        raise Invalid("inclusion proof: does not say which entry it is about")
    leaf = from_base64(extra, "inclusion proof: entry")
    return Proof(int(index), read_hashes(lines[3:], "inclusion proof"), leaf, note)


def read_hashes(lines: Sequence[str], what: str) -> tuple[bytes, ...]:
    """Hashes in base64. Raises Invalid."""
    hashes = tuple(from_base64(line, what) for line in lines)
    if any(len(one) != 32 for one in hashes):
        raise Invalid(f"{what}: a hash has 32 bytes")
    return hashes


def read_head(note: str, policy: Policy, what: str) -> tuple[Head, TrustedKey]:
    """The head that a checkpoint says, and the key that signed it. Raises Invalid, Untrusted."""
    text, blank, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) != 3 or not signatures.endswith("\n") or not _NUMBER.fullmatch(lines[1]):
        raise Invalid(f"{what}: no signed head")
    if lines[0] != policy.log_origin:
        raise Untrusted(f"{what}: the head of another log than the policy's")
    (root,) = read_hashes(lines[2:3], what)
    return Head(int(lines[1]), root), _signer(f"{text}\n".encode(), signatures[:-1].split("\n"), policy, what)


def _signer(text: bytes, lines: list[str], policy: Policy, what: str) -> TrustedKey:
    """The trusted key that signed; every line of a trusted key must be right, other keys' lines do not count."""
    found = None
    for line in lines:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not name:
            raise Invalid(f"{what}: a line of signatures is none")
        signature = from_base64(encoded, what)
        for key in policy.log_keys:
            if name == policy.log_origin and signature[:4] == _note_id(name, key):
                if not key.verifies(signature[4:], text):
                    raise Invalid(f"{what}: the log's signature is wrong")
                found = key
    if found is None:
        raise Untrusted(f"{what}: not signed by the log's key of the policy")
    return found


def _note_id(name: str, key: TrustedKey) -> bytes:
    if key.algorithm == "ed25519":
        return hashlib.sha256(name.encode() + b"\n\x01" + key.spki[-32:]).digest()[:4]
    return hashlib.sha256(key.spki).digest()[:4]


def entry(leaf: bytes) -> dict[str, Any]:
    """The entry that a leaf is. Raises Invalid."""
    found = parse(leaf, "log entry")
    schema.check(found, ENTRY, "log entry")
    return found


def included(proof: Proof, head: Head) -> bool:
    """RFC 9162, 2.1.3.2."""
    if proof.index >= head.size:
        return False
    at, last, value = proof.index, head.size - 1, hashlib.sha256(b"\x00" + proof.leaf).digest()
    for step in proof.path:
        if last == 0:
            return False
        if at & 1 or at == last:
            value = _node(step, value)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            value = _node(value, step)
        at, last = at >> 1, last >> 1
    return last == 0 and value == head.root


def consistent(old: Head, new: Head, path: Sequence[bytes]) -> bool:
    """RFC 9162, 2.1.4.2."""
    if old.size == new.size:
        return not path and old.root == new.root
    if old.size == 0:
        return not path and old.root == hashlib.sha256(b"").digest()
    if old.size > new.size or not path:
        return False
    steps = list(path) if old.size & (old.size - 1) else [old.root, *path]
    at, last = old.size - 1, new.size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = _node(step, first), _node(step, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = _node(second, step)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old.root and second == new.root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
