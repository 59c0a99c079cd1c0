"""A token that says how fresh an environment must be to show a reader its own last write.

It is opaque for the application, safe in URLs and cookies, and not a secret: who forges one can at most send
their own reads to the writer, or see an older state of what they may see anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from dataclasses import dataclass

VERSION = 1
#: How long after a failed mirror the other stores of an environment are not relied on, seconds.
DOUBT_S = 60.0
_LAYOUT = struct.Struct(">BqQI8s")
_CHECK = struct.Struct(">I")
_MOST_BYTES = 512


@dataclass(frozen=True, slots=True)
class Token:
    """What a write left behind."""

    #: The writer's environment, and its epoch.
    environment: str
    epoch: int
    #: A position in that environment's WAL behind the commit; 0 if it is not known.
    position: int
    #: Until when (Unix time, whole seconds) only the writer surely has the write; 0: it was mirrored.
    doubtful_until: int

    def encode(self, tenant: str) -> str:
        """As text of URL-safe characters, good for this tenant only."""
        head = _LAYOUT.pack(VERSION, self.epoch, self.position, self.doubtful_until, _digest(tenant))
        data = head + self.environment.encode()
        return base64.urlsafe_b64encode(data + _CHECK.pack(zlib.crc32(data))).decode().rstrip("=")


def decode(text: str, tenant: str) -> Token | None:
    """The token; None for whatever is not one of ours for this tenant. Never raises."""
    try:
        if len(text) > _MOST_BYTES:
            return None
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        data, check = raw[: -_CHECK.size], raw[-_CHECK.size :]
        if _CHECK.unpack(check)[0] != zlib.crc32(data):
            return None
        version, epoch, position, doubtful_until, digest = _LAYOUT.unpack_from(data)
        if version != VERSION or digest != _digest(tenant):
            return None
        return Token(data[_LAYOUT.size :].decode(), epoch, position, doubtful_until)
    except (binascii.Error, struct.error, ValueError, TypeError, AttributeError):
        return None


def _digest(tenant: str) -> bytes:
    return hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).digest()[:8]
