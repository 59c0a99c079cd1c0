"""A tenant's points in a base, in a preview, and live again, on the client's local mode."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from keyed_backup import FINGERPRINTS, base_of, diffs, go_on, preview_of, writing
from tenant_lifecycle.errors import Fenced, IntegrityError, UnmappedData, UsageError, WrongState
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import opaque
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.backing import Answers, Backs, Captures, Clocked, Previews
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.erasing import Erasing
from tenant_lifecycle.stores.qdrant import keys
from tenant_lifecycle.stores.qdrant.store import QdrantStore

US = TenantId("1")
FAMILIES = {
    "docs": Family(Template.parse("{tenant}-docs")),
    "kb": Family(Template.parse("kb-{collection}")),
    "cache": Family(Template.parse("{tenant}-cache"), treatment=Treatment.SKIP),
}
UUID = str(uuid.UUID(int=7))
HOSTILE = ["a*b", "it's; --%s", "zürich 租户", '"]}', "x\ny"]


class Rig:
    """One store, and the ids that its tenants have."""

    def __init__(self, **settings: str) -> None:
        self.collections: dict[str, frozenset[str]] = {"1": frozenset({"old"})}
        ownership = OwnershipMap(keys={"vectors": KeyMap({} if "collection" in settings else FAMILIES)})
        self.store = QdrantStore.from_config(
            name="vectors", environment="blue", settings={"path": ":memory:", **settings}, ownership=ownership,
            ids=lambda tenant: TenantIds({"collection": self.collections.get(tenant, frozenset())}),
        )  # fmt: skip

    @property
    def client(self) -> QdrantClient:
        return self.store.side.client._qdrant

    def everything(self) -> dict[str, Any]:
        """Every point by collection, but for ours."""
        return {
            one.name: {str(record.id): repr(record) for record in self.client.scroll(one.name, limit=10_000, with_vectors=True)[0]}
            for one in self.client.get_collections().collections
            if not one.name.startswith("tenant_lifecycle__")
        }  # fmt: skip

    def others(self) -> dict[str, Any]:
        return {
            name: some
            for name, some in self.everything().items()
            if name in ("12-docs", "kb-theirs", "12-cache")
        }


def make(client: QdrantClient, collection: str, distance: models.Distance = models.Distance.DOT) -> None:
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        collection,
        vectors_config={
            "text": models.VectorParams(size=4, distance=distance),
            "many": models.VectorParams(size=2, distance=models.Distance.DOT, multivector_config=multi),
        },
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )


def point(id: int | str, number: float = 1.0, **payload: Any) -> models.PointStruct:
    sparse = models.SparseVector(indices=[9, 2], values=[0.1, 0.5])
    return models.PointStruct(
        id=id,
        vector={"text": [number, 0.25, 1 / 3, 0.1], "many": [[0.1, number], [0.2, 0.3]], "words": sparse},
        payload={"n": number, "i": 3, "nested": {"b": [1, 2.5, None, True], "ä": "ü☃"}, **payload},
    )


@pytest.fixture(params=[models.Distance.DOT, models.Distance.COSINE])
def full(request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig = Rig()
    for name in ("1-docs", "kb-old", "1-cache", "12-docs", "kb-theirs", "12-cache"):
        make(rig.client, name, request.param)
        rig.client.upsert(name, [point(n, n + 0.7) for n in range(150)] + [point(UUID), point(2**63)])
    rig.client.upsert("1-docs", [models.PointStruct(id=900, vector={}, payload=None)])
    yield rig
    rig.store.close()


@pytest.fixture
def shared() -> Iterator[Rig]:
    rig = Rig(collection="all", tenant_field="tenant")
    make(rig.client, "all")
    rig.client.upsert(
        "all", [point(n, tenant="1") for n in range(10)] + [point(n, tenant="12") for n in range(20, 25)]
    )
    for n, name in enumerate(HOSTILE):
        rig.client.upsert("all", [point(100 + n, tenant=name)])
    yield rig
    rig.store.close()


def test_the_store_has_the_abilities(full: Rig) -> None:
    assert all(isinstance(full.store, ability) for ability in (Backs, Captures, Previews, Clocked))


def test_a_preview_holds_exactly_what_the_base_had_and_a_promotion_brings_it_back(full: Rig) -> None:
    base, before = base_of(full.store, US), full.others()
    assert {name: len(items) for name, items in base.items()} == {"docs": 153, "kb": 152}
    preview = preview_of(full.store, base, US)
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    assert diffs(preview) == {"docs": (0, 0, 0, 153), "kb": (0, 0, 0, 152)}
    full.client.delete("1-docs", [1, UUID])
    full.client.upsert("1-docs", [point(5, 9.0), point(5_000)])
    full.client.set_payload("1-docs", {"i": 4}, [6])
    full.client.delete_collection("kb-old")
    assert diffs(preview) == {"docs": (2, 1, 2, 149), "kb": (152, 0, 0, 0)}
    assert preview.promote(writing(US), None, go_on) == {"docs": 5, "kb": 152, "cache": 152}
    assert diffs(preview) == {"docs": (0, 0, 0, 153), "kb": (0, 0, 0, 152)}
    assert full.others() == before and full.everything()["1-cache"] == {}
    assert set(preview.promote(writing(US), None, go_on).values()) == {0}


def test_live_points_have_the_fingerprints_of_the_base_where_the_distance_leaves_them_alone() -> None:
    rig = Rig()
    make(rig.client, "1-docs")
    rig.client.upsert("1-docs", [point(n, n / 3) for n in range(50)])
    base = base_of(rig.store, US)
    preview = preview_of(rig.store, base, US)
    rig.client.delete("1-docs", list(range(0, 50, 2)))
    preview.promote(writing(US), None, go_on)
    assert base_of(rig.store, US).fingerprints() == base.fingerprints()
    rig.store.close()


def test_a_collection_that_only_exists_now_goes_and_one_of_then_is_made_as_it_was(full: Rig) -> None:
    base = base_of(full.store, US)
    then = full.client.get_collection("kb-old").config.params.vectors
    full.collections["1"] = frozenset({"later"})
    full.client.delete_collection("kb-old")
    make(full.client, "kb-later")
    full.client.upsert("kb-later", [point(1)])
    preview = preview_of(full.store, base, US)
    before = full.everything()
    with pytest.raises(WrongState) as refused:
        preview.promote(writing(US), None, go_on)
    assert "relational store first" in refused.value.next_step and full.everything() == before
    full.collections["1"] = frozenset({"old"})
    assert preview.promote(writing(US), None, go_on)["kb"] == 153
    assert full.client.get_collection("kb-old").config.params.vectors == then
    assert not full.client.collection_exists("kb-later")


def test_facts_say_how_collections_were_made_and_another_one_is_refused(full: Rig) -> None:
    base = base_of(full.store, US)
    assert set(base.facts["collections"]) == {"1-docs", "kb-old"}
    assert base.facts["left_out"] == {"cache": "can be made again"}
    assert refusals(full.store.check_restore(US, base.shapes, base.facts)) == []
    full.client.delete_collection("1-docs")
    full.client.create_collection("1-docs", models.VectorParams(size=9, distance=models.Distance.DOT))
    strange = {**base.shapes, "x": base.shapes["docs"]}
    found = refusals(full.store.check_restore(US, strange, base.facts))
    assert {one.code for one in found} == {"qdrant.model-mismatch", "qdrant.unmapped"}


def test_a_set_that_only_the_log_has_because_it_can_be_made_again_is_no_obstacle(full: Rig) -> None:
    base = base_of(full.store, US)
    base.shapes["cache"], base["cache"] = opaque("cache"), []
    assert refusals(full.store.check_restore(US, base.shapes, base.facts)) == []
    assert preview_of(full.store, base, US).promote(writing(US), None, go_on)["cache"] == 152


def test_a_collection_nobody_knows_how_to_make_is_refused(full: Rig) -> None:
    base = base_of(full.store, US)
    preview = full.store.open_preview(US, "p", base.shapes, {})
    stray = Item("docs", keys.encode("unheard-of", 1), base["docs"][0].cells)
    with pytest.raises(IntegrityError, match="does not say how"):
        preview.load("docs", [stray], go_on)


def test_a_collection_without_a_rule_stops_a_base(full: Rig) -> None:
    make(full.client, "Forgotten")
    with pytest.raises(UnmappedData):
        base_of(full.store, US)


def test_a_preview_is_nobodys_data_and_goes_without_a_trace(full: Rig) -> None:
    before = full.everything(), full.store.inventory(US)
    preview = preview_of(full.store, base_of(full.store, US), US)
    preview_of(full.store, base_of(full.store, "12"), "12", "p_2")
    assert (full.everything(), full.store.inventory(US)) == before
    assert full.store.previews() == ["p_1", "p_2"]
    preview.discard()
    preview.discard()
    assert full.store.previews() == ["p_2"]
    full.store.remove(Feed("f", TenantId("12"), 9), go_on)
    assert full.store.previews() == []
    left = [one.name for one in full.client.get_collections().collections]
    assert [name for name in left if "preview" in name] == []


def test_erasing_a_tenant_erases_their_previews_and_nobody_elses(full: Rig) -> None:
    preview_of(full.store, base_of(full.store, US), US)
    preview_of(full.store, base_of(full.store, "12"), "12", "p_2")
    full.store.settle(Erasing("erase_1", TenantId("1"), 9), [], go_on)
    assert full.store.previews() == ["p_2"]


def test_a_set_is_loaded_anew_when_loading_was_cut_off(full: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.qdrant.preview.BATCH", 20)
    base = base_of(full.store, US)
    preview = preview_of(full.store, base, US)

    def cut() -> Iterator[Item]:
        yield from base["docs"][:70]
        yield Item("docs", keys.encode("1-docs", 77_777), base["docs"][0].cells)
        yield from base["docs"][70:110]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preview.load("docs", cut(), go_on)
    assert preview.load("docs", base["docs"], go_on) == 153
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()


def test_a_promotion_that_was_cut_off_is_ended_by_the_next(full: Rig) -> None:
    """The local mode lives in one process, so nothing can be killed: it is stopped before every write instead."""
    base, before = base_of(full.store, US), full.others()
    preview = preview_of(full.store, base, US)
    client, stopped = full.store.side.client, 0
    for nth in range(1, 40):
        full.client.upsert("1-docs", [point(n, 99.0) for n in range(150)] + [point(6_000)])
        calls = iter(range(1, 10**6))

        def stopping(*arguments: Any, calls: Any = calls, nth: int = nth, call: Any = client.upsert) -> None:
            if next(calls) == nth:
                raise KeyboardInterrupt
            call(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "upsert", stopping)
            try:
                preview.promote(writing(US), None, go_on)
            except KeyboardInterrupt:
                stopped += 1
            else:
                break
    assert stopped >= 3
    preview.promote(writing(US), None, go_on)
    assert diffs(preview) == {"docs": (0, 0, 0, 153), "kb": (0, 0, 0, 152)} and full.others() == before


def test_a_tenant_without_points_is_restored_to_nothing(full: Rig) -> None:
    empty, before = base_of(full.store, "nobody"), full.others()
    assert not any(empty.values())
    preview_of(full.store, empty, US).promote(writing(US), None, go_on)
    assert not full.store.holds(US) and full.others() == before


def test_an_older_driver_cannot_promote_and_a_strange_set_is_refused(full: Rig) -> None:
    preview = preview_of(full.store, base_of(full.store, US), US)
    preview.promote(writing(US, 7), ["docs"], go_on)
    full.client.delete("1-docs", [1])
    with pytest.raises(Fenced):
        preview.promote(writing(US, 6), ["docs"], go_on)
    with pytest.raises(UsageError):
        preview.promote(writing(US, 7), ["another"], go_on)
    assert diffs(preview)["docs"][0] == 1


def test_a_preview_can_be_asked_as_the_live_points_are(full: Rig) -> None:
    alone = point(4_000)
    alone.vector = {"text": [0.0, 0.0, 0.0, -1.0]}
    full.client.upsert("1-docs", [alone])
    preview = preview_of(full.store, base_of(full.store, US), US)
    assert isinstance(preview, Answers)
    key = keys.encode("1-docs", 4_000)
    answer = preview.nearest("docs", key, [0.0, 0.0, 0.0, -1.0], 3)
    assert answer[0] == key and len(answer) == 3
    assert preview.nearest("docs", key, [1.0] * 9, 3) == []
    assert preview.nearest("docs", keys.encode("never", 1), [1.0] * 4, 3) == []


def test_a_collection_of_somebody_else_is_never_promoted(full: Rig) -> None:
    base, before = base_of(full.store, US), full.everything()
    base["docs"].append(Item("docs", keys.encode("12-docs", 1), base["docs"][0].cells))
    with pytest.raises(WrongState):
        preview_of(full.store, base, US).promote(writing(US), None, go_on)
    assert full.everything() == before


@pytest.mark.parametrize("tenant", ["1", "12", *HOSTILE])
def test_points_of_a_shared_collection_come_back_and_those_of_others_stay(shared: Rig, tenant: str) -> None:
    base = base_of(shared.store, tenant)
    mine = {keys.decode(item.key)[1] for item in base["all"]}  # type: ignore[index]
    others = {id_: one for id_, one in shared.everything()["all"].items() if int(id_) not in mine}
    preview = preview_of(shared.store, base, tenant)
    assert mine and preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    shared.client.delete("all", list(mine)[:3])
    shared.client.upsert("all", [point(5_000, tenant=tenant)])
    assert preview.promote(writing(tenant), None, go_on) == {"all": len(list(mine)[:3]) + 1}
    assert base_of(shared.store, tenant).fingerprints() == base.fingerprints()
    assert {id_: one for id_, one in shared.everything()["all"].items() if int(id_) not in mine} == others


def test_an_id_that_is_somebody_elses_by_now_is_never_overwritten(shared: Rig) -> None:
    preview = preview_of(shared.store, base_of(shared.store, US), US)
    shared.client.upsert("all", [point(3, tenant="12")])
    shared.client.delete("all", [1])
    before = shared.everything()
    with pytest.raises(WrongState, match="another tenant"):
        preview.promote(writing(US), None, go_on)
    assert shared.everything() == before


def test_captured_keys_are_the_items_of_a_base(full: Rig) -> None:
    base = {item.key: item for items in base_of(full.store, US).values() for item in items}
    strange = [
        keys.encode("1-docs", 4_444),
        keys.encode("12-docs", 1),
        keys.encode("1-cache", 1),
        b"no key",
        b"\xff",
    ]
    captured = full.store.capture(US, [*base, *strange])
    assert captured[len(base) :] == [None] * 5
    for item in captured[: len(base)]:
        assert item is not None and (item.set, item.cells) == (base[item.key].set, base[item.key].cells)


def test_captured_keys_of_a_shared_collection_are_the_tenants(shared: Rig) -> None:
    captured = shared.store.capture(US, [keys.encode("all", 3), keys.encode("all", 20)])
    assert captured[0] is not None and captured[1] is None


@pytest.mark.parametrize(
    ("name", "cells"),
    [(keys.encode("1-docs", 1), ()), (keys.encode("1-docs", 1), (b"x",)), (b"no key", (b"",))],
)
def test_an_item_that_is_none_of_qdrant_is_refused(
    full: Rig, name: bytes, cells: tuple[bytes | None, ...]
) -> None:
    preview = full.store.open_preview(US, "p", base_of(full.store, US).shapes, {})
    with pytest.raises(IntegrityError):
        preview.load("docs", [Item("docs", name, cells)], go_on)
