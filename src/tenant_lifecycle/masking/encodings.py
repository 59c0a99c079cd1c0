"""What stands in a text in another writing: base64, hexadecimal digits, ``%41``, ``\\u0041``, ``&amp;``."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x|\\\\?x)?((?:[0-9A-Fa-f]{2}){4,})(?![0-9A-Za-z])")
_PERCENT = re.compile(r"[^\s%\"'<>]*(?:%[0-9A-Fa-f]{2}[^\s%\"'<>]*)+")
_ESCAPED = re.compile(
    r"[^\s\"]*(?:\\u[0-9A-Fa-f]{4}[^\s\"\\]*)+(?: ?[^\s\"\\]*(?:\\u[0-9A-Fa-f]{4}[^\s\"\\]*)+)*"
)
_ENTITY = re.compile(
    r"\S*&(?:#\d+|#x[0-9A-Fa-f]+|[A-Za-z]+);\S*(?: \S*&(?:#\d+|#x[0-9A-Fa-f]+|[A-Za-z]+);\S*)*"
)
#: Letters and digits of a base64 text look random: a long lower-case word is none.
_MIXED = re.compile(r"(?=.*[A-Z])(?=.*[a-z0-9])")


def encoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Stretches (start, end) that decode to another text, and that text."""
    for match in _BASE64.finditer(text):
        if _MIXED.match(match[0]) and (found := _base64(match[0])):
            yield match.start(), match.end(), found
    for match in _HEX.finditer(text):
        if found := _readable(bytes.fromhex(match[1])):
            yield match.start(), match.end(), found
    if "%" in text:
        for match in _PERCENT.finditer(text):
            yield match.start(), match.end(), unquote(match[0].replace("+", " "))
    if "\\u" in text:
        for match in _ESCAPED.finditer(text):
            if found := _unescaped(match[0]):
                yield match.start(), match.end(), found
    if "&" in text and ";" in text:
        for match in _ENTITY.finditer(text):
            yield match.start(), match.end(), html.unescape(match[0])


def _base64(text: str) -> str:
    """Read from its first four characters on: something else may stand glued before it."""
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    for skipped in range(4):
        part = plain[skipped:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        try:
            data = base64.b64decode(part + "=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            continue
        if found := _readable(data):
            return found
    return ""


def _readable(data: bytes) -> str:
    """As text, "" if it is none."""
    for encoding in ("utf-8", "utf-16-le"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if sum(c.isprintable() or c.isspace() for c in text) >= 0.9 * len(text) and (
            encoding == "utf-8" or text.isascii()
        ):
            return text
    return ""


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return ""
