"""Free text, and what is made from it: file names, texts in another writing, vectors, binaries made anew."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from urllib.parse import quote, unquote

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.embedding import vector_digest
from tenant_lifecycle.masking.setting import Row, Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

#: Of vectors, if neither the rule nor the value says how many numbers there are.
DIMENSIONS = 32


def _text(rule: Rule, setting: Setting) -> Transform:
    """``encoding``: ``url`` or ``base64`` if the text stands there in that writing."""
    writing = rule.text("encoding")
    if writing == "url":
        return lambda value, _row: quote(setting.text(unquote(value)))
    if writing == "base64":
        return lambda value, _row: _in_base64(value, setting)
    return lambda value, _row: setting.text(value)


def _in_base64(value: str, setting: Setting) -> str | None:
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return None
    return base64.b64encode(setting.text(text).encode()).decode()


def _file_name(_rule: Rule, setting: Setting) -> Transform:
    """Folders and the name as text; its ending stays, and does not become one of an address's host."""

    def one(value: str) -> str:
        match = re.fullmatch(r"(.*?)(\.[A-Za-z0-9]{1,5})?", value, re.DOTALL)
        assert match is not None
        return setting.text(match[1]).replace("@", "_at_") + (match[2] or "")

    return lambda value, _row: one(value)


def _embedding(rule: Rule, setting: Setting) -> Transform:
    """``of``: the column or path whose masked text it is made of. ``place``: what says which text it was, for other
    stores: they have the same ``place`` and no ``of``, and nothing if no text was seen there.
    """
    source, place = rule.text("of"), rule.text("place").split()

    def one(value: str, row: Row) -> str | None:
        names = [row.raw(name) for name in place]
        vector = None if source else setting.shelf.get(names)
        if source:
            text = row.masked(source) or ""
            vector = setting.embedder(text, vector_size(value))
            if text == row.raw(source):
                setting.unchanged.add(vector_digest(vector))
            if place:
                setting.shelf.put(names, vector)
        if vector is None:
            return None
        numbers = ",".join(map(single, vector))
        return f"{{{numbers}}}" if value.startswith("{") else f"[{numbers}]"

    return one


def single(number: float) -> str:
    """The shortest text that reads as the same 32-bit float: what pgvector writes."""
    content = struct.pack("<f", number)
    (exact,) = struct.unpack("<f", content)
    for digits in range(6, 9):
        text = f"{exact:.{digits}g}"
        if struct.pack("<f", float(text)) == content:
            return text
    return f"{exact:.9g}"


def vector_size(value: str) -> int:
    """How many numbers a vector as text has; of pgvector's sparse form, what stands behind the slash."""
    if "/" in value:
        return int(value.rpartition("/")[2])
    return value.count(",") + 1 if value.strip("[]{} ") else DIMENSIONS


def _render(rule: Rule, _setting: Setting) -> Transform:
    """``of``: the column whose masked text takes the place of a binary, as PostgreSQL writes bytes."""
    source = rule.text("of")
    return lambda _value, row: "\\x" + (row.masked(source) or "").encode().hex()


def _drop(_rule: Rule, _setting: Setting) -> Transform:
    """No bytes; where nothing may stand, nothing."""
    return lambda value, _row: "\\x" if value.startswith("\\x") else None


def _sha256(rule: Rule, _setting: Setting) -> Transform:
    """``of``: the column or field whose masked content it is the digest of, hexadecimal; the old one tells the old content."""
    source = rule.text("of")
    return lambda _value, row: hashlib.sha256((row.masked(source) or "").encode()).hexdigest()


_PROSE = classes(DataClass.FREE_TEXT, DataClass.DIRECT)
KINDS = (
    Kind("text", Guarantee.NOT_GUARANTEED, _PROSE, _text, frozenset({"encoding"})),
    Kind("file_name", Guarantee.NOT_GUARANTEED, _PROSE, _file_name),
    Kind(
        "embedding",
        Guarantee.NOT_GUARANTEED,
        classes(DataClass.EMBEDDING),
        _embedding,
        frozenset({"of", "place"}),
    ),
    Kind("render", Guarantee.LOSSY, classes(DataClass.BINARY), _render, frozenset({"of"})),
    Kind("sha256", Guarantee.NOT_GUARANTEED, classes(DataClass.STRUCTURAL), _sha256, frozenset({"of"})),
    Kind("drop", Guarantee.LOSSY, classes(DataClass.BINARY, DataClass.EMBEDDING), _drop),
)
