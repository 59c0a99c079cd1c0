"""What a written vector becomes when it is stored, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from tenant_lifecycle.sandbox.pinecone.answers import BadRequest
from tenant_lifecycle.sandbox.pinecone.indexes import Index
from tenant_lifecycle.sandbox.pinecone.records import Floats, Record

_MOST_METADATA_BYTES = 40 * 1024
_MOST_SPARSE = 2048


def record(index: Index, body: dict[str, Any]) -> Record:
    """One vector of an upsert.

    Raises:
        BadRequest: the service would not take it.
    """
    sparse = body.get("sparseValues")
    values = dense(index, body.get("values") or [], optional=sparse is not None)
    indices, weights = sparse_values(index, sparse) if sparse is not None else (None, None)
    return Record(vector_id(body.get("id")), values, indices, weights, metadata(body.get("metadata")))


def vector_id(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 512 or not value.isascii() or "\0" in value:
        raise BadRequest("a vector's id has 1 to 512 ASCII characters other than NUL")
    return value


def dense(index: Index, values: list[float], *, optional: bool) -> Floats:
    """Values as 32-bit floats."""
    if not values and optional:
        return np.zeros(0, dtype=np.float32)
    if len(values) != index.dimension:
        raise BadRequest(
            f"vector dimension {len(values)} does not match the dimension of the index {index.dimension}"
        )
    stored = _floats(values)
    if not stored.any():
        raise BadRequest("dense vectors must contain at least one non-zero value")
    return stored


def sparse_values(index: Index, sparse: dict[str, Any]) -> tuple[list[int], Floats]:
    """Indices and weights, by index."""
    if not index.sparse:
        raise BadRequest("the index has no sparse_vector field, so it takes no sparse values")
    indices, weights = list(sparse.get("indices") or []), list(sparse.get("values") or [])
    if len(indices) != len(weights) or len(set(indices)) != len(indices) or len(indices) > _MOST_SPARSE:
        raise BadRequest("sparse values need as many different indices as values, at most 2048")
    order = sorted(range(len(indices)), key=indices.__getitem__)
    return [int(indices[at]) for at in order], _floats([weights[at] for at in order])


def metadata(value: Any) -> dict[str, Any] | None:
    """Metadata as it is given back: numbers are 64-bit floats, nulls are dropped."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRequest("metadata is an object")
    stored = {name: _metadatum(name, one) for name, one in value.items() if one is not None}
    if len(orjson.dumps(stored)) > _MOST_METADATA_BYTES:
        raise BadRequest("metadata size exceeds the limit of 40960 bytes per vector")
    return stored


def _metadatum(name: str, value: Any) -> Any:
    if name.startswith("$"):
        raise BadRequest("a metadata key may not begin with $")
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise BadRequest("a metadata value must be a string, a number, a boolean or a list of strings")


def _floats(values: list[float]) -> Floats:
    with np.errstate(over="ignore"):
        stored = np.array(values, dtype=np.float64).astype(np.float32)
    if not np.isfinite(stored).all():
        raise BadRequest("values must be finite 32-bit floats")
    return stored
