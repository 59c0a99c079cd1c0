"""Points move exactly: by collection, or out of a collection that tenants share; on the client's local mode."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from tenant_lifecycle.errors import ConfigError, Fenced, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.model.verification import DifferenceKind
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.qdrant import keys
from tenant_lifecycle.stores.qdrant.store import QdrantStore
from tenant_lifecycle.stores.registry import no_ids

TENANT = TenantId("1")
FAMILIES = {
    "docs": Family(Template.parse("{tenant}-docs")),
    "cache": Family(Template.parse("{tenant}-cache"), treatment=Treatment.SKIP),
}
HOSTILE = ["1", "12", "a*b", "it's; --%s", "zürich 租户", '"]}', "x\ny"]
UUID = str(uuid.UUID(int=7))


@dataclass
class Pair:
    source: QdrantStore
    target: QdrantStore

    @property
    def blue(self) -> QdrantClient:
        return self.source.side.client._qdrant

    @property
    def green(self) -> QdrantClient:
        return self.target.side.client._qdrant

    def feed(self, tenant: str = "1", token: int = 1) -> Feed:
        return Feed("tl_test_fwd", TenantId(tenant), token)

    def copy(self, tenant: str = "1", token: int = 1) -> int:
        feed = self.feed(tenant, token)
        parts = self.source.split(self.target, feed)
        return sum(self.source.copy_part(self.target, feed, part, nothing).items for part in parts)

    def suspects(self, tenant: str = "1") -> dict[str, frozenset[bytes]]:
        found: dict[str, frozenset[bytes]] = {}
        for name in self.source.sets(TenantId(tenant)):
            found.update(self.source.compare(self.target, TenantId(tenant), name, nothing).suspects)
        return found


def nothing() -> None:
    """A check that lets the work go on."""


def open_store(environment: str, **settings: str) -> QdrantStore:
    ownership = OwnershipMap(keys={"vectors": KeyMap({} if "collection" in settings else FAMILIES)})
    return QdrantStore.from_config(
        name="vectors", environment=environment, settings={"path": ":memory:", **settings},
        ownership=ownership, ids=no_ids,
    )  # fmt: skip


def make(client: QdrantClient, collection: str, distance: models.Distance = models.Distance.DOT) -> None:
    client.create_collection(
        collection,
        vectors_config={
            "text": models.VectorParams(size=4, distance=distance),
            "image": models.VectorParams(size=2, distance=models.Distance.EUCLID),
        },
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )


def point(id: int | str, number: float = 1.0, **payload: Any) -> models.PointStruct:
    sparse = models.SparseVector(indices=[9, 2], values=[0.1, 0.5])
    return models.PointStruct(
        id=id,
        vector={"text": [number, 0.25, 1 / 3, 0.1], "image": [0.1, number], "words": sparse},
        payload={"n": number, "nested": {"b": [1, 2.5, None, True], "a": "ü"}, **payload},
    )


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(open_store("blue"), open_store("green"))
    yield made
    made.source.close()
    made.target.close()


@pytest.fixture
def shared() -> Iterator[Pair]:
    settings = {"collection": "all", "tenant_field": "tenant"}
    made = Pair(open_store("blue", **settings), open_store("green", **settings))
    for client in (made.blue, made.green):
        make(client, "all")
    yield made
    made.source.close()
    made.target.close()


def test_collections_are_created_and_copied_and_neighbours_stay(pair: Pair) -> None:
    for collection in ("1-docs", "12-docs", "1-cache"):
        make(pair.blue, collection)
        pair.blue.upsert(collection, [point(n, n + 1.0) for n in range(300)] + [point(UUID)])
    assert pair.source.create_missing(pair.target, TENANT) != []
    assert pair.source.create_missing(pair.target, TENANT) == []
    assert pair.copy() == 301
    assert pair.suspects() == {}
    names = {one.name for one in pair.green.get_collections().collections}
    assert names == {"1-docs", "tenant_lifecycle__ours"}
    mine = pair.blue.retrieve("1-docs", [5, UUID], with_vectors=True)
    theirs = pair.green.retrieve("1-docs", [5, UUID], with_vectors=True)
    assert mine == theirs


def test_hostile_tenants_of_a_shared_collection_stay_apart(shared: Pair) -> None:
    for number, tenant in enumerate(HOSTILE):
        shared.blue.upsert("all", [point(number * 10 + n, tenant=tenant) for n in range(3)])
    for tenant in HOSTILE:
        assert not shared.target.holds(TenantId(tenant))
        assert shared.copy(tenant) == 3
        assert shared.suspects(tenant) == {}
    assert shared.green.count("all").count == 3 * len(HOSTILE)
    for gone, tenant in enumerate(HOSTILE, start=1):
        assert shared.target.remove(shared.feed(tenant), nothing) == {"all": 3}
        assert shared.green.count("all").count == 3 * (len(HOSTILE) - gone)


@pytest.mark.parametrize("what", ["vector", "sparse", "payload", "missing", "extra"])
def test_every_mutation_is_found_explained_and_mended(pair: Pair, what: str) -> None:
    make(pair.blue, "1-docs")
    pair.blue.upsert("1-docs", [point(n) for n in range(200)])
    pair.copy()
    assert pair.suspects() == {}
    kind, fields, id = DifferenceKind.DIFFERENT, (), 7
    changed = point(7)
    match what:
        case "vector":
            changed.vector["text"][2] = 0.33333334 + 3e-8  # type: ignore[index, call-overload]
            fields = ("vector text",)
        case "sparse":
            changed.vector["words"] = models.SparseVector(indices=[9, 3], values=[0.1, 0.5])  # type: ignore[index, call-overload]
            fields = ("vector words",)
        case "payload":
            changed.payload = {**(changed.payload or {}), "nested": {"b": [1, 2.5, None, 1], "a": "ü"}}
            fields = ("payload",)
        case "missing":
            kind = DifferenceKind.MISSING
        case "extra":
            kind, id = DifferenceKind.EXTRA, 900
            changed = point(900)
    if what == "missing":
        pair.green.delete("1-docs", [7])
    else:
        pair.green.upsert("1-docs", [changed])
    suspects = pair.suspects()
    (found,) = pair.source.compare_keys(pair.target, TENANT, suspects)
    assert (found.key, found.kind, found.fields) == (keys.encode("1-docs", id), kind, fields)
    assert pair.source.repair(pair.target, pair.feed(), suspects) == 1
    assert pair.source.compare_keys(pair.target, TENANT, suspects) == []
    assert pair.suspects() == {}


def test_cosine_collections_are_equal_after_a_copy_and_a_changed_vector_is_still_found(pair: Pair) -> None:
    make(pair.blue, "1-docs", models.Distance.COSINE)
    pair.blue.upsert("1-docs", [point(n, (n + 1) / 7) for n in range(300)])
    pair.copy()
    assert pair.suspects() == {}
    changed = point(3, 4 / 7)
    changed.vector["text"][1] += 1e-5  # type: ignore[index, call-overload]
    pair.green.upsert("1-docs", [changed])
    assert pair.suspects() == {"docs": frozenset([keys.encode("1-docs", 3)])}


def test_repair_carries_state_and_deletes_what_is_skipped(pair: Pair) -> None:
    for collection in ("1-docs", "1-cache"):
        for client in (pair.blue, pair.green):
            make(client, collection)
            client.upsert(collection, [point(1)])
    pair.blue.upsert("1-docs", [point(2, 5.0)])
    pair.blue.delete("1-docs", [1])
    wanted = {
        "docs": frozenset(keys.encode("1-docs", n) for n in (1, 2, 3)),
        "cache": frozenset([keys.encode("1-cache", 1)]),
    }
    assert pair.source.repair(pair.target, pair.feed(), wanted) == 3
    assert pair.source.repair(pair.target, pair.feed(), wanted) == 0
    assert pair.green.count("1-cache").count == 0 and pair.blue.count("1-cache").count == 1
    assert [one.id for one in pair.green.scroll("1-docs")[0]] == [2]


def test_another_tenants_point_of_a_shared_collection_is_never_overwritten(shared: Pair) -> None:
    shared.blue.upsert("all", [point(1, tenant="1"), point(2, tenant="12")])
    shared.green.upsert("all", [point(1, 9.0, tenant="12")])
    wanted = {"all": frozenset(keys.encode("all", n) for n in (1, 2))}
    with pytest.raises(StoreRejected):
        shared.source.repair(shared.target, shared.feed(), wanted)
    shared.green.delete("all", [1])
    assert shared.source.repair(shared.target, shared.feed(), wanted) == 1
    assert [one.id for one in shared.green.scroll("all")[0]] == [1]


def test_an_older_token_is_refused(pair: Pair) -> None:
    make(pair.blue, "1-docs")
    pair.blue.upsert("1-docs", [point(1)])
    wanted = {"docs": frozenset([keys.encode("1-docs", 1)])}
    pair.source.repair(pair.target, pair.feed(token=5), wanted)
    pair.blue.upsert("1-docs", [point(1, 2.0)])
    for act in (
        lambda: pair.source.repair(pair.target, pair.feed(token=4), wanted),
        lambda: pair.copy(token=4),
        lambda: pair.target.remove(pair.feed(token=4), nothing),
    ):
        with pytest.raises(Fenced):
            act()
    assert pair.green.retrieve("1-docs", [1])[0].payload["n"] == 1.0  # type: ignore[index]


def test_reasons_not_to_move_are_found(pair: Pair) -> None:
    make(pair.blue, "1-docs")
    assert refusals(pair.source.preflight(pair.target, TENANT)) == []
    make(pair.blue, "stranger")
    pair.green.create_collection(
        "1-docs", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT)
    )
    pair.green.upsert("1-docs", [models.PointStruct(id=1, vector=[1.0] * 4)])
    codes = [one.code for one in refusals(pair.source.preflight(pair.target, TENANT))]
    assert codes == ["qdrant.unmapped", "qdrant.target-occupied", "qdrant.collection-mismatch"]
    with pytest.raises(StoreRejected):
        pair.source.create_missing(pair.target, TENANT)


def test_keys_are_exact() -> None:
    assert keys.decode(keys.encode("c", 5)) == ("c", 5)
    assert keys.decode(keys.encode("c", UUID)) == ("c", UUID)
    for wrong in (b"\xff", b"c", b"c\0", b"c\0x", b"\0" + b"5"):
        assert keys.decode(wrong) is None


def test_a_server_that_is_not_there_is_unavailable(unused_port: int) -> None:
    store = open_store("blue", path="", url=f"http://127.0.0.1:{unused_port}")
    assert [one.code for one in refusals(store.probe())] == ["qdrant.reachable"]
    with pytest.raises(StoreUnavailable):
        store.incarnation()
    store.close()


@pytest.fixture
def unused_port() -> int:
    from tenant_lifecycle.sandbox.postgres import free_port

    return free_port()


@pytest.mark.parametrize("settings", [{"path": ""}, {"url": "http://x"}, {"collection": "all"}])
def test_settings_that_do_not_fit_are_named(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        open_store("blue", **settings)
