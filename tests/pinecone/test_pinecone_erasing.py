"""A tenant leaves an index: its namespaces go whole, its vectors in shared ones by id; reads that lag are waited for."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pinecone import Pinecone
from pinecone_pair import API_KEY, FAMILIES, Pair, vector

from erasing_marks import CONTROL, erase_all, erasing, finder, frozen, go_on, hits, left_of, searched
from tenant_lifecycle.errors import Fenced, StoreBusy, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.pinecone import erase
from tenant_lifecycle.stores.pinecone.store import PineconeStore

SECRET = "marker-of-the-tenant-93b1"
US, THEM = TenantId("1"), TenantId("12")
HOSTILE = ["*", "?", "[ab]", "{x}", "a/b", "x'; DROP", '"q"', "x\ny"]
RULES = KeyMap(
    FAMILIES, (Template.parse("global-*"),),
    {
        "by id": Shared(Template.parse("everyone"), owner=Template.parse("{tenant}#*")),
        "by metadata": Shared(Template.parse("__default__"), ("tenant",)),
    },
)  # fmt: skip


def store_of(pair: Pair, rules: KeyMap = RULES, **settings: str) -> PineconeStore:
    """A store over blue that knows the shared namespaces."""
    return PineconeStore.from_config(
        name="vectors", environment="blue",
        settings={"api_key": API_KEY, "index": pair.name, "host": pair.servers[0].host, **settings},
        ownership=OwnershipMap(keys={"vectors": rules}),
        ids=lambda tenant: TenantIds({"collection": pair.collections.get(tenant, frozenset())}),
    )  # fmt: skip


@pytest.fixture
def store(pair: Pair) -> Any:
    opened = store_of(pair)
    yield opened
    opened.close()


def fill(pair: Pair, tenant: str, text: str, count: int = 3) -> int:
    """Vectors in own and shared namespaces; how many items of a manifest."""
    for space in (tenant, f"{tenant}--a"):
        pair.blue.upsert(vectors=[vector(f"v{n}", text=text) for n in range(count)], namespace=space)
    pair.blue.upsert(vectors=[vector(f"{tenant}#{n}", text=text) for n in range(count)], namespace="everyone")
    pair.blue.upsert(vectors=[vector(f"d{tenant}{n}", tenant=tenant, text=text) for n in range(count)])
    return 2 * (count + 1) + 2 * count


def everything(pair: Pair) -> dict[tuple[str, str], Any]:
    """All vectors but ours."""
    found = {}
    for space in [one.name for one in pair.blue.list_namespaces_paginated(limit=100).namespaces]:
        if space == "__tenant_lifecycle__":
            continue
        ids = [one.id for one in pair.blue.list_paginated(namespace=space, limit=100).vectors]
        for id_, one in pair.blue.fetch(ids=ids, namespace=space).vectors.items() if ids else ():
            found[space, id_] = (one.values, one.metadata)
    return found


def test_own_namespaces_and_shared_vectors_go_and_the_neighbour_stays_value_for_value(
    pair: Pair, store: Any
) -> None:
    fill(pair, THEM, "theirs")
    before = everything(pair)
    count = fill(pair, US, SECRET)
    batches, done, settled = erase_all(store, US)
    assert sum(one.deleted for one in done) == sum(len(one.keys) for one in batches) == count
    assert everything(pair) == before and not settled.left
    assert not left_of(store, US, batches)
    assert not [hit for hit in hits(store, finder(SECRET)) if hit.place.startswith(pair.name)]


@pytest.mark.parametrize("tenant", HOSTILE)
def test_an_id_with_letters_that_mean_something_takes_nobody_elses(
    pair: Pair, store: Any, tenant: str
) -> None:
    for other in ("a", "ab", tenant + "1", "1" + tenant):
        fill(pair, other, "theirs", 1)
    before = everything(pair)
    fill(pair, tenant, SECRET, 1)
    batches, _, _ = erase_all(store, tenant)
    assert everything(pair) == before and not left_of(store, tenant, batches)


def test_deleting_only_what_a_stale_read_shows_would_leave_the_rest(pair: Pair, store: Any) -> None:
    """Reads lag: what was written a moment ago is in the manifest all the same, and the end is waited for."""
    fill(pair, THEM, "theirs")
    before = everything(pair)
    pair.faults(stale_ms=400)
    fill(pair, US, SECRET)
    naive = pair.blue.list_paginated(namespace="1", limit=100)
    assert not naive.vectors
    batches, done, _ = erase_all(store, US)
    assert sum(one.deleted for one in done) == 14
    pair.faults(stale_ms=0)
    assert everything(pair) == before and not left_of(store, US, batches)


def test_a_late_upsert_that_makes_the_namespace_anew_is_found(pair: Pair, store: Any) -> None:
    fill(pair, US, SECRET)
    batches, _, _ = erase_all(store, US)
    pair.blue.upsert(vectors=[vector("late", text=SECRET)], namespace="1")
    assert b"1" in left_of(store, US, batches)
    assert [hit.where for hit in hits(store, finder(SECRET)) if hit.place == f"{pair.name}/1"] == ["late"]
    erase_all(store, US, 2)
    assert not left_of(store, US, batches)


def test_killed_between_batches_and_run_again(
    pair: Pair, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.pinecone.doomed.BATCH", 2)
    monkeypatch.setattr(erase, "MOST_IDS", 1)
    fill(pair, THEM, "theirs", 5)
    before = everything(pair)
    count = fill(pair, US, SECRET, 5)
    batches = frozen(store, US)
    stop = itertools.count()

    def die() -> None:
        if next(stop) == 12:
            raise StoreUnavailable("killed", store="blue")

    with pytest.raises(StoreUnavailable):
        for batch in batches:
            store.erase(erasing(US, 1), batch, die)
    first = count - len(left_of(store, US, batches))
    assert 0 < first < count
    again = [store.erase(erasing(US, 2), batch, go_on) for batch in batches]
    assert (sum(one.gone for one in again), sum(one.deleted for one in again)) == (first, count - first)
    assert everything(pair) == before
    with pytest.raises(Fenced):
        store.erase(erasing(US, 1), batches[0], go_on)


def test_a_vector_that_became_somebody_elses_is_left_and_told(pair: Pair, store: Any) -> None:
    pair.blue.upsert(vectors=[vector("shared", tenant=US)])
    (batch,) = frozen(store, US)
    pair.blue.upsert(vectors=[vector("shared", tenant=THEM)])
    done = store.erase(erasing(US), batch, go_on)
    assert done.deleted == 0 and [one.code for one in done.refused] == ["NotTheTenants"]
    assert ("__default__", "shared") in everything(pair)


def test_the_check_is_asked_before_every_deletion(pair: Pair, store: Any) -> None:
    fill(pair, US, SECRET)
    before = everything(pair)

    def stop() -> None:
        raise StoreRejected("a hold was placed", store="blue")

    for batch in frozen(store, US):
        with pytest.raises(StoreRejected):
            store.erase(erasing(US), batch, stop)
    assert everything(pair) == before


def test_a_service_that_throttles_and_fails_is_asked_again(pair: Pair, store: Any) -> None:
    fill(pair, THEM, "theirs")
    before = everything(pair)
    fill(pair, US, SECRET)
    pair.faults(throttle=0.2, errors=0.2)
    batches, _, _ = erase_all(store, US)
    pair.faults(throttle=0, errors=0)
    assert everything(pair) == before and not left_of(store, US, batches)


def test_a_namespace_that_does_not_go_is_not_said_to_be_gone(
    pair: Pair, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connector that says it deleted but did not."""
    fill(pair, US, SECRET)
    monkeypatch.setattr(store.side.client, "drop_namespace", lambda *_: None)
    monkeypatch.setattr(erase, "replace", lambda patience, **more: type(patience)(settle_s=0.3, **more))
    (batch,) = [one for one in frozen(store, US) if b"1" in one.keys]
    with pytest.raises(StoreBusy):
        store.erase(erasing(US), batch, go_on)
    assert set(batch.keys) <= left_of(store, US, [batch])


