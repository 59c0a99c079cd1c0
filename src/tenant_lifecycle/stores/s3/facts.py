"""What a version of an object is besides its bytes, and what that says about its content.

Content is equal when checksums say so that the service computed over the whole object with the same strong
algorithm, or plain MD5 ETags. An ETag of a multipart upload, or of an object encrypted with a key of KMS or of
the customer, is no checksum of the content and decides nothing; then both sides are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Answer's field and the parameter that sets it, which have one name, and how people call it.
HEADERS: Mapping[str, str] = {
    "ContentType": "content type",
    "ContentEncoding": "content encoding",
    "ContentDisposition": "content disposition",
    "ContentLanguage": "content language",
    "CacheControl": "cache control",
    "WebsiteRedirectLocation": "redirect",
}
#: Checksums strong enough to call content equal.
_STRONG = ("SHA256", "CRC64NVME")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a HEAD tells about one version."""

    size: int
    etag: str
    #: Names of `HEADERS` with their values.
    headers: tuple[tuple[str, str], ...]
    #: As the service tells it, by lower-case name.
    metadata: tuple[tuple[str, str], ...]
    expires: str = ""
    #: Encryption on the server, "" if the service names none.
    encryption: str = ""
    #: Checksums of the whole object, by algorithm.
    checksums: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Facts:
        """Read the answer of HeadObject or GetObject."""
        whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        found = {name: str(answer.get(f"Checksum{name}", "")) for name in _STRONG}
        return cls(
            size=int(answer["ContentLength"]),
            etag=plain(str(answer["ETag"])),
            headers=tuple((name, str(answer[name])) for name in HEADERS if answer.get(name)),
            metadata=tuple(sorted((str(k).lower(), str(v)) for k, v in answer.get("Metadata", {}).items())),
            expires=str(answer.get("ExpiresString", "")),
            encryption="customer"
            if answer.get("SSECustomerAlgorithm")
            else str(answer.get("ServerSideEncryption", "")),
            checksums={name: value for name, value in found.items() if value and "-" not in value and whole},
        )

    @property
    def md5(self) -> str | None:
        """The content's MD5, where the ETag is one."""
        return self.etag if _MD5.fullmatch(self.etag) and self.encryption in ("", "AES256") else None


def plain(etag: str) -> str:
    """An ETag without its quotes."""
    return etag.strip('"')


def same_content(one: Facts, other: Facts) -> bool | None:
    """Whether the content is equal; None: what the service tells does not say."""
    if one.size != other.size:
        return False
    for name in _STRONG:
        if name in one.checksums and name in other.checksums:
            return one.checksums[name] == other.checksums[name]
    if one.md5 is not None and other.md5 is not None:
        return one.md5 == other.md5
    return None


def differing_properties(one: Facts, other: Facts) -> tuple[str, ...]:
    """Names of properties that differ, content aside."""
    mine, theirs = dict(one.headers), dict(other.headers)
    named = [text for name, text in HEADERS.items() if mine.get(name) != theirs.get(name)]
    if one.metadata != other.metadata:
        named.append("metadata")
    if one.expires != other.expires:
        named.append("expires")
    return tuple(named)
