"""The key of one clone, and what is derived from it. Nobody without it can tell whose a pseudonym is.

``digest = HMAC-SHA256(HKDF(master, tenant | target | purpose), domain | value)``: a domain is a meaning
(``person.email``), not a place, so equal values stay equal everywhere; another target gets other pseudonyms.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_lifecycle.errors import UsageError

#: Bytes of a master key.
KEY_SIZE = 32


def new_master() -> bytes:
    """A key for one run; when it is forgotten nobody can go back, or make the same clone again."""
    return secrets.token_bytes(KEY_SIZE)


class MaskingKey:
    """What pseudonyms of one clone are made with; never shown."""

    def __init__(self, master: bytes, tenant: str, target: str, purpose: str = "clone") -> None:
        """``master`` is 32 bytes or more, at random.

        Raises:
            UsageError: the key is missing or too short; there is no default one.
        """
        if len(master) < KEY_SIZE:
            raise UsageError(
                f"a masking key has {KEY_SIZE} bytes or more, this one has {len(master)}",
                next_step="leave it to the clone to make one, or give 64 hexadecimal digits",
            )
        self._master = master
        self._bound = b"".join(_framed(part.encode()) for part in ("mask-1", tenant, target, purpose))
        self._key = self.derive("values")

    def __repr__(self) -> str:
        return "MaskingKey(...)"

    def derive(self, use: str) -> bytes:
        """32 bytes for one use."""
        info = self._bound + _framed(use.encode())
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(self._master)

    def digest(self, domain: str, value: str) -> bytes:
        """32 bytes that stand for the value; the caller normalised it."""
        return hmac.digest(
            self._key, _framed(domain.encode()) + value.encode(errors="surrogatepass"), hashlib.sha256
        )

    def number(self, domain: str, value: str, below: int) -> int:
        """From 0 up to ``below``, evenly spread."""
        return int.from_bytes(self.digest(domain, value)[:16], "big") % below


def normal(value: str) -> str:
    """Equal for what people take for the same: NFKC, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
