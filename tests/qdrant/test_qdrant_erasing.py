"""A tenant leaves a Qdrant: its collections go whole, its points of a shared one by id; on the client's local mode."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models
from test_qdrant_store import HOSTILE, Pair, make, open_store

from erasing_marks import CONTROL, erase_all, erasing, finder, frozen, go_on, hits, left_of, searched
from tenant_lifecycle.errors import Fenced, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.erasing import Level
from tenant_lifecycle.stores.qdrant import doomed, erase
from tenant_lifecycle.stores.qdrant.store import QdrantStore

SECRET = "marker-of-the-tenant-93b1"
US, THEM = TenantId("1"), TenantId("12")


@pytest.fixture
def own() -> Iterator[QdrantStore]:
    store = open_store("blue")
    yield store
    store.close()


@pytest.fixture
def shared() -> Iterator[QdrantStore]:
    store = open_store("blue", collection="everyone", tenant_field="tenant")
    make(store.side.client._qdrant, "everyone")
    yield store
    store.close()


def fill(store: QdrantStore, collection: str, tenant: str, text: str, count: int = 3, **payload: Any) -> None:
    client = store.side.client._qdrant
    if not client.collection_exists(collection):
        make(client, collection)
    vector = {"text": [1.0, 2.0, 3.0, 4.0], "image": [1.0, 2.0]}
    points = [
        models.PointStruct(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant}/{n}")), vector=vector,
            payload={"tenant": tenant, "text": text, **payload},
        )
        for n in range(count)
    ]  # fmt: skip
    client.upsert(collection, points)


def everything(store: QdrantStore) -> dict[tuple[str, str], Any]:
    client = store.side.client._qdrant
    return {
        (one.name, str(point.id)): (point.vector, point.payload)
        for one in client.get_collections().collections
        if not one.name.startswith("tenant_lifecycle__")
        for point in client.scroll(one.name, limit=10_000, with_vectors=True)[0]
    }


def test_own_collections_go_and_the_neighbours_stay_value_for_value(own: QdrantStore) -> None:
    for collection in ("12-docs", "1-docs2", "x1-docs"):
        fill(own, collection, THEM, "theirs")
    before = everything(own)
    fill(own, "1-docs", US, SECRET)
    fill(own, "1-cache", US, SECRET)
    batches, done, settled = erase_all(own, US)
    assert sum(one.deleted for one in done) == 2 * (3 + 1) and not settled.left
    assert everything(own) == before
    assert not left_of(own, US, batches) and not hits(own, finder(SECRET))


@pytest.mark.parametrize("tenant", HOSTILE)
def test_points_of_a_shared_collection_go_by_id_and_nobody_elses(shared: QdrantStore, tenant: str) -> None:
    for other in ("a", "ab", "1" + tenant, tenant + "1"):
        fill(shared, "everyone", other, "theirs")
    before = everything(shared)
    fill(shared, "everyone", tenant, SECRET)
    batches, done, _ = erase_all(shared, tenant)
    assert sum(one.deleted for one in done) == 3
    assert everything(shared) == before
    assert not left_of(shared, tenant, batches) and not hits(shared, finder(SECRET))


def test_killed_between_requests_and_run_again(shared: QdrantStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doomed, "BATCH", 7)
    monkeypatch.setattr(erase, "MOST_IDS", 3)
    fill(shared, "everyone", THEM, "theirs", 20)
    before = everything(shared)
    fill(shared, "everyone", US, SECRET, 20)
    batches, stop = frozen(shared, US), itertools.count()
    assert [len(batch.keys) for batch in batches] == [7, 7, 6]

    def die() -> None:
        if next(stop) == 4:
            raise StoreUnavailable("killed", store="blue")

    with pytest.raises(StoreUnavailable):
        for batch in batches:
            shared.erase(erasing(US, 1), batch, die)
    gone = 20 - len(left_of(shared, US, batches))
    again = [shared.erase(erasing(US, 2), batch, go_on) for batch in batches]
    assert 0 < gone < 20 and sum(one.gone for one in again) == gone
    assert everything(shared) == before
    with pytest.raises(Fenced):
        shared.erase(erasing(US, 1), batches[0], go_on)


def test_a_point_that_became_somebody_elses_is_left_and_told(shared: QdrantStore) -> None:
    fill(shared, "everyone", US, SECRET, 1)
    (batch,) = frozen(shared, US)
    client = shared.side.client._qdrant
    client.set_payload("everyone", {"tenant": THEM}, points=[id_ for _, id_ in everything(shared)])
    done = shared.erase(erasing(US), batch, go_on)
    assert done.deleted == 0 and [one.code for one in done.refused] == ["NotTheTenants"]
    assert len(everything(shared)) == 1


def test_a_collection_made_anew_after_the_erasure_is_found(own: QdrantStore) -> None:
    fill(own, "1-docs", US, SECRET)
    batches, _, _ = erase_all(own, US)
    fill(own, "1-docs", US, SECRET, 1)
    assert b"1-docs" in left_of(own, US, batches)
    assert len(hits(own, finder(SECRET))) == 1


def test_a_collection_under_no_rule_is_found_and_a_rule_proposed(own: QdrantStore) -> None:
    fill(own, "shadow", US, "x", 1, deep={"list": [{SECRET: 1}]})
    (hit,) = hits(own, finder(SECRET))
    assert hit.place == "shadow" and "shadow" in hit.proposal
    assert {one.code for one in refusals(own.erasure_findings(US))} == {"qdrant.unmapped"}


def test_our_notes_of_a_move_name_the_tenant_and_go_too(own: QdrantStore) -> None:
    target = open_store("green")
    pair = Pair(target, own)
    fill(target, "1-docs", US, SECRET)
    pair.source.create_missing(pair.target, US)
    pair.copy()
    assert hits(own, finder(":1"), "tenant_lifecycle__ours")
    erase_all(own, US, 2)
    assert not hits(own, finder(":1"), "tenant_lifecycle__ours")
    target.close()


def test_the_control_is_found_where_it_was_planted_and_a_canary_goes(
    own: QdrantStore, shared: QdrantStore
) -> None:
    for store in (own, shared):
        for _ in range(2):
            (planted,) = store.plant(erasing("ctl"), CONTROL)
        store.plant(erasing(US), SECRET)
        looked = searched(store, finder(SECRET))
        assert looked[planted.place].control_found and sum(one.hit_count for one in looked.values()) == 1
        erase_all(store, US)
        looked = searched(store, finder(SECRET))
        assert looked[planted.place].control_found and not sum(one.hit_count for one in looked.values())


def test_the_check_is_asked_before_every_deletion(own: QdrantStore) -> None:
    fill(own, "1-docs", US, SECRET)

    def stop() -> None:
        raise StoreRejected("a hold was placed", store="blue")

    (batch,) = frozen(own, US)
    with pytest.raises(StoreRejected):
        own.erase(erasing(US), batch, stop)
    assert len(everything(own)) == 3


def test_a_server_that_is_down_refuses_and_proves_nothing() -> None:
    down = open_store("blue", path="", url="http://127.0.0.1:1")
    assert {one.code for one in refusals(down.verifier_findings())} == {"qdrant.reachable"}
    assert {one.code for one in refusals(down.erasure_findings(US))} == {"qdrant.reachable"}
    with pytest.raises(StoreUnavailable):
        down.places()
    assert down.proves is Level.LOGICAL
