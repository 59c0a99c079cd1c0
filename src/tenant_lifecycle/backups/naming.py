"""What objects of a repository are called, and which names are none.

::

    FORMAT                          what this repository is, signed
    keys/<epoch>.wrap               the repository's own keys
    t/<tenant hash>/
      keys/<epoch>.wrap             the tenant's keys, wrapped
      keys/<epoch>.shredded         that epoch's keys were destroyed
      tenant.id                     the tenant's id, sealed
      base/<backup id>.mf           a signed manifest: the base is there
      packs/<aa>/<sha256>.pack      sealed blocks
      index/<sha256>.idx            where each content lies
      tomb/<the rest of a name>.tomb   that object is about to be deleted

Names say nothing about a tenant: its directory is a keyed hash of its id.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass

from tenant_lifecycle.errors import RepositoryRejected
from tenant_lifecycle.model.names import TenantId

FORMAT = "FORMAT"
TENANTS = "t/"
_LONGEST = 512
_NAME = re.compile(r"[a-zA-Z0-9_-][a-zA-Z0-9._-]*(/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)*", re.ASCII)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)


def checked_name(name: str, where: str) -> str:
    """The name, if it is one: no empty, hidden or climbing parts.

    Raises:
        RepositoryRejected: it is not.
    """
    if len(name) > _LONGEST or _NAME.fullmatch(name) is None:
        raise RepositoryRejected(f"{name[:80]!r} is no name of an object in a repository", where=where)
    return name


def new_id(now_us: int) -> str:
    """A ULID: 26 characters that sort by the millisecond in which they were made."""
    number = (now_us // 1000 << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))


def is_id(text: str) -> bool:
    """Whether it may be the id of a base."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Directory:
    """Where one tenant's objects are, or with an empty ``path`` the repository's own."""

    #: ``t/<64 hex digits>``.
    path: str

    @classmethod
    def of_tenant(cls, name_key: bytes, tenant: TenantId) -> Directory:
        """By HMAC-SHA256 of the id in UTF-8; ids that are no valid Unicode keep their surrogates."""
        digest = hmac.new(name_key, tenant.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return cls(TENANTS + digest.hexdigest())

    @property
    def tenant_hash(self) -> bytes:
        """32 bytes; zeros for the repository's own."""
        return bytes.fromhex(self.path.removeprefix(TENANTS)) if self.path else bytes(32)

    def below(self, name: str) -> str:
        """A name inside."""
        return f"{self.path}/{name}" if self.path else name

    def key(self, epoch: int) -> str:
        return self.below(f"keys/{epoch:08d}.wrap")

    def shredded(self, epoch: int) -> str:
        return self.below(f"keys/{epoch:08d}.shredded")

    def tenant_id(self) -> str:
        return self.below("tenant.id")

    def manifest(self, backup_id: str) -> str:
        return self.below(f"base/{backup_id}.mf")

    def pack(self, sha256: str) -> str:
        return self.below(f"packs/{sha256[:2]}/{sha256}.pack")

    def index(self, sha256: str) -> str:
        return self.below(f"index/{sha256}.idx")

    def tomb(self, name: str) -> str:
        """The mark that the object is about to be deleted; nothing new may refer to it."""
        inside = name.removeprefix(f"{self.path}/") if self.path else name
        return self.below(f"tomb/{inside}.tomb")


def content_digest(name: str) -> str:
    """The SHA-256 in the name of a pack or an index, hex."""
    return name.rpartition("/")[2].partition(".")[0]
