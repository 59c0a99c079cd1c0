"""Salted commitments: what stands in the log and in certificates instead of names.

``SHA-256(domain || salt || content)``: whoever has salt and content can show that they are what was meant; without
the salt nobody can try names until one fits. Erasing the salt makes the commitment mean nothing, for ever.
Domains have fixed lengths per use and salts always 32 bytes, so no content can pass for another's.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SALT_BYTES = 32
TENANT_DOMAIN = "tenant-commit/v1"
PAYLOAD_DOMAIN = "audit/v1"
ACTOR_DOMAIN = "audit-actor/v1"
TEXT_DOMAIN = "audit-text/v1"


def new_salt() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(SALT_BYTES)


def commit(domain: str, salt: bytes, content: bytes) -> str:
    """The commitment, lower-case hex.

    Raises:
        ValueError: the salt has another length.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return hashlib.sha256(domain.encode() + salt + content).hexdigest()


def commit_text(domain: str, salt: bytes, text: str) -> str:
    """`commit` of a name or sentence; whatever characters it has."""
    return commit(domain, salt, text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class TenantOpening:
    """What opens a certificate's commitment to its tenant; goes to the tenant, and to nobody else."""

    tenant: str = field(repr=False)
    salt: bytes = field(repr=False)

    @property
    def commitment(self) -> str:
        """What stands in the certificate."""
        return commit_text(TENANT_DOMAIN, self.salt, self.tenant)


def canonical(value: Mapping[str, Any]) -> bytes:
    """The one JSON text of an object (RFC 8785 for what we use: whole numbers, text, true, false, null).

    Raises:
        ValueError: a float, a number beyond 2**53, a key that is no ASCII text, or half a character.
    """
    _refuse_inexact(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def sha256_hex(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _refuse_inexact(value: object) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            # ASCII keys have the same order in UTF-16, which the standard asks for, as here.
            if not isinstance(key, str) or not key.isascii():
                raise ValueError(f"a key must be ASCII text, not {key!r}")
            _refuse_inexact(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_inexact(inner)
    elif isinstance(value, float):
        raise ValueError("floats have no one text: use whole numbers")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        raise ValueError(f"{value} is beyond what every JSON reader keeps exactly")
    elif value is not None and not isinstance(value, str | int):
        raise ValueError(f"{type(value).__name__} is no JSON")
