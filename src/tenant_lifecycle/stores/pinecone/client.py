"""One index through the official client: the calls this store makes, each repeated as `patience` says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pinecone
from pinecone._internal.constants import DATA_PLANE_API_VERSION
from pinecone._internal.http_client import HTTPClient
from pinecone.errors import NotFoundError
from pinecone.index import Index
from pinecone.models.indexes.index import IndexModel
from pinecone.models.namespaces.models import NamespaceDescription
from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.pinecone.answers import understand_answers
from tenant_lifecycle.stores.pinecone.keys import can_exist
from tenant_lifecycle.stores.pinecone.patience import Patience, ask

_ONCE = pinecone.RetryConfig(max_retries=0)
#: A filter that no vector passes: only the answer's headers are of interest, and no scores need to be computed.
_NOTHING = {"tenant-lifecycle/no-vector-has-this-field": {"$eq": "x"}}
#: Requests of one store at the same time.
LANES = 8
#: Ids in one fetch: 1,000 are allowed, but they travel in the URL, which servers and proxies cut at 8 KB.
_MOST_IDS, _MOST_URL_BYTES = 100, 6_000


class Client:
    """The index of one environment; connects on first use, safe to use from several threads."""

    def __init__(self, store: str, api_key: str, index: str, host: str = "") -> None:
        understand_answers()
        self.store = store
        self.index_name = index
        self._api_key, self._host = api_key, host
        self._lock = threading.Lock()
        self._control: pinecone.Pinecone | None = None
        self._index: Index | None = None
        self._model: IndexModel | None = None
        self.pool = ThreadPoolExecutor(LANES, thread_name_prefix="pinecone")

    def close(self) -> None:
        """Give back connections; safe to repeat."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            if self._index is not None:
                self._index.close()
            if self._control is not None:
                self._control.close()
            self._index = self._control = None

    # -- the index itself

    def describe(self, patience: Patience) -> IndexModel | None:
        """The index's description, asked now; None: there is no index of that name."""
        try:
            return ask(self.store, lambda: self._controller().describe_index(self.index_name), patience)
        except NotFoundError:
            return None

    def indexes(self, patience: Patience) -> list[str]:
        """Names of all indexes of the project."""
        return sorted(
            ask(self.store, lambda: [one.name for one in self._controller().indexes.list()], patience)
        )

    def copies(self, patience: Patience) -> dict[str, int]:
        """How many backups and collections the project has; none where the service knows neither."""
        asked: dict[str, Callable[[], list[object]]] = {
            "backups": lambda: list(self._controller().backups.list()),
            "collections": lambda: list(self._controller().collections.list()),
        }
        counts = dict.fromkeys(asked, 0)
        for what, call in asked.items():
            with contextlib.suppress(NotFoundError):
                counts[what] = len(ask(self.store, call, patience))
        return counts

    def at(self, index: str) -> Client:
        """Another index of the same project."""
        return Client(self.store, self._api_key, index, self._host)

    def create_like(self, model: IndexModel, patience: Patience) -> None:
        """Create the index with the schema and the deployment of another one, and wait until it is ready."""
        deployment = model.to_dict()["deployment"]
        deployment.pop("environment", None) if deployment["deployment_type"] == "managed" else None
        ask(
            self.store,
            lambda: self._controller().indexes.create(
                name=self.index_name, schema=model.schema, deployment=deployment, timeout=300
            ),
            patience,
        )

    def model(self, patience: Patience) -> IndexModel:
        """The index's description, as it was when first asked for.

        Raises:
            StoreRejected: there is no such index.
        """
        if self._model is None:
            model = self.describe(patience)
            if model is None:
                raise StoreRejected(
                    f"{self.store}: there is no index {self.index_name!r}",
                    store=self.store,
                    next_step="create it, or name another one in lifecycle.yaml",
                )
            self._model = model
        return self._model

    def marker(self, patience: Patience) -> dict[str, Any]:
        """Vector data that the index takes: for records of ours, and for queries whose answer is of no interest."""
        dimension = _dimension(self.model(patience))
        if dimension:
            return {"values": [1.0] + [0.0] * (dimension - 1)}
        return {"sparse_values": {"indices": [0], "values": [1.0]}}

    # -- vectors

    def fetch(
        self, namespace: str, ids: Sequence[str], patience: Patience
    ) -> tuple[dict[str, Vector], int | None]:
        """Those vectors of one `batches` that exist, and up to which write of the log the answer saw, if it says.

        A namespace that is not there has none.
        """
        call = self._data(patience).fetch
        try:
            found = ask(
                self.store,
                lambda: call(ids=list(ids), namespace=namespace, timeout=patience.timeout_s),
                patience,
            )
        except NotFoundError:
            return {}, None
        return found.vectors, found.response_info.lsn_reconciled if found.response_info else None

    def upsert(self, namespace: str, vectors: Sequence[Mapping[str, Any]], patience: Patience) -> None:
        call = self._data(patience).upsert
        ask(
            self.store,
            lambda: call(vectors=list(vectors), namespace=namespace, timeout=patience.timeout_s),
            patience,
        )

    def delete(self, namespace: str, ids: Sequence[str], patience: Patience) -> None:
        """Delete vectors; at most 1,000 at once. A namespace that is not there has none."""
        call = self._data(patience).delete
        try:
            ask(
                self.store,
                lambda: call(ids=list(ids), namespace=namespace, timeout=patience.timeout_s),
                patience,
            )
        except NotFoundError:
            return

    def pages(self, namespace: str, patience: Patience, prefix: str = "") -> Iterator[list[str]]:
        """All ids, 100 at a time, in the order of their bytes (the service promises that order)."""
        call, token = self._data(patience).list_paginated, None
        while True:
            page = ask(
                self.store,
                lambda token=token: call(  # type: ignore[misc]
                    namespace=namespace,
                    prefix=prefix or None,
                    limit=100,
                    pagination_token=token,
                    timeout=patience.timeout_s,
                ),
                patience,
            )
            if page.vectors:
                yield [item.id for item in page.vectors if item.id is not None]
            token = page.pagination.next if page.pagination is not None else None
            if token is None:
                return

    def nearest(self, namespace: str, vector: Sequence[float], n: int, patience: Patience) -> list[str]:
        """Ids of the nearest vectors, the nearest first. A namespace that is not there has none."""
        call = self._data(patience).query
        try:
            found = ask(
                self.store,
                lambda: call(vector=list(vector), top_k=n, namespace=namespace, timeout=patience.timeout_s),
                patience,
            )
        except NotFoundError:
            return []
        return [match.id for match in found.matches]

    # -- namespaces

    def namespaces(self, prefix: str, patience: Patience) -> Iterator[NamespaceDescription]:
        """Those whose names begin with ``prefix``."""
        if prefix and not can_exist(prefix):
            return
        call, token = self._data(patience).list_namespaces_paginated, None
        while True:
            page = ask(
                self.store,
                lambda token=token: call(prefix=prefix or None, limit=100, pagination_token=token),  # type: ignore[misc]
                patience,
            )
            yield from page.namespaces
            token = page.pagination.next if page.pagination is not None else None
            if token is None:
                return

    def namespace(self, name: str, patience: Patience) -> NamespaceDescription | None:
        """One namespace; None: it is not there."""
        if not can_exist(name):
            return None
        try:
            return ask(self.store, lambda: self._data(patience).describe_namespace(name=name), patience)
        except NotFoundError:
            return None

    def create_namespace(self, name: str, schema: Mapping[str, Any], patience: Patience) -> None:
        call = self._data(patience).create_namespace
        ask(self.store, lambda: call(name=name, schema=dict(schema)), patience)

    def drop_namespace(self, name: str, patience: Patience) -> None:
        """Delete a namespace and everything in it; it need not be there."""
        call = self._data(patience).delete_namespace
        try:
            ask(self.store, lambda: call(name=name, timeout=patience.timeout_s), patience)
        except NotFoundError:
            return

    # -- the log of a namespace

    def stamp(self, namespace: str, vector_id: str, patience: Patience) -> int | None:
        """Write nothing: update a vector that does not exist. The number the log gave it; None: no namespace.

        Raises:
            StoreRejected: the service does not number writes.
        """
        call = self._data(patience).update
        try:
            done = ask(
                self.store,
                lambda: call(
                    id=vector_id, set_metadata={"t": 0}, namespace=namespace, timeout=patience.timeout_s
                ),
                patience,
            )
        except NotFoundError:
            return None
        number = done.response_info.lsn_committed if done.response_info else None
        return self._numbered(number)

    def seen(self, namespace: str, patience: Patience) -> int:
        """Up to which number of the log queries see now.

        Raises:
            StoreRejected: the service does not say.
        """
        marker = self.marker(patience)
        vector = (
            {"vector": marker["values"]} if "values" in marker else {"sparse_vector": marker["sparse_values"]}
        )
        call = self._data(patience).query
        found = ask(
            self.store,
            lambda: call(top_k=1, namespace=namespace, filter=_NOTHING, timeout=patience.timeout_s, **vector),
            patience,
        )
        return self._numbered(found.response_info.lsn_reconciled if found.response_info else None)

    def _numbered(self, number: int | None) -> int:
        if number is None:
            raise StoreRejected(
                f"{self.store}: answers carry no position in the log, so a stale read cannot be told from a fresh one",
                store=self.store,
                next_step="serverless indexes number their writes; pod-based ones cannot be moved",
            )
        return number

    # -- connections

    def _controller(self) -> pinecone.Pinecone:
        with self._lock:
            if self._control is None:
                self._control = pinecone.Pinecone(
                    self._api_key, host=self._host or None, timeout=15.0, retry_config=_ONCE
                )
            return self._control

    def _data(self, patience: Patience) -> Index:
        if self._index is None:
            address = self.model(patience).host
            if not address:
                raise StoreRejected(
                    f"{self.store}: the index has no address yet", store=self.store, next_step="wait for it"
                )
            with self._lock:
                if self._index is None:
                    self._index = _without_repetition(
                        Index(
                            host=address,
                            api_key=self._api_key,
                            timeout=15.0,
                            connection_pool_maxsize=4 * LANES,
                        )
                    )
        return self._index


def batches(ids: Sequence[str]) -> Iterator[list[str]]:
    """Ids cut so that each fetch's URL stays short."""
    batch: list[str] = []
    room = _MOST_URL_BYTES
    for one in ids:
        # Percent-encoding makes three bytes of one at most.
        size = 5 + sum(1 if char.isalnum() or char in "-._~" else 3 for char in one)
        if batch and (size > room or len(batch) == _MOST_IDS):
            yield batch
            batch, room = [], _MOST_URL_BYTES
        batch.append(one)
        room -= size
    if batch:
        yield batch


def _without_repetition(index: Index) -> Index:
    """The data plane's client takes no setting for repetition; give it a transport that has none."""
    index._http.close()
    index._http = HTTPClient(replace(index._config, retry_config=_ONCE), DATA_PLANE_API_VERSION)
    return index


def _dimension(model: IndexModel) -> int:
    """Of its dense vectors; 0: it has none."""
    return next(
        (
            getattr(field, "dimension", 0) or 0
            for field in model.schema.fields.values()
            if getattr(field, "dimension", None)
        ),
        0,
    )
