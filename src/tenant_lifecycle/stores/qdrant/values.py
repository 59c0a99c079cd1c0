"""A point in the one form of a backup (`model.backup.vector_value`), and back."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from tenant_lifecycle.model.backup import vector_value
from tenant_lifecycle.model.backup.vector_value import Numbers, VectorValue
from tenant_lifecycle.stores.qdrant.keys import PointId


def value_of(record: models.Record) -> VectorValue:
    """Of a point that was read with vectors and payload."""
    named = record.vector if isinstance(record.vector, dict) else {"": record.vector}
    vectors = {str(name): _numbers(one) for name, one in named.items() if one is not None}
    return VectorValue(vectors, vector_value.canonical(dict(record.payload or {})))


def record_of(id_: PointId, value: VectorValue) -> models.Record:
    """As it is upserted."""
    named: Any = {name: _vector(one) for name, one in value.vectors.items()}
    return models.Record(id=id_, vector=named[""] if set(named) == {""} else named, payload=value.told())


def _numbers(one: Any) -> Numbers:
    if isinstance(one, models.SparseVector):
        return vector_value.sparse(list(one.indices), list(one.values))
    if one and isinstance(one[0], list):
        return vector_value.multi(one)
    return vector_value.dense(list(one))


def _vector(one: Numbers) -> Any:
    if one.indices is not None:
        return models.SparseVector(indices=one.positions(), values=one.floats())
    floats = one.floats()
    if not one.rows:
        return floats
    width = len(floats) // one.rows
    return [floats[at : at + width] for at in range(0, len(floats), width)]
