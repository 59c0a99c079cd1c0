"""Items taken apart into names and content that rules can speak of, and put together again.

A row is its columns. An item of another store has one cell, whose form stands in `model.backup`: of a Redis key
``value`` (text, or records by what they are), of an object ``content``, ``headers``, ``metadata`` and ``tags``, of a
vector ``vectors`` and ``metadata``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tenant_lifecycle.masking.pgtext import Literal
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import Held
from tenant_lifecycle.model.backup.redis_value import RECORDED, Header, Record, packed, unpacked
from tenant_lifecycle.model.backup.vector_value import Numbers, VectorValue, canonical, dense, multi


@dataclass(frozen=True, slots=True)
class Opened:
    """An item in parts."""

    #: ``key`` for Redis and objects, ``namespace`` and ``id`` for vectors.
    names: Mapping[str, str]
    #: What JSON has, and bytes.
    content: Mapping[str, Any]


class Form(Protocol):
    """How a store's items are taken apart. `opened` of `closed` is what was closed."""

    def opened(self, item: Item) -> Opened:
        """Raises `ValueError` for what is none of the store's items."""

    def closed(self, like: Item, opened: Opened) -> Item:
        """An item of these parts; everything else as in ``like``."""


class ObjectForm:
    """Objects: the key and everything that hangs on it. Bytes in parts are not read: they count as binary."""

    def opened(self, item: Item) -> Opened:
        held = Held.read(item.cells[0] or b"")
        header = ObjectHeader.read(held.header)
        content = {
            "content": held.content, "headers": dict(header.headers), "metadata": dict(header.metadata),
            "tags": dict(header.tags),
        }  # fmt: skip
        return Opened({"key": item.key.decode("utf-8", "surrogateescape")}, content)

    def closed(self, like: Item, opened: Opened) -> Item:
        before = ObjectHeader.read(Held.read(like.cells[0] or b"").header)
        parts = opened.content
        headers, metadata, tags = (_pairs(parts[name]) for name in ("headers", "metadata", "tags"))
        header = ObjectHeader(headers, metadata, tags, before.expires)
        held = Held(header.written(), parts["content"] or b"")
        key = opened.names["key"].encode("utf-8", "surrogateescape")
        return replace(like, key=key, cells=(held.cell(),))


def _pairs(told: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(value)) for name, value in (told or {}).items() if value is not None))


class RedisForm:
    """Keys: a string is ``value``; other types are ``elements``, ``fields`` and what a stream has."""

    def opened(self, item: Item) -> Opened:
        held = Held.read(item.cells[0] or b"")
        header = Header.read(held.header)
        names = {"key": item.key.decode("utf-8", "surrogateescape")}
        if held.content is None or header.dumped:
            return Opened(names, {"dump": b""})
        if header.kind == "string":
            return Opened(names, {"value": held.content})
        return Opened(names, _read_records(header.kind, list(unpacked([held.content]))))

    def closed(self, like: Item, opened: Opened) -> Item:
        held = Held.read(like.cells[0] or b"")
        header = Header.read(held.header)
        key = opened.names["key"].encode("utf-8", "surrogateescape")
        content = opened.content
        if header.kind in RECORDED and "dump" not in content:
            body = b"".join(map(packed, _written_records(header.kind, content)))
        elif header.kind == "string":
            body = content.get("value") or b""
        else:
            header, body = Header("string", header.expiry_ms), b""
        return replace(like, key=key, cells=(Held(header.written(), body).cell(),))


def _read_records(kind: str, records: list[Record]) -> dict[str, Any]:
    if kind == "hash":
        return {"fields": {_text(name): value for name, value in records}}
    if kind == "zset":
        scores = [struct.unpack(">d", score)[0] for score, _ in records]
        return {"scores": scores, "elements": [member for _, member in records]}
    if kind != "stream":
        return {"elements": [element for (element,) in records]}
    entries = [
        {"id": record[1], "fields": _paired(record[2:])} for record in records if record[0] == b"entry"
    ]
    return {"entries": entries, "groups": [list(record) for record in records if record[0] != b"entry"]}


def _written_records(kind: str, content: Mapping[str, Any]) -> list[Record]:
    if kind == "hash":
        return sorted((_bytes(name), value or b"") for name, value in content["fields"].items())
    if kind == "zset":
        scores = dict(zip(_present(content["elements"]), content["scores"], strict=True))
        ranked = sorted((score, member) for member, score in scores.items())
        return [(struct.pack(">d", score), member) for score, member in ranked]
    if kind != "stream":
        elements: list[Record] = [(element,) for element in _present(content["elements"])]
        return sorted(set(elements)) if kind == "set" else elements
    entries = [(b"entry", one["id"], *_flat(one["fields"])) for one in content["entries"]]
    others = [tuple(record) for record in content["groups"]]
    return [*others[:1], *entries, *others[1:]]


def _present(elements: list[bytes | None]) -> list[bytes]:
    return [element or b"" for element in elements]


def _paired(words: Record) -> dict[str, bytes]:
    return {_text(words[at]): words[at + 1] for at in range(0, len(words), 2)}


def _flat(fields: Mapping[str, bytes | None]) -> list[bytes]:
    return [word for name, value in fields.items() for word in (_bytes(name), value or b"")]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class VectorForm:
    """Vectors and points; a key is a namespace or collection, NUL, and the id.

    Sparse vectors are left out of what is closed: their indices are words.
    """

    def opened(self, item: Item) -> Opened:
        value = VectorValue.read(item.cells[0] or b"")
        namespace, _, id_ = item.key.decode().partition("\0")
        vectors = {name: one.floats() for name, one in value.vectors.items()}
        return Opened({"namespace": namespace, "id": id_}, {"vectors": vectors, "metadata": value.told()})

    def closed(self, like: Item, opened: Opened) -> Item:
        before = VectorValue.read(like.cells[0] or b"").vectors
        vectors = {
            name: _numbers(values, before[name])
            for name, values in (opened.content["vectors"] or {}).items()
            if values is not None and before[name].indices is None
        }
        metadata = canonical(_plain(opened.content["metadata"] or {}))
        key = f"{opened.names['namespace']}\0{opened.names['id']}".encode()
        return replace(like, key=key, cells=(VectorValue(vectors, metadata).cell(),))


def _numbers(values: list[float], like: Numbers) -> Numbers:
    if like.rows is None:
        return dense(values)
    width = len(values) // like.rows
    return multi([values[row * width : (row + 1) * width] for row in range(like.rows)])


def _plain(value: Any) -> Any:
    """Without `Literal`, which only our own writer of JSON knows."""
    if isinstance(value, Literal):
        return json.loads(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    return [_plain(one) for one in value] if isinstance(value, list) else value
