"""Bytes as they may be read: escapes undone, base64 and hex decoded, compressed parts opened.

Where little of the bytes changes (an escape here and there) only the surroundings of what changes are given, so that
a search pays for what there is. Whatever comes out may be decoded again; who calls counts the depth.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tenant_lifecycle.model.erasure.decompressing import Opened, compressions_in, open_raw_snappy


@dataclass(frozen=True, slots=True)
class View:
    """Bytes to be searched."""

    data: bytes
    #: What was undone, outermost first.
    path: tuple[str, ...] = ()
    #: Whether there are more bytes before or behind, which this view leaves out.
    cut_left: bool = False
    cut_right: bool = False


@dataclass(slots=True)
class Budget:
    """How much more may come out of one value."""

    bytes: int
    #: Why not everything was read.
    lacking: list[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is worth decoding for the identifiers that are looked for."""

    #: How far around an escape an identifier may reach, bytes.
    margin: int
    #: Whether one is shorter than what is recognised inside base64 without decoding it.
    short: bool
    #: Whether one has a space, which forms write as a plus.
    spaces: bool


def views(view: View, reading: Reading, budget: Budget) -> Iterator[View]:
    """Every other reading of the view."""
    yield from _opened(view, budget)
    for escape in _ESCAPES:
        if escape.hint in view.data and (reading.spaces or escape is not _FORM):
            yield from _unescaped(view, escape, reading.margin)
    yield from _base64(view, budget, _SHORTEST_FOR_SHORT if reading.short else _SHORTEST_BASE64)
    yield from _hex(view, budget)


def around(view: View, start: int, end: int, room: int) -> View:
    """The part of a view around ``start:end``."""
    first, last = max(0, start - room), min(len(view.data), end + room)
    return View(
        view.data[first:last], view.path,
        view.cut_left or first > 0, view.cut_right or last < len(view.data),
    )  # fmt: skip


# -- compressed

#: Fewer bytes may come out of what only looks compressed.
_NO_CHANCE = 1024


def _opened(view: View, budget: Budget) -> Iterator[View]:
    sound = view.cut_left or view.cut_right or not _ESCAPED.isdisjoint(view.path)
    for at, compression in compressions_in(view.data):
        opened = compression.open(view.data[at:], budget.bytes)
        claimed = at == 0 and compression.anywhere
        if opened.lacking and not sound and (claimed or len(opened.content) >= _NO_CHANCE):
            budget.lacking.append(f"{compression.name}: {opened.lacking}")
        # What stands inside of something that opened well is not a thing of its own, and may well be damaged.
        sound = sound or (at == 0 and not opened.lacking)
        yield from _taken(opened, compression.name, view, budget)
    raw = open_raw_snappy(view.data, budget.bytes)
    if raw is not None:
        yield from _taken(raw, "snappy", view, budget)


def _taken(opened: Opened, name: str, view: View, budget: Budget) -> Iterator[View]:
    budget.bytes = max(0, budget.bytes - len(opened.content))
    if opened.content:
        yield View(opened.content, (*view.path, name))


# -- escapes


@dataclass(frozen=True, slots=True)
class _Escape:
    name: str
    #: Must be in the bytes, or there is nothing to undo; a quick look.
    hint: bytes
    pattern: re.Pattern[bytes]
    undo: Callable[[bytes], bytes]


_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"0": b"\0"}
_BACKSLASHED = re.compile(
    rb"\\(?:u([0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})*)|x([0-9a-fA-F]{2})|(.))", re.DOTALL
)  # fmt: skip


def _undo_backslashes(data: bytes) -> bytes:
    """JSON's, JavaScript's, Python's and COPY's escapes."""

    def undone(match: re.Match[bytes]) -> bytes:
        units, octet, letter = match.groups()
        if units is not None:
            unit_bytes = bytes.fromhex(units.replace(b"\\u", b"").decode())
            return unit_bytes.decode("utf-16-be", "replace").encode()
        return bytes.fromhex(octet.decode()) if octet is not None else _LETTERS.get(letter, letter)

    return _BACKSLASHED.sub(undone, data)


_ENTITY = re.compile(r"&#(?:([0-9]{1,7})|[xX]([0-9a-fA-F]{1,6}));|&[A-Za-z0-9]{2,32};")


def _undo_entities(data: bytes) -> bytes:
    """HTML's and XML's; control characters, which HTML forbids and programs write, included."""

    def undone(match: re.Match[str]) -> str:
        decimal, hexadecimal = match.groups()
        if decimal is None and hexadecimal is None:
            return html.unescape(match.group())
        number = int(decimal) if decimal is not None else int(hexadecimal, 16)
        return chr(number) if number < 0x110000 else match.group()

    text = data.decode(errors="surrogateescape")
    return _ENTITY.sub(undone, text).encode(errors="surrogateescape")


def _undo_form(data: bytes) -> bytes:
    return unquote_to_bytes(data.replace(b"+", b" "))


