"""A tenant's vectors in a base, in a preview, and live again, through the official client and the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pinecone_pair import Pair, key, vector

from keyed_backup import FINGERPRINTS, base_of, diffs, go_on, preview_of, writing
from tenant_lifecycle.errors import Fenced, IntegrityError, StoreBusy, UnmappedData, UsageError, WrongState
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import opaque
from tenant_lifecycle.model.backup.vector_value import VectorValue
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import Family
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.backing import Answers, Backs, Captures, Clocked, Previews
from tenant_lifecycle.stores.erasing import Erasing
from tenant_lifecycle.stores.pinecone.patience import Patience

HOSTILE = ["'; DROP", "*", "?", "[a]", "{1}", "a/b", "a#b%20", "'\"\n", "~" * 500]
MINE = {"1", "kb-old", "1--b", "cache:1", "warm:1"}


def everything(pair: Pair) -> dict[tuple[str, str], Any]:
    """All vectors, but for ours."""
    found: dict[tuple[str, str], Any] = {}
    for space in pair.blue.list_namespaces_paginated(limit=100).namespaces:
        if not space.name.startswith("__tenant_lifecycle__"):
            for page in pair.blue.list(namespace=space.name):
                ids = [one.id for one in page.vectors]
                for at in range(0, len(ids), 20):
                    got = pair.blue.fetch(ids=ids[at : at + 20], namespace=space.name).vectors
                    found |= {(space.name, id_): one.to_dict() for id_, one in got.items()}
    return found


def others(pair: Pair) -> dict[tuple[str, str], Any]:
    return {place: one for place, one in everything(pair).items() if place[0] not in MINE}


@pytest.fixture
def full(pair: Pair) -> Pair:
    pair.collections["1"] = frozenset({"old"})
    pair.blue.upsert(vectors=[vector(id_, n / 7, text="ü☃") for n, id_ in enumerate(HOSTILE)], namespace="1")
    sparse = {"indices": [9, 2**32 - 1, 2], "values": [0.1, 0.2, 0.5]}
    rich = {"id": "rich", "values": [0.1, 2.0, -0.0, 1e-30], "sparse_values": sparse}
    rich["metadata"] = {"n": 3, "yes": True, "list": ["b", "a"], "t": ""}
    pair.blue.upsert(vectors=[rich, {"id": "bare", "values": [1.0, 0, 0, 0]}], namespace="1")
    pair.blue.upsert(vectors=[vector(f"v{n:03d}", n) for n in range(250)], namespace="1--b")
    for space in ("kb-old", "cache:1", "warm:1"):
        pair.blue.upsert(vectors=[vector("a")], namespace=space)
    for space in ("12", "kb-theirs", "cache:12", "global-x"):
        pair.blue.upsert(vectors=[vector("a", 7.0), vector("b")], namespace=space)
    return pair


def test_the_store_has_the_abilities(pair: Pair) -> None:
    assert all(isinstance(pair.source, ability) for ability in (Backs, Captures, Previews, Clocked))


def test_a_preview_holds_exactly_what_the_base_had_and_a_promotion_brings_it_back(full: Pair) -> None:
    base, before = base_of(full.source, "1"), everything(full)
    count = len(HOSTILE) + 2
    assert {name: len(items) for name, items in base.items()} == {"docs": count, "knowledge": 1, "parts": 250}
    preview = preview_of(full.source, base, "1")
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    assert diffs(preview)["docs"] == (0, 0, 0, count)
    full.blue.delete(ids=["*", "rich"], namespace="1")
    full.blue.upsert(vectors=[vector("new"), vector("a/b", 9.0)], namespace="1")
    full.blue.update(id="bare", set_metadata={"k": "v"}, namespace="1")
    full.blue.delete_namespace(name="kb-old")
    full.blue.upsert(vectors=[vector("x")], namespace="1--later")
    assert diffs(preview) == {
        "docs": (2, 1, 2, count - 4),
        "knowledge": (1, 0, 0, 0),
        "parts": (0, 1, 0, 250),
    }
    changed = preview.promote(writing("1"), None, go_on)
    assert changed == {"docs": 5, "knowledge": 1, "parts": 1, "answers": 1, "cache": 1}
    assert base_of(full.source, "1").fingerprints() == base.fingerprints()
    again = {place: one for place, one in before.items() if place[0] not in ("cache:1", "warm:1")}
    assert everything(full) == again
    assert set(preview.promote(writing("1"), None, go_on).values()) == {0}


def test_items_come_in_order_with_the_time_of_their_reading(full: Pair) -> None:
    ticks = iter(range(1_000, 10**6))
    full.source.clock = lambda: next(ticks)
    base = base_of(full.source, "1")
    for items in base.values():
        assert [one.key for one in items] == sorted(one.key for one in items)
        assert all(one.at_us > base.at_us for one in items)
    assert base.facts["index"]["values"] == "4 dimensions, cosine"
    assert base.facts["left_out"] == {"answers": "can be made again", "cache": "can be made again"}


def test_a_set_that_only_the_log_has_because_it_can_be_made_again_is_no_obstacle(full: Pair) -> None:
    base = base_of(full.source, "1")
    base.shapes["cache"], base["cache"] = opaque("cache"), []
    assert refusals(full.source.check_restore("1", base.shapes, base.facts)) == []  # type: ignore[arg-type]
    assert preview_of(full.source, base, "1").promote(writing("1"), None, go_on)["cache"] == 1


def test_a_base_reads_what_was_written_just_before_however_stale_reads_are(full: Pair) -> None:
    full.faults(stale_ms=300)
    full.blue.upsert(vectors=[vector("fresh", 42.0)], namespace="1")
    full.blue.delete(ids=["bare"], namespace="1")
    keys = {one.key for one in base_of(full.source, "1")["docs"]}
    assert key("1", "fresh") in keys and key("1", "bare") not in keys
    full.blue.upsert(vectors=[vector("fresh", 43.0)], namespace="1")
    (captured,) = full.source.capture("1", [key("1", "fresh")])  # type: ignore[arg-type]
    assert captured is not None and VectorValue.read(captured.cells[0] or b"").told()["n"] == 43.0


def test_a_whole_restore_is_exact_however_stale_reads_are(full: Pair) -> None:
    full.faults(stale_ms=150)
    base = base_of(full.source, "1")
    preview = preview_of(full.source, base, "1")
    full.blue.delete(ids=["rich"], namespace="1")
    full.blue.upsert(vectors=[vector("bare", 9.0)], namespace="1")
    assert preview.promote(writing("1"), ["docs"], go_on) == {"docs": 2}
    assert base_of(full.source, "1").fingerprints() == base.fingerprints()


def test_reads_that_stay_stale_stop_a_base(full: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tenant_lifecycle.stores.pinecone.backup.Patience", lambda **_: Patience(settle_s=0.3)
    )
    full.faults(stale_ms=60_000)
    full.blue.upsert(vectors=[vector("fresh")], namespace="1")
    with pytest.raises(StoreBusy):
        base_of(full.source, "1")


def test_a_namespace_without_a_rule_stops_a_base(new_pair: Callable[..., Pair]) -> None:
    pair = new_pair(families={"docs": Family(Template.parse("t-{tenant}"))})
    pair.blue.upsert(vectors=[vector("a")], namespace="forgotten")
    with pytest.raises(UnmappedData):
        base_of(pair.source, "1")


def test_a_preview_is_nobodys_data_and_goes_without_a_trace(full: Pair) -> None:
    before = everything(full), full.source.inventory("1", exact=True), full.source.tenants()  # type: ignore[arg-type]
    preview = preview_of(full.source, base_of(full.source, "1"), "1")
    preview_of(full.source, base_of(full.source, "12"), "12", "p_2")
    after = everything(full), full.source.inventory("1", exact=True), full.source.tenants()  # type: ignore[arg-type]
    assert after == before
    assert full.source.previews() == ["p_1", "p_2"]
    preview.discard()
    preview.discard()
    assert full.source.previews() == ["p_2"]
    full.source.remove(full.feed("12", token=9), go_on)
    assert full.source.previews() == []
    left = [one.name for one in full.blue.list_namespaces_paginated(limit=100).namespaces]
    assert [name for name in left if "preview" in name] == []


def test_erasing_a_tenant_erases_their_previews_and_nobody_elses(full: Pair) -> None:
    preview_of(full.source, base_of(full.source, "1"), "1")
    preview_of(full.source, base_of(full.source, "12"), "12", "p_2")
    full.source.settle(Erasing("erase_1", TenantId("1"), 9), [], go_on)
    assert full.source.previews() == ["p_2"]


def test_a_set_is_loaded_anew_when_loading_was_cut_off(full: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.pinecone.preview.WAITING", 20)
    base = base_of(full.source, "1")
    preview = preview_of(full.source, base, "1")

    def cut() -> Iterator[Item]:
        yield from base["parts"][:100]
        yield Item("parts", key("1--stray", "x"), base["parts"][0].cells)
        yield from base["parts"][100:130]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preview.load("parts", cut(), go_on)
    assert preview.load("parts", base["parts"], go_on) == 250
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()


def test_a_tenant_without_vectors_is_restored_to_nothing(full: Pair) -> None:
    empty, before = base_of(full.source, "nobody"), others(full)
    assert not any(empty.values())
    preview_of(full.source, empty, "1").promote(writing("1"), None, go_on)
    assert not full.source.holds("1") and others(full) == before  # type: ignore[arg-type]


def test_an_older_driver_cannot_promote_and_a_strange_set_is_refused(full: Pair) -> None:
    preview = preview_of(full.source, base_of(full.source, "1"), "1")
    preview.promote(writing("1", 7), ["docs"], go_on)
    full.blue.delete(ids=["bare"], namespace="1")
    with pytest.raises(Fenced):
        preview.promote(writing("1", 6), ["docs"], go_on)
    with pytest.raises(UsageError):
        preview.promote(writing("1", 7), ["another"], go_on)
    assert diffs(preview)["docs"][0] == 1


def test_ids_of_both_moments_say_whose_a_namespace_is(full: Pair) -> None:
    base = base_of(full.source, "1")
    full.collections["1"] = frozenset({"later"})
    full.blue.delete_namespace(name="kb-old")
    full.blue.upsert(vectors=[vector("a")], namespace="kb-later")
    preview = preview_of(full.source, base, "1")
    before = everything(full)
    with pytest.raises(WrongState) as refused:
        preview.promote(writing("1"), None, go_on)
    assert "relational store first" in refused.value.next_step and everything(full) == before
    full.collections["1"] = frozenset({"old"})
    assert preview.promote(writing("1"), None, go_on)["knowledge"] == 2
    assert ("kb-old", "a") in everything(full) and ("kb-later", "a") not in everything(full)


def test_a_preview_can_be_asked_as_the_live_vectors_are(full: Pair) -> None:
    full.faults(stale_ms=200)
    full.blue.upsert(vectors=[{"id": "alone", "values": [0.0, -1.0, 0.0, 0.0]}], namespace="1")
    preview = preview_of(full.source, base_of(full.source, "1"), "1")
    assert isinstance(preview, Answers)
    answer = preview.nearest("docs", key("1", "rich"), [0.0, -2.0, 0.0, 0.0], 3)
    assert answer[0] == key("1", "alone") and len(answer) == 3
    assert preview.nearest("docs", key("never", "x"), [0.0, 1.0, 0.0, 0.0], 3) == []


def test_a_namespace_of_somebody_else_is_never_promoted(full: Pair) -> None:
    base, before = base_of(full.source, "1"), everything(full)
    base["docs"].append(Item("docs", key("12", "a"), base["docs"][0].cells))
    with pytest.raises(WrongState):
        preview_of(full.source, base, "1").promote(writing("1"), None, go_on)
    assert everything(full) == before


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        (key("1", "x"), ()),
        (key("1", "x"), (None,)),
        (key("1", "x"), (b"\0\0\0\2{}",)),
        (b"no key", (b"\0\0\0\2[]",)),
    ],
)
def test_an_item_that_is_none_of_pinecone_is_refused(
    full: Pair, name: bytes, cells: tuple[bytes | None, ...]
) -> None:
    preview = full.source.open_preview("1", "p", base_of(full.source, "1").shapes, {})  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        preview.load("docs", [Item("docs", name, cells)], go_on)


def test_captured_keys_are_the_items_of_a_base(full: Pair) -> None:
    base = {item.key: item for items in base_of(full.source, "1").values() for item in items}
    asked = [*base, key("1", "absent"), key("12", "a"), key("cache:1", "a"), b"no key", b"\xff"]
    captured = full.source.capture("1", asked)  # type: ignore[arg-type]
    assert captured[len(base) :] == [None] * 5
    for item in captured[: len(base)]:
        assert item is not None and (item.set, item.cells) == (base[item.key].set, base[item.key].cells)


def test_an_index_with_other_vectors_is_refused(full: Pair, new_pair: Callable[..., Pair]) -> None:
    base = base_of(full.source, "1")
    assert refusals(full.source.check_restore("1", base.shapes, base.facts)) == []  # type: ignore[arg-type]
    other = new_pair(sparse=False)
    found = refusals(other.source.check_restore("1", base.shapes, base.facts))  # type: ignore[arg-type]
    assert [one.code for one in found] == ["pinecone.model-mismatch"]
    facts = {"index": {**base.facts["index"], "values": "1536 dimensions, dotproduct"}}
    found = refusals(full.source.check_restore("1", {**base.shapes, "x": base.shapes["docs"]}, facts))  # type: ignore[arg-type]
    assert {one.code for one in found} == {"pinecone.model-mismatch", "pinecone.unmapped"}
