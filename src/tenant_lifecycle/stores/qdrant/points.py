"""When two points are the same: 32-bit floats bit by bit, sparse values by index, payloads as canonical JSON.

Collections with the cosine distance store vectors made as long as 1, and make them so again when they are copied,
which may change the last bits; there, values count as equal within `COSINE_TOLERANCE`.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

#: A few units in the last place of a 32-bit float near 1.
COSINE_TOLERANCE = 5e-7


@dataclass(frozen=True, slots=True)
class Content:
    """What a point holds."""

    #: By name (empty: the one without a name): indices, if sparse, and values as 32-bit floats.
    vectors: Mapping[str, tuple[tuple[int, ...], array[float]]]
    payload: bytes

    def differing(self, other: Content, cosine: frozenset[str]) -> tuple[str, ...]:
        """Names of the fields that are not the same; ``cosine`` are the vectors with that distance."""
        fields = []
        for name in sorted(self.vectors.keys() | other.vectors.keys()):
            mine, theirs = self.vectors.get(name), other.vectors.get(name)
            if mine != theirs and not (name in cosine and _close(mine, theirs)):
                fields.append(f"vector {name}".strip())
        return (*fields, *(("payload",) if self.payload != other.payload else ()))

    @property
    def bytes(self) -> int:
        return len(self.payload) + sum(4 * len(values) for _, values in self.vectors.values())


def content(record: models.Record) -> Content:
    """The content of a point that was read with vectors and payload."""
    named = record.vector if isinstance(record.vector, dict) else {"": record.vector}
    payload = dict((record.payload or {}).items())
    return Content(
        {name: _vector(value) for name, value in named.items() if value is not None},
        json.dumps(payload, sort_keys=True, separators=(",", ":")).encode(),
    )


def _vector(value: Any) -> tuple[tuple[int, ...], array[float]]:
    if isinstance(value, models.SparseVector):
        pairs = sorted(zip(value.indices, value.values, strict=True))
        return tuple(index for index, _ in pairs), array("f", [weight for _, weight in pairs])
    if value and isinstance(value[0], list):
        return (len(value),), array("f", [one for row in value for one in row])
    return (), array("f", value)


def _close(
    mine: tuple[tuple[int, ...], array[float]] | None, theirs: tuple[tuple[int, ...], array[float]] | None
) -> bool:
    if mine is None or theirs is None or mine[0] != theirs[0] or len(mine[1]) != len(theirs[1]):
        return False
    return all(abs(a - b) <= COSINE_TOLERANCE for a, b in zip(mine[1], theirs[1], strict=True))
