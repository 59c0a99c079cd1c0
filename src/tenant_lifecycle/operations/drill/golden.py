"""Golden queries: what a restored vector store answers to vectors of its own, against reckoning it by hand.

The truth is computed from the moment's items (cosine, all of them compared), so a store that lost, doubled or
reordered vectors, or an index that answers too roughly, shows as recall below one.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence

from tenant_lifecycle.backups.contract import Moment
from tenant_lifecycle.model.backup.drill import Recall
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.vector_value import VectorValue
from tenant_lifecycle.stores.backing import Answers, Preview
from tenant_lifecycle.stores.base import Check

#: Queries of one drill, and how many ids each asks for.
QUERIES = 10
NEAREST = 10
#: Vectors that are compared with each other at most; of larger tenants a sample would not be the truth.
MOST = 20_000


def recall_of(preview: Preview, moment: Moment, store: str, seed: str, check: Check) -> Recall | None:
    """Ask the preview; None: it answers no queries, or there is nothing to ask about."""
    if not isinstance(preview, Answers):
        return None
    draw, queries, own, found, wanted = random.Random(seed), 0, 0, 0, 0
    for set_name in moment.shapes(store):
        vectors = list(_vectors(moment.items(store, set_name)))
        if not 0 < len(vectors) <= MOST:
            continue
        for key, query in draw.sample(vectors, min(QUERIES, len(vectors))):
            check()
            truth = nearest(query, _beside(key, vectors), NEAREST)
            answer = preview.nearest(set_name, key, query, NEAREST)
            queries += 1
            own += bool(answer) and answer[0] == key
            wanted += len(truth)
            found += sum(one in truth for one in answer)
    return Recall(queries, round(found / wanted, 4), own) if queries else None


def nearest(query: Sequence[float], vectors: Sequence[tuple[bytes, Sequence[float]]], n: int) -> set[bytes]:
    """Keys of the nearest by cosine; those that are as near as the last one too."""
    scored = [(_cosine(query, vector), key) for key, vector in vectors]
    best = heapq.nlargest(n, scored)
    worst = best[-1][0] - 1e-6
    return {key for score, key in scored if score >= worst}


def _beside(
    key: bytes, vectors: Sequence[tuple[bytes, Sequence[float]]]
) -> list[tuple[bytes, Sequence[float]]]:
    """Of the same namespace: a key is a namespace or collection, NUL, and the id."""
    namespace = key.partition(b"\0")[0]
    return [one for one in vectors if one[0].partition(b"\0")[0] == namespace]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    length = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / length if length else 0.0


def _vectors(items: Iterator[Item]) -> Iterator[tuple[bytes, list[float]]]:
    for item in items:
        for numbers in VectorValue.read(item.cells[0] or b"").vectors.values():
            if numbers.rows is None and numbers.indices is None:
                yield item.key, list(numbers.floats())
                break