_FORM = _Escape("form", b"+", re.compile(rb"(?<=[^\s+])\+(?=[^\s+])"), _undo_form)
_ESCAPES = (
    _Escape("url", b"%", re.compile(rb"%[0-9a-fA-F]{2}"), unquote_to_bytes),
    _FORM,
    _Escape("json", b"\\", _BACKSLASHED, _undo_backslashes),
    _Escape("html", b"&", re.compile(rb"&#?[A-Za-z0-9]{1,32};"), _undo_entities),
)


#: Undoing escapes of what was compressed damages it.
_ESCAPED = frozenset(escape.name for escape in _ESCAPES)


def _unescaped(view: View, escape: _Escape, margin: int) -> Iterator[View]:
    """The surroundings of every escape, those that overlap as one."""
    start = end = -1
    for found in escape.pattern.finditer(view.data):
        if start >= 0 and found.start() - margin <= end:
            end = found.end() + margin
            continue
        if start >= 0:
            yield _part(view, start, end, escape)
        start, end = max(0, found.start() - margin), found.end() + margin
    if start >= 0:
        yield _part(view, start, end, escape)


def _part(view: View, start: int, end: int, escape: _Escape) -> View:
    part = around(view, start, min(end, len(view.data)), 0)
    return View(escape.undo(part.data), (*view.path, escape.name), part.cut_left, part.cut_right)


# -- base64 and hex

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_HEX = b"0123456789abcdefABCDEF"
#: What is shorter holds nothing that is not recognised without decoding it, but for escapes inside it.
_SHORTEST_BASE64 = 16
#: For identifiers that are not recognised otherwise.
_SHORTEST_FOR_SHORT = 2
_SHORTEST_HEX = 8
_SHORTEST_COMPRESSED = 24
_LINE = 60
_WRAPPED = re.compile(rb"(?:[A-Za-z0-9+/]{60,76}\r?\n)+[A-Za-z0-9+/]{0,76}={0,2}")
_MAGIC_IN_BASE64 = re.compile(rb"H4sI|KLUv|BCJNG")
_MAGIC_IN_HEX = re.compile(
    rb"1f8b08|28b52ffd|04224d18|78(?:01|5e|9c|da)|425a68|fd377a58|ff060000", re.IGNORECASE
)


def _base64(view: View, budget: Budget, shortest: int) -> Iterator[View]:
    longest = 0
    for start, end in _runs(view.data, _IN_BASE64, shortest):
        longest = max(longest, end - start)
        text = view.data[start:end]
        if not _is_number(text):
            starts = [0, *(found.start() for found in _MAGIC_IN_BASE64.finditer(text) if found.start())]
            for first in starts:
                yield from _decoded(decode_base64(text[first:]), "base64", view, budget)
    if longest >= _LINE:
        for lines in _WRAPPED.finditer(view.data):
            text = lines.group().replace(b"\n", b"").replace(b"\r", b"")
            yield from _decoded(decode_base64(text), "base64", view, budget)


def _hex(view: View, budget: Budget) -> Iterator[View]:
    for start, end in _runs(view.data, _IN_HEX, _SHORTEST_HEX):
        text = view.data[start:end]
        if view.data[max(0, start - 2) : start] in (b"\\x", b"0x"):
            yield from _decoded(decode_hex(text), "hex", view, budget)
        elif len(text) >= _SHORTEST_COMPRESSED:
            for found in _MAGIC_IN_HEX.finditer(text):
                yield from _decoded(decode_hex(text[found.start() :]), "hex", view, budget)


def _runs(data: bytes, flags: bytes, shortest: int) -> Iterator[tuple[int, int]]:
    """Where at least ``shortest`` bytes of an alphabet stand in a row; four hundred times as fast as by pattern."""
    flagged, run = data.translate(flags), b"1" * shortest
    start = flagged.find(run)
    while start >= 0:
        end = flagged.find(b"0", start)
        end = len(data) if end < 0 else end
        yield start, end
        start = flagged.find(run, end)


def _flags(alphabet: bytes) -> bytes:
    return bytes(0x31 if one in alphabet else 0x30 for one in range(256))


_IN_BASE64, _IN_HEX = _flags(_BASE64), _flags(_HEX)


def _is_number(text: bytes) -> bool:
    """Digits, or a UUID: no base64 looks like that by chance."""
    return len(text) >= _SHORTEST_BASE64 and not text.translate(None, _HEX + b"-")


def _decoded(content: bytes, name: str, view: View, budget: Budget) -> Iterator[View]:
    if len(content) > budget.bytes:
        budget.lacking.append(f"{name}: too large")
    elif content:
        budget.bytes -= len(content)
        yield View(content, (*view.path, name))


def decode_base64(text: bytes) -> bytes:
    """Of either alphabet; what is left over at the end is dropped."""
    text = text.rstrip(b"=").translate(_TO_STANDARD)
    if len(text) % 4 == 1:
        text = text[:-1]
    return base64.b64decode(text + b"=" * (-len(text) % 4))


def decode_hex(text: bytes) -> bytes:
    """An odd digit at the end is dropped."""
    return binascii.unhexlify(text[: len(text) // 2 * 2])


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
