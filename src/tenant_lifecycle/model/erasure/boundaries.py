"""Whether bytes that look like an identifier are one, or part of another word: tenant ``1`` is not in ``12``.

A long identifier stands between characters that are neither letters nor digits (``_`` and ``-`` separate: the
neighbour ``acme-eu`` of ``acme`` is kept apart by knowing it), or right behind its own length, as binary formats
write texts. Words of scripts without spaces may touch others.

An identifier of fewer than four characters says something only as a whole field: the whole value, a field
between tabs, line ends or zero bytes, a segment of a path or key that is no date or time of day, or the value
behind a word like ``tenant_id``.
"""

from __future__ import annotations

import re
from unicodedata import east_asian_width

from tenant_lifecycle.model.erasure.decoding import View

_FIELD_ENDS = b"\t\n\r\0\x1e\x1f"
_SEGMENT_ENDS = b"/:"
_QUOTES = b"\"'"
_OWNER_WORDS = re.compile(
    rb"(?:tenant|org|organi[sz]ation|account|workspace|customer|client)[a-z_\-]*[\"']?\s*[=:/]>?\s*[\"']?\Z", re.IGNORECASE
)  # fmt: skip
_OWNER_WORD_ROOM = 48


def stands_alone(view: View, start: int, end: int) -> bool:
    """Whether the identifier at ``start:end`` is a word of its own."""
    if _behind_its_length(view.data, start, end - start):
        return True
    return not _joined_before(view, start, end) and not _joined_behind(view, start, end)


def is_field(view: View, start: int, end: int) -> bool:
    """Whether the short identifier at ``start:end`` is a whole field."""
    data = view.data
    before = data[start - 1 : start] if start or view.cut_left else b"\t"
    behind = data[end : end + 1] if end < len(data) or view.cut_right else b"\t"
    if before and behind and before in _FIELD_ENDS and behind in _FIELD_ENDS:
        return True
    return _is_segment(view, start, end) or _is_owner(view, start, end)


def _is_segment(view: View, start: int, end: int) -> bool:
    data = view.data
    before, behind = data[start - 1 : start], data[end : end + 1]
    ends = {one for one in (before, behind) if one}
    if not ends or len(ends) > 1 or not ends <= {b"/", b":"}:
        return False
    if (not before and view.cut_left) or (not behind and view.cut_right):
        return False
    return not (data[start - 2 : start - 1].isdigit() and data[end + 1 : end + 2].isdigit())


def _is_owner(view: View, start: int, end: int) -> bool:
    room = view.data[max(0, start - _OWNER_WORD_ROOM) : start]
    return _OWNER_WORDS.search(room) is not None and not _joined_behind(view, start, end)


def _behind_its_length(data: bytes, start: int, length: int) -> bool:
    """As protobuf, pickle, MessagePack and CBOR write a text: its length stands before it in one byte."""
    if start == 0:
        return False
    before = data[start - 1]
    marks = {length, 0xA0 | length if length < 32 else length, 0x60 | length if length < 24 else length}
    return before in marks


def _joined_before(view: View, start: int, end: int) -> bool:
    if start == 0:
        return view.cut_left
    edge = _first(view.data[start:end])
    return not _wide(edge) and _last(view.data[max(0, start - 4) : start]).isalnum()


def _joined_behind(view: View, start: int, end: int) -> bool:
    if end == len(view.data):
        return view.cut_right
    edge = _last(view.data[start:end])
    return not _wide(edge) and _first(view.data[end : end + 4]).isalnum()


def _first(data: bytes) -> str:
    """The first character; "" if the bytes are no text."""
    return chr(data[0]) if data[0] < 0x80 else _character(data[: _length(data[0])])


def _last(data: bytes) -> str:
    """The last character; "" if the bytes are no text."""
    if data[-1] < 0x80:
        return chr(data[-1])
    lengths = range(2, min(4, len(data)) + 1)
    return next((_character(data[-n:]) for n in lengths if _length(data[-n]) == n), "")


def _character(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""


def _length(first: int) -> int:
    """Bytes of a character in UTF-8, by its first; 1 if none begins so."""
    return next((n for n, least in ((4, 0xF0), (3, 0xE0), (2, 0xC2)) if first >= least), 1)


def _wide(character: str) -> bool:
    """Of a script that writes words without spaces between them."""
    return bool(character) and east_asian_width(character) in "WF"
