"""The emulator does what the interface says, as far as our stores, the client and the sample rely on it."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pinecone import ConflictError, NotFoundError, Pinecone, UnauthorizedError
from pinecone.index import Index

from tenant_lifecycle.sandbox.pinecone import PineconeServer


@pytest.fixture(scope="module")
def server() -> Iterator[PineconeServer]:
    with PineconeServer(dimension=3, metric="cosine", sparse=True) as server:
        yield server


@pytest.fixture
def index(server: PineconeServer) -> Iterator[Index]:
    # The only index of an emulator also answers at its root.
    with Index(host=server.host, api_key="any") as index:
        yield index
        for page in index.list_namespaces():
            for one in page:
                index.delete_namespace(name=one.name)


def put(index: Index, id: str, values: list[float], namespace: str = "n", **metadata: object) -> None:
    index.upsert(vectors=[{"id": id, "values": values, "metadata": metadata}], namespace=namespace)


def test_queries_are_exact(index: Index) -> None:
    put(index, "x", [1, 0, 0], kind="a", n=1)
    put(index, "xy", [1, 1, 0], kind="b", n=2)
    put(index, "z", [0, 0, 1], kind="b", n=3)
    found = index.query(vector=[2, 0, 0], top_k=2, namespace="n", include_metadata=True).matches
    assert [(one.id, round(one.score, 6)) for one in found] == [("x", 1.0), ("xy", 0.707107)]
    assert found[1].metadata == {"kind": "b", "n": 2.0}
    only = index.query(
        vector=[2, 0, 0], top_k=5, namespace="n", filter={"kind": "b", "n": {"$gte": 3}}
    ).matches
    assert [one.id for one in only] == ["z"]
    assert [one.id for one in index.query(id="z", top_k=1, namespace="n").matches] == ["z"]
    assert index.query(vector=[1, 0, 0], top_k=1, namespace="other").matches == []


def test_updates_deletions_and_counts(index: Index) -> None:
    for n in range(250):
        put(index, f"{n:03}", [1, 0, n / 7], n=n)
    pages = [[item.id for item in page] for page in index.list(namespace="n")]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert functools.reduce(operator.iadd, pages, []) == [f"{n:03}" for n in range(250)]
    assert len(next(iter(index.list(namespace="n", prefix="01")))) == 10
    index.update(id="000", set_metadata={"m": "x"}, namespace="n")
    assert index.fetch(ids=["000"], namespace="n").vectors["000"].metadata == {"n": 0.0, "m": "x"}
    index.delete(filter={"n": {"$lt": 100}}, namespace="n")
    assert index.describe_index_stats().namespaces["n"].vector_count == 150
    assert index.describe_namespace(name="n").record_count == 150
    index.delete(delete_all=True, namespace="n")
    assert index.describe_index_stats().total_vector_count == 0
    with pytest.raises(NotFoundError):
        index.delete_namespace(name="never")


def test_writes_are_seen_late_when_it_is_told_so(server: PineconeServer, index: Index) -> None:
    put(index, "a", [1, 0, 0])
    server.faults(stale_ms=200)
    done = index.upsert(vectors=[{"id": "a", "values": [0, 1, 0]}], namespace="n")
    assert done.response_info is not None
    number = done.response_info.lsn_committed
    seen = index.query(vector=[1, 0, 0], top_k=1, namespace="n").response_info
    assert number is not None and seen is not None and not seen.is_reconciled(number)
    assert index.fetch(ids=["a"], namespace="n").vectors["a"].values == [1, 0, 0]
    time.sleep(0.3)
    seen = index.query(vector=[1, 0, 0], top_k=1, namespace="n").response_info
    assert seen is not None and seen.is_reconciled(number)
    assert index.fetch(ids=["a"], namespace="n").vectors["a"].values == [0, 1, 0]
    server.faults(stale_ms=0)
    with pytest.raises(ValueError, match="no fault"):
        server.faults(nonsense=1)


def test_indexes_are_created_described_protected_and_deleted(server: PineconeServer) -> None:
    with Pinecone("any", host=server.host) as control:
        model = control.indexes.create(
            name="second",
            schema={"fields": {"v": {"type": "dense_vector", "dimension": 5, "metric": "euclidean"}}},
            deletion_protection="enabled",
        )
        assert (model.dimension, model.metric, model.status.ready) == (5, "euclidean", True)
        assert {one.name for one in control.indexes.list()} == {"documents", "second"}
        with pytest.raises(ConflictError):
            control.indexes.create(name="second", schema=model.schema)
        control.indexes.configure("second", deletion_protection="disabled")
        with control.index(name="second") as index:
            index.upsert(vectors=[{"id": "a", "values": [1.0] * 5}])
            assert [one.name for page in index.list_namespaces() for one in page] == ["__default__"]
        control.indexes.delete("second")
        assert not control.indexes.exists("second")


def test_what_was_accepted_outlives_a_kill(tmp_path: Path) -> None:
    with PineconeServer(dimension=3, file=tmp_path / "writes", api_key="right") as server:
        with Index(host=server.host, api_key="right") as index:
            put(index, "a", [1, 0, 0], text="ü")
            put(index, "b", [1, 0, 0])
            index.delete(ids=["b"], namespace="n")
            first = server.pid
            server.kill()
            assert server.pid is None
            server.start()
            assert server.pid not in (None, first)
            assert index.fetch(ids=["a", "b"], namespace="n").vectors["a"].metadata == {"text": "ü"}
            assert "b" not in index.fetch(ids=["a", "b"], namespace="n").vectors
            server.pause()
            server.resume()
            assert index.describe_index_stats().total_vector_count == 1
        with Index(host=server.host, api_key="wrong") as index, pytest.raises(UnauthorizedError):
            index.describe_index_stats()
    assert server.pid is None
