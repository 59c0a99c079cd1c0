"""Exact scores by metric: what the service approximates, computed over everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tenant_lifecycle.sandbox.pinecone.records import Floats, Record


def nearest(
    records: Iterable[Record], metric: str, vector: Floats | None, sparse: dict[str, Any] | None, top_k: int
) -> list[tuple[Record, float]]:
    """The best records and their scores, best first; ties by id."""
    candidates = list(records)
    scores = np.zeros(len(candidates))
    if vector is not None:
        candidates = [record for record in candidates if len(record.values) == len(vector)]
        scores = _dense(candidates, metric, vector) if candidates else np.zeros(0)
    if sparse is not None:
        wanted = dict(zip(sparse["indices"], sparse["values"], strict=True))
        scores = scores + np.array([_sparse(record, wanted) for record in candidates])
    sign = 1 if metric == "euclidean" and sparse is None else -1
    order = sorted(range(len(candidates)), key=lambda at: (sign * scores[at], candidates[at].id))
    return [(candidates[at], float(scores[at])) for at in order[:top_k]]


def _dense(records: list[Record], metric: str, vector: Floats) -> Any:
    matrix = np.stack([record.values for record in records]).astype(np.float64)
    if metric == "euclidean":
        return ((matrix - vector) ** 2).sum(axis=1)
    dots = matrix @ vector.astype(np.float64)
    if metric == "dotproduct":
        return dots
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
    return np.divide(dots, lengths, out=np.zeros(len(records)), where=lengths > 0)


def _sparse(record: Record, wanted: dict[int, float]) -> float:
    if record.indices is None or record.weights is None:
        return 0.0
    return sum(
        float(weight) * wanted.get(index, 0.0)
        for index, weight in zip(record.indices, record.weights, strict=True)
    )
