"""Vectors in a block: upsert, update and delete by id, through the official SDK's index object.

Deleting by filter or a whole namespace is not offered: which ids it would take is decided in the service when it
comes to it, so they cannot be entered before. Query them, and delete those ids.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pinecone.errors import ApiError

from tenant_lifecycle.client.session import UNREAD, Session

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

    def mirror(self, target: VectorSide, keys: Mapping[bytes, object], timeout_s: float) -> int:
        """Answers of the service may be older than what it accepted, so what the block knows goes before."""
        until = time.monotonic() + timeout_s
        left_out = 0
        by_namespace: dict[str, dict[str, object]] = {}
        for key, state in keys.items():
            namespace, vector_id = _split(key)
            by_namespace.setdefault(namespace, {})[vector_id] = state
        for namespace, states in by_namespace.items():
            left_s = until - time.monotonic()
            if left_s < _SHORTEST_S:
                left_out += len(states)
                continue
            unread = [one for one, state in states.items() if state is UNREAD]
            if unread:
                found = self.index.fetch(ids=unread, namespace=namespace, timeout=left_s).vectors
                # Not there, or not there yet: nobody knows.
                left_out += len(unread) - len(found)
                states = {one: found.get(one, UNREAD) if one in unread else states[one] for one in states}
            _put(target.index, namespace, states, left_s)
        return left_out

    def close(self) -> None:
        """The index object is the application's."""


def _put(index: Any, namespace: str, states: Mapping[str, object], timeout_s: float) -> None:
    there = [state for state in states.values() if state is not None and state is not UNREAD]
    if there:
        index.upsert(vectors=there, namespace=namespace, timeout=timeout_s, show_progress=False)
    gone = [one for one, state in states.items() if state is None]
    if gone:
        index.delete(ids=gone, namespace=namespace, timeout=timeout_s)


class Vectors:
    """An index inside a block."""

    def __init__(self, session: Session, side: VectorSide) -> None:
        self._session = session
        self._side = side

    def upsert(self, vectors: Sequence[Any], namespace: str = "", **options: Any) -> Any:
        """Write whole vectors, in any of the SDK's forms."""
        states = {vector_key(namespace, _id(vector)): vector for vector in vectors}
        return self._session.write(
            self._side,
            list(states),
            lambda: self._side.index.upsert(vectors=vectors, namespace=namespace, **options),
            states,
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
        keys = [vector_key(namespace, one) for one in ids]
        return self._session.write(
            self._side,
            keys,
            lambda: self._side.index.delete(ids=list(ids), namespace=namespace),
            dict.fromkeys(keys),
        )

    def fetch(self, ids: Sequence[str], namespace: str = "") -> Any:
        return self._side.index.fetch(ids=list(ids), namespace=namespace)

    def query(self, **options: Any) -> Any:
        return self._side.index.query(**options)


def _id(vector: Any) -> str:
    if isinstance(vector, Mapping):
        return str(vector["id"])
    return str(vector[0] if isinstance(vector, tuple | list) else vector.id)
