"""Ways in which systems write a text, for tests of what recognises it."""

from __future__ import annotations

import base64
import bz2
import gzip
import html
import json
import lzma
import pickle
import urllib.parse
import uuid
import zlib
from collections.abc import Callable

import cramjam

Writing = Callable[[bytes], bytes]


def _percent(data: bytes) -> bytes:
    return "".join(f"%{one:02X}" for one in data).encode()


def _every_entity(data: bytes) -> bytes:
    return "".join(f"&#{ord(one)};" for one in data.decode()).encode()


def _every_unicode_escape(data: bytes) -> bytes:
    units = data.decode().encode("utf-16-be").hex()
    return "".join(f"\\u{units[n : n + 4]}" for n in range(0, len(units), 4)).encode()


#: Of bytes that are UTF-8.
TEXTUAL: dict[str, Writing] = {
    "plain": bytes,
    "utf-16-le": lambda data: data.decode().encode("utf-16-le"),
    "utf-16-be": lambda data: data.decode().encode("utf-16-be"),
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "bytea": lambda data: b"\\x" + data.hex().encode(),
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 in lines": base64.encodebytes,
    "url": lambda data: urllib.parse.quote(data, safe="").encode(),
    "url, every byte": _percent,
    "form": lambda data: urllib.parse.quote_plus(data).encode(),
    "json": lambda data: json.dumps(data.decode()).encode(),
    "json, every character": _every_unicode_escape,
    "repr": lambda data: repr(data).encode(),
    "html": lambda data: html.escape(data.decode()).encode(),
    "html, every character": _every_entity,
    "pickle": lambda data: pickle.dumps({"tenant": data.decode()}),
}
#: Of any bytes.
BINARY: dict[str, Writing] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "lz4": lambda data: bytes(cramjam.lz4.compress(data)),
    "snappy": lambda data: bytes(cramjam.snappy.compress(data)),
    "base64": base64.b64encode,
    "bytea": lambda data: b"\\x" + data.hex().encode(),
}
#: Of a UUID.
OF_UUID: dict[str, Callable[[uuid.UUID], bytes]] = {
    "hyphens": lambda one: str(one).encode(),
    "upper case": lambda one: str(one).upper().encode(),
    "no hyphens": lambda one: one.hex.encode(),
    "no hyphens, upper case": lambda one: one.hex.upper().encode(),
    "urn": lambda one: one.urn.encode(),
    "braces": lambda one: f"{{{one}}}".encode(),
    "16 bytes": lambda one: one.bytes,
    "16 bytes, little-endian": lambda one: one.bytes_le,
}
