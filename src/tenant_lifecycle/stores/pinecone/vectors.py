"""When two vectors are the same: 32-bit floats bit by bit, metadata by meaning, sparse values by index."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pinecone.models.vectors.vector import Vector

#: The service takes 1,000 vectors and 2 MB at once; our estimate of a size is never too small.
MOST_UPSERTED, MOST_UPSERT_BYTES = 1_000, 1_900_000
#: The longest text of a 64-bit float, and its comma.
_FLOAT_TEXT = 25


@dataclass(frozen=True, slots=True)
class Content:
    """What a vector holds, in a form that is equal exactly where the vectors are."""

    #: 32-bit floats, as the service keeps them.
    values: bytes
    #: Indices as 64-bit integers, then weights as 32-bit floats, by index; empty: none.
    sparse: bytes
    #: JSON with sorted keys and every number as a 64-bit float; empty: none.
    metadata: bytes

    @property
    def bytes(self) -> int:
        return len(self.values) + len(self.sparse) + len(self.metadata)

    def differing(self, other: Content) -> tuple[str, ...]:
        """Names of the fields that are not the same."""
        return tuple(
            name for name in ("values", "metadata", "sparse") if getattr(self, name) != getattr(other, name)
        )


def content(vector: Vector | None) -> Content | None:
    """Its content; None: there is no vector."""
    if vector is None:
        return None
    sparse = b""
    if vector.sparse_values is not None and vector.sparse_values.indices:
        pairs = sorted(zip(vector.sparse_values.indices, vector.sparse_values.values, strict=True))
        sparse = array("Q", [index for index, _ in pairs]).tobytes()
        sparse += array("f", [weight for _, weight in pairs]).tobytes()
    return Content(array("f", vector.values or ()).tobytes(), sparse, _canonical(vector.metadata or {}))


def _canonical(metadata: Mapping[str, Any]) -> bytes:
    plain = {name: _number(value) for name, value in metadata.items() if value is not None}
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() if plain else b""


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def written(vector: Vector) -> dict[str, Any]:
    """The form in which it is upserted."""
    body: dict[str, Any] = {"id": vector.id, "values": vector.values}
    if vector.sparse_values is not None and vector.sparse_values.indices:
        body["sparse_values"] = {
            "indices": vector.sparse_values.indices,
            "values": vector.sparse_values.values,
        }
    if vector.metadata is not None:
        body["metadata"] = vector.metadata
    return body


def upserts(vectors: Iterable[Vector]) -> Iterator[list[dict[str, Any]]]:
    """The vectors in bodies that one upsert takes."""
    batch: list[dict[str, Any]] = []
    room = MOST_UPSERT_BYTES
    for vector in vectors:
        size = _size(vector)
        if batch and (len(batch) == MOST_UPSERTED or size > room):
            yield batch
            batch, room = [], MOST_UPSERT_BYTES
        batch.append(written(vector))
        room -= size
    if batch:
        yield batch


def _size(vector: Vector) -> int:
    sparse = len(vector.sparse_values.indices) if vector.sparse_values is not None else 0
    metadata = len(json.dumps(vector.metadata, ensure_ascii=True)) if vector.metadata else 0
    return 100 + 6 * len(vector.id) + _FLOAT_TEXT * (len(vector.values) + 2 * sparse) + metadata


def stored_bytes(body: Mapping[str, Any]) -> int:
    """What a written vector takes where it is stored, about."""
    sparse = body.get("sparse_values") or {"indices": ()}
    return 4 * len(body["values"]) + 12 * len(sparse["indices"]) + len(_canonical(body.get("metadata") or {}))