def test_other_indexes_and_namespaces_without_a_rule_are_found_and_a_rule_proposed(pair: Pair) -> None:
    store = store_of(pair, KeyMap({"parts": FAMILIES["parts"]}))
    other = f"{pair.name}-other"
    control = Pinecone(API_KEY, host=pair.servers[0].host)
    control.indexes.create(
        name=other,
        schema={"fields": {"values": {"type": "dense_vector", "dimension": 4, "metric": "cosine"}}},
    )
    with control.index(name=other) as index:
        index.upsert(vectors=[vector("copy", text=SECRET)], namespace="old-model")
    pair.blue.upsert(vectors=[vector("x", nested=[SECRET, "b"])], namespace="stray")
    pair.blue.upsert(vectors=[vector(SECRET)], namespace="1--a")
    found = {
        hit.place: hit.proposal for hit in hits(store, finder(SECRET)) if hit.place.startswith(pair.name)
    }
    control.indexes.delete(other)
    control.close()
    assert other in found[f"{other}/old-model"] and "stray" in found[f"{pair.name}/stray"]
    assert found[f"{pair.name}/1--a"] == ""
    assert {one.code for one in refusals(store.erasure_findings(US))} == {"pinecone.unmapped"}
    store.close()


def test_the_control_is_found_where_it_was_planted_and_a_canary_goes(pair: Pair, store: Any) -> None:
    for _ in range(2):
        (planted,) = store.plant(erasing("ctl"), CONTROL)
    store.plant(erasing(US), SECRET)
    looked = searched(store, finder(SECRET))
    assert looked[planted.place].control_found and looked[f"{pair.name}/1"].hit_count == 1
    erase_all(store, US)
    looked = searched(store, finder(SECRET))
    assert looked[planted.place].control_found and f"{pair.name}/1" not in looked


def test_a_wrong_key_refuses_and_proves_nothing(pair: Pair) -> None:
    wrong = store_of(pair, api_key="wrong")
    assert {one.code for one in refusals(wrong.verifier_findings())} == {"pinecone.reachable"}
    assert {one.code for one in refusals(wrong.erasure_findings(US))} == {"pinecone.reachable"}
    with pytest.raises(StoreRejected):
        wrong.places()
    wrong.close()


def test_what_is_proven_ends_with_the_providers_promise(store: Any) -> None:
    assert store.proves is Level.LOGICAL
    assert (store.horizon().level, store.horizon().days) == (Level.VENDOR, 90)


def test_searching_writes_nothing(pair: Pair, store: Any, blue_server: PineconeServer) -> None:
    fill(pair, US, SECRET)
    calls: list[str] = []
    client = store.side.client
    for name in ("upsert", "delete", "stamp", "drop_namespace", "create_namespace"):
        setattr(client, name, lambda *_, name=name: calls.append(name))
    searched(store, finder(SECRET))
    assert not calls
