"""A vector or point in one form: 32-bit floats bit by bit, sparse values by index, metadata as canonical JSON.

The cell: 4 bytes of length, a head in JSON (name, kind and size of each vector, in order of names), then the numbers
of each (little-endian; indices 64 bits wide before weights), then the metadata as JSON with sorted keys.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_FLOAT, _INDEX = "f", "Q"


@dataclass(frozen=True, slots=True)
class Numbers:
    """One vector: dense; sparse, if it has indices; of several rows, if it says how many."""

    #: 32-bit floats, little-endian.
    values: bytes
    #: 64-bit integers, little-endian, ascending; None: dense.
    indices: bytes | None = None
    #: Of a multi-vector; None: it is one vector.
    rows: int | None = None

    def floats(self) -> list[float]:
        return list(_read(_FLOAT, self.values))

    def positions(self) -> list[int]:
        return [int(one) for one in _read(_INDEX, self.indices or b"")]


def dense(values: list[float]) -> Numbers:
    return Numbers(_bytes(_FLOAT, values))


def sparse(indices: list[int], weights: list[float]) -> Numbers:
    """Sorted by index."""
    pairs = sorted(zip(indices, weights, strict=True))
    return Numbers(_bytes(_FLOAT, [weight for _, weight in pairs]), _bytes(_INDEX, [at for at, _ in pairs]))


def multi(rows: list[list[float]]) -> Numbers:
    return Numbers(_bytes(_FLOAT, [one for row in rows for one in row]), rows=len(rows))


@dataclass(frozen=True, slots=True)
class VectorValue:
    """Everything that an item of a vector store holds."""

    #: By name; the one without a name is ``""``, Pinecone's sparse values are ``sparse``.
    vectors: Mapping[str, Numbers] = field(default_factory=dict)
    #: JSON with sorted keys, UTF-8; empty: none.
    metadata: bytes = b""

    def told(self) -> dict[str, Any]:
        """The metadata."""
        return dict(json.loads(self.metadata)) if self.metadata else {}

    def cell(self) -> bytes:
        names = sorted(self.vectors)
        head = json.dumps([_described(name, self.vectors[name]) for name in names]).encode()
        numbers = b"".join((self.vectors[name].indices or b"") + self.vectors[name].values for name in names)
        return len(head).to_bytes(4, "big") + head + numbers + self.metadata

    @classmethod
    def read(cls, cell: bytes) -> VectorValue:
        """The inverse of `cell`.

        Raises:
            ValueError: it is no such cell.
        """
        try:
            at = 4 + int.from_bytes(cell[:4], "big")
            vectors: dict[str, Numbers] = {}
            for name, kind, count, rows in json.loads(cell[4:at]):
                width = 8 * count if kind == "sparse" else 0
                values = cell[at + width : at + width + 4 * count]
                vectors[name] = Numbers(values, cell[at : at + width] if kind == "sparse" else None, rows)
                at += width + 4 * count
        except (TypeError, KeyError) as exc:
            raise ValueError("no cell of a vector") from exc
        if at > len(cell):
            raise ValueError("a cell of a vector that ends too early")
        return cls(vectors, cell[at:])


def canonical(metadata: Mapping[str, Any], *, floats: bool = False) -> bytes:
    """Metadata as bytes; ``floats``: every number is a 64-bit float, as in a service that knows no others."""
    told = {name: _floated(value) if floats else value for name, value in metadata.items()}
    if not told:
        return b""
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _floated(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _described(name: str, one: Numbers) -> list[Any]:
    return [name, "dense" if one.indices is None else "sparse", len(one.values) // 4, one.rows]


def _bytes(kind: str, values: list[Any]) -> bytes:
    numbers = array(kind, values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _read(kind: str, data: bytes) -> Iterator[Any]:
    numbers = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return iter(numbers)
