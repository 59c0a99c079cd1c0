"""Vectors in a block: upsert, update and delete by id, through the official SDK's index object.

Deleting by filter or a whole namespace is not offered: which ids it would take is decided in the service when it
comes to it, so they cannot be entered before. Query them, and delete those ids.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pinecone.errors import ApiError

from tenant_lifecycle.client.session import Session

#: How the service lists the namespace that has no name.
DEFAULT_NAMESPACE = "__default__"
#: With less time than this nothing is begun, seconds.
_SHORTEST_S = 0.05


def vector_key(namespace: str, vector_id: str) -> bytes:
    """A vector's name in the journal."""
    return f"{namespace or DEFAULT_NAMESPACE}\0{vector_id}".encode()


def _split(key: bytes) -> tuple[str, str]:
    namespace, _, vector_id = key.decode().partition("\0")
    return "" if namespace == DEFAULT_NAMESPACE else namespace, vector_id


class VectorSide:
    """One index of one environment."""

    def __init__(self, name: str, index: Any) -> None:
        self.name = name
        self.index = index

    def answered(self, error: BaseException) -> bool:
        # A refusal. After a failure of the service or a gateway (5xx), nobody knows what happened.
        return isinstance(error, ApiError) and error.status_code < 500

    def mirror(self, target: VectorSide, keys: Sequence[bytes], timeout_s: float) -> int:
        until = time.monotonic() + timeout_s
        left_out = 0
        by_namespace: dict[str, list[str]] = {}
        for key in keys:
            namespace, vector_id = _split(key)
            by_namespace.setdefault(namespace, []).append(vector_id)
        for namespace, ids in by_namespace.items():
            timeout_s = until - time.monotonic()
            if timeout_s < _SHORTEST_S:
                left_out += len(ids)
                continue
            found = self.index.fetch(ids=ids, namespace=namespace, timeout=timeout_s).vectors
            if found:
                target.index.upsert(
                    vectors=list(found.values()), namespace=namespace, timeout=timeout_s, show_progress=False
                )
            gone = [one for one in ids if one not in found]
            if gone:
                target.index.delete(ids=gone, namespace=namespace, timeout=timeout_s)
        return left_out

    def close(self) -> None:
        """The index object is the application's."""


class Vectors:
    """An index inside a block."""

    def __init__(self, session: Session, side: VectorSide) -> None:
        self._session = session
        self._side = side

    def upsert(self, vectors: Sequence[Any], namespace: str = "", **options: Any) -> Any:
        """Write whole vectors, in any of the SDK's forms."""
        keys = [vector_key(namespace, _id(vector)) for vector in vectors]
        return self._session.write(
            self._side,
            keys,
            lambda: self._side.index.upsert(vectors=vectors, namespace=namespace, **options),
        )

    def update(self, id: str, namespace: str = "", **changes: Any) -> Any:
        """Change one vector: ``values``, ``sparse_values``, ``set_metadata``."""
        if "filter" in changes:
            raise TypeError("an update by filter cannot be entered in the journal; name the id")
        return self._session.write(
            self._side,
            [vector_key(namespace, id)],
            lambda: self._side.index.update(id=id, namespace=namespace, **changes),
        )

    def delete(self, ids: Sequence[str], namespace: str = "") -> Any:
        """Delete vectors by id."""
        return self._session.write(
            self._side,
            [vector_key(namespace, one) for one in ids],
            lambda: self._side.index.delete(ids=list(ids), namespace=namespace),
        )

    def fetch(self, ids: Sequence[str], namespace: str = "") -> Any:
        return self._side.index.fetch(ids=list(ids), namespace=namespace)

    def query(self, **options: Any) -> Any:
        return self._side.index.query(**options)


def _id(vector: Any) -> str:
    if isinstance(vector, Mapping):
        return str(vector["id"])
    return str(vector[0] if isinstance(vector, tuple | list) else vector.id)
