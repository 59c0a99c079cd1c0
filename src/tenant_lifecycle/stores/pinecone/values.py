"""A vector in the one form of a backup (`model.backup.vector_value`), and back."""

from __future__ import annotations

from pinecone.models.vectors.sparse import SparseValues
from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.model.backup import vector_value
from tenant_lifecycle.model.backup.vector_value import VectorValue

#: The name that its sparse values have.
SPARSE = "sparse"


def value_of(vector: Vector) -> VectorValue:
    """Values as 32-bit floats; every number of the metadata is a 64-bit float, as the service keeps it."""
    vectors = {}
    if vector.values:
        vectors[""] = vector_value.dense(list(vector.values))
    if vector.sparse_values is not None and vector.sparse_values.indices:
        vectors[SPARSE] = vector_value.sparse(
            list(vector.sparse_values.indices), list(vector.sparse_values.values)
        )
    told = {name: one for name, one in (vector.metadata or {}).items() if one is not None}
    return VectorValue(vectors, vector_value.canonical(told, floats=True))


def vector_of(id_: str, value: VectorValue) -> Vector:
    """As it is upserted."""
    dense, sparse = value.vectors.get(""), value.vectors.get(SPARSE)
    return Vector(
        id=id_,
        values=dense.floats() if dense is not None else [],
        sparse_values=SparseValues(indices=sparse.positions(), values=sparse.floats()) if sparse else None,
        metadata=value.told() or None,
    )
