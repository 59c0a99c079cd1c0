"""One Qdrant through its client: the calls this store makes, its errors in our words.

Writes are waited for, and reads see what was written before. The client's local mode, which is not made for
several threads, is used by one at a time.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from tenant_lifecycle.errors import StoreBusy, StoreError, StoreRejected, StoreUnavailable
from tenant_lifecycle.stores.qdrant.keys import PointId

T = TypeVar("T")
PAGE = 128
_BUSY_S = 10.0


class Client:
    """The server, or the folder, of one environment."""

    def __init__(self, store: str, opened: QdrantClient, *, local: bool) -> None:
        self.store = store
        self._qdrant = opened
        #: The client's own local mode, not a server.
        self.local = local
        self._turn: AbstractContextManager[object] = threading.RLock() if local else nullcontext()

    def close(self) -> None:
        """Give back connections; safe to repeat."""
        self._qdrant.close()

    def collections(self) -> list[str]:
        return sorted(one.name for one in self._ask(self._qdrant.get_collections).collections)

    def describe(self, collection: str) -> models.CollectionInfo | None:
        """A collection; None: it is not there."""
        if not self._ask(lambda: self._qdrant.collection_exists(collection)):
            return None
        return self._ask(lambda: self._qdrant.get_collection(collection))

    def snapshots(self) -> int:
        """How many snapshots there are, of collections and of the whole; the local mode has none."""
        if self.local:
            return 0
        whole = len(self._ask(self._qdrant.list_full_snapshots))
        return whole + sum(
            len(self._ask(lambda name=name: self._qdrant.list_snapshots(name)))  # type: ignore[misc]
            for name in self.collections()
        )

    def create(self, collection: str, like: models.CollectionInfo) -> None:
        """A collection with another one's vectors and payload indexes."""
        params, config = like.config.params, like.config
        self._ask(
            lambda: self._qdrant.create_collection(
                collection, vectors_config=params.vectors or {}, sparse_vectors_config=params.sparse_vectors,
                on_disk_payload=params.on_disk_payload, quantization_config=config.quantization_config,
                hnsw_config=models.HnswConfigDiff(**config.hnsw_config.model_dump(exclude_none=True)),
            )
        )  # fmt: skip
        for field, info in like.payload_schema.items():
            schema = info.params if info.params is not None else info.data_type
            self._ask(
                lambda field=field, schema=schema: self._qdrant.create_payload_index(  # type: ignore[misc]
                    collection, field, schema, wait=True
                )
            )

    def create_plain(self, collection: str) -> None:
        """A collection for records of ours."""
        params = models.VectorParams(size=1, distance=models.Distance.DOT)
        self._ask(lambda: self._qdrant.create_collection(collection, vectors_config=params))

    def create_exact(self, collection: str, like: models.CollectionInfo) -> None:
        """A collection with another one's vectors, which keeps them as they are: it makes none as long as 1."""
        params = like.config.params
        vectors = params.vectors or {}
        exact = (
            {name: _exact(one) for name, one in vectors.items()}
            if isinstance(vectors, dict)
            else _exact(vectors)
        )
        self._ask(
            lambda: self._qdrant.create_collection(
                collection,
                vectors_config=exact,
                sparse_vectors_config=params.sparse_vectors,
                on_disk_payload=True,
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        )

    def drop(self, collection: str) -> None:
        self._ask(lambda: self._qdrant.delete_collection(collection))

    def count(self, collection: str, condition: models.Filter | None) -> int:
        return self._ask(lambda: self._qdrant.count(collection, condition, exact=True)).count

    def pages(
        self, collection: str, condition: models.Filter | None, *, whole: bool
    ) -> Iterator[list[models.Record]]:
        """All points, a page at a time; ``whole``: with vectors and payload."""
        offset: models.ExtendedPointId | None = None
        while True:
            records, offset = self._ask(
                lambda offset=offset: self._qdrant.scroll(  # type: ignore[misc]
                    collection, condition, PAGE, offset=offset, with_payload=whole, with_vectors=whole
                )
            )
            if records:
                yield records
            if offset is None:
                return

    def retrieve(self, collection: str, ids: Sequence[PointId]) -> dict[PointId, models.Record]:
        found = self._ask(
            lambda: self._qdrant.retrieve(collection, list(ids), with_payload=True, with_vectors=True)
        )
        return {point_id(record): record for record in found}

    def nearest(self, collection: str, name: str, vector: Sequence[float], n: int) -> list[PointId]:
        """Ids of the points with the nearest vectors of that name, the nearest first."""
        found = self._ask(
            lambda: self._qdrant.query_points(
                collection, query=list(vector), using=name or None, limit=n, with_payload=False
            )
        )
        return [one.id if isinstance(one.id, int) else str(one.id) for one in found.points]

    def upsert(self, collection: str, records: Sequence[models.Record]) -> None:
        points = [
            models.PointStruct(id=record.id, vector=record.vector or {}, payload=record.payload)  # type: ignore[arg-type]
            for record in records
        ]
        self._ask(lambda: self._qdrant.upsert(collection, points, wait=True))

    def delete(self, collection: str, ids: Sequence[PointId]) -> None:
        self._ask(lambda: self._qdrant.delete(collection, list(ids), wait=True))

    def _ask(self, call: Callable[[], T]) -> T:
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                with self._turn:
                    return call()
            except (UnexpectedResponse, ResponseHandlingException, ResourceExhaustedResponse) as exc:
                error = self._translated(exc)
                if not isinstance(error, StoreBusy) or time.monotonic() > end:
                    raise error from exc
                time.sleep(random.uniform(0.1, 0.3))
            except ValueError as exc:
                # Local mode's word for a request that a server would refuse.
                raise StoreRejected(f"{self.store}: the request was refused", store=self.store) from exc

    def _translated(self, exc: Exception) -> StoreError:
        status = exc.status_code if isinstance(exc, UnexpectedResponse) else None
        match status:
            case None if isinstance(exc, ResourceExhaustedResponse):
                return StoreBusy(f"{self.store}: the service throttles us", store=self.store)
            case None:
                return StoreUnavailable(
                    f"{self.store}: no answer", store=self.store, next_step="tenantctl doctor"
                )
            case 429:
                return StoreBusy(f"{self.store}: the service throttles us (429)", store=self.store)
            case 401 | 403:
                step = "check the api_key of this store"
                return StoreRejected(
                    f"{self.store}: the service answers {status}", store=self.store, next_step=step
                )
        if status >= 500:
            return StoreUnavailable(f"{self.store}: the service answers {status}", store=self.store)
        return StoreRejected(f"{self.store}: the service answers {status}", store=self.store)


def _exact(params: models.VectorParams) -> models.VectorParams:
    cosine = params.distance is models.Distance.COSINE
    return params.model_copy(update={"distance": models.Distance.DOT}) if cosine else params


def point_id(record: models.Record) -> PointId:
    return record.id if isinstance(record.id, int) else str(record.id)
