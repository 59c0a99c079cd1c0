"""How a tenant's identifier may stand in bytes: the byte strings to look for, and how sure each of them is."""

from __future__ import annotations

import base64
import html
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from unicodedata import normalize
from urllib.parse import quote, quote_plus

from tenant_lifecycle.model.erasure.match import Whose

#: Identifiers with fewer characters mean something only as a whole field; see `boundaries`.
SHORT = 4
#: A part of a base64 text with fewer characters is found everywhere.
_SHORTEST_CORE = 4


@dataclass(frozen=True, slots=True)
class Identifier:
    """A text that names a tenant."""

    #: Opaque name of it in results: ``id``, ``alias/1``, ``canary``.
    handle: str
    text: str
    #: None: a neighbour's, known so that it is not taken for the tenant's.
    whose: Whose | None
    #: Whether another case is another tenant.
    exact_case: bool = False

    @property
    def short(self) -> bool:
        return len(self.text) < SHORT

    @property
    def unmistakable(self) -> bool:
        """Whether it is so particular that what stands beside it does not matter."""
        return _uuid(self.text) is not None


class Writing(StrEnum):
    """How the bytes of a spelling are to be read."""

    PLAIN = "plain"
    #: A UUID's 16 bytes.
    BYTES = "bytes"
    UTF16_LE = "utf-16-le"
    UTF16_BE = "utf-16-be"
    HEX = "hex"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class Spelling:
    """Bytes that an identifier is recognised by.

    PLAIN and BYTES are the identifier; the others are a reason to decode what stands around them and to look again.
    """

    identifier: Identifier
    writing: Writing
    pattern: bytes
    #: Whether the case of ASCII letters matters.
    exact: bool
    #: BASE64 only: at which of the four characters of a group the pattern begins.
    offset: int = 0


def spellings(identifier: Identifier) -> Iterator[Spelling]:
    """Every spelling, without repetition."""
    seen: set[tuple[Writing, bytes, int]] = set()
    for spelling in _spellings(identifier):
        key = (spelling.writing, spelling.pattern, spelling.offset)
        if key not in seen and spelling.pattern:
            seen.add(key)
            yield spelling


def _spellings(identifier: Identifier) -> Iterator[Spelling]:
    exact = identifier.exact_case
    for text in _texts(identifier):
        plain = text.encode("utf-8", "surrogatepass")
        yield Spelling(identifier, Writing.PLAIN, plain, exact)
        if not identifier.short:
            for writing in (Writing.UTF16_LE, Writing.UTF16_BE):
                yield Spelling(identifier, writing, text.encode(writing, "surrogatepass"), exact)
            yield Spelling(identifier, Writing.HEX, plain.hex().encode(), False)
            for content in (
                plain,
                plain.hex().encode(),
                plain.hex().upper().encode(),
                text.encode("utf-16-le", "surrogatepass"),
            ):
                yield from _cores(identifier, content)
    if identifier.whose is None:
        for escaped in _escaped(identifier.text):
            yield Spelling(identifier, Writing.PLAIN, escaped.encode(errors="surrogatepass"), exact)
    raw = _uuid(identifier.text)
    if raw is not None:
        for content in (raw.bytes, raw.bytes_le):
            yield Spelling(identifier, Writing.BYTES, content, True)
            yield Spelling(identifier, Writing.HEX, content.hex().encode(), False)
            yield from _cores(identifier, content)


def _texts(identifier: Identifier) -> Iterator[str]:
    """The text, its other cases and normal forms, and a UUID with and without hyphens."""
    raw = _uuid(identifier.text)
    bases = [identifier.text] if raw is None else [identifier.text, str(raw), raw.hex]
    for base in bases:
        cased = [base] if identifier.exact_case else [base, base.lower(), base.upper()]
        for text in cased:
            yield text
            if not text.isascii():
                yield normalize("NFC", text)
                yield normalize("NFD", text)


def _escaped(text: str) -> tuple[str, ...]:
    """What stands in for decoding where a part of the text would be recognised before it is decoded."""
    safe = text.encode(errors="surrogatepass")
    return quote(safe), quote(safe, safe=""), quote_plus(safe), json.dumps(text)[1:-1], html.escape(text)


def _cores(identifier: Identifier, content: bytes) -> Iterator[Spelling]:
    """What stays the same of the content's base64, whatever stands before and behind it: three alignments."""
    for before in range(3):
        first = -(-8 * before // 6)
        last = 8 * (before + len(content)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(bytes(before) + content + bytes(3))[first:last]
            if len(core) >= _SHORTEST_CORE:
                yield Spelling(identifier, Writing.BASE64, core, True, first % 4)


def _uuid(text: str) -> uuid.UUID | None:
    bare = text.strip("{}").removeprefix("urn:uuid:").replace("-", "")
    if len(bare) != 32:
        return None
    try:
        return uuid.UUID(bare)
    except ValueError:
        return None
