"""A tenant's objects in a base, in a preview, and live again: exact, versions kept, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyed_backup import FINGERPRINTS, base_of, diffs, go_on, preview_of, writing
from s3_pair import THEM, UPLOADS, US, MakePair, Pair
from tenant_lifecycle.errors import (
    Fenced,
    IntegrityError,
    UnmappedData,
    UnsupportedByStore,
    UsageError,
    WrongState,
)
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import PART_BYTES, Held, is_part, items_of
from tenant_lifecycle.model.backup.shape import opaque
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.stores.backing import Backs, Captures, CapturesBig, Clocked, Previews, Remembers
from tenant_lifecycle.stores.erasing import Erasing
from tenant_lifecycle.stores.s3.owned import own_place

HOSTILE = ["x'; DROP", "*", "?", "[a-z]", "{1}", "a/b", "a//b", "ü☃", " ", "a+b%20c", "previewtest"]
Stacks = dict[str, list[tuple[str, bool, str]]]


def stacks(pair: Pair, leave_out: tuple[str, ...] = ()) -> Stacks:
    """Everything in the bucket, versions and markers, but for ours and what is left out."""
    found: Stacks = {}
    for page in pair.blue.get_paginator("list_object_versions").paginate(Bucket=pair.names[0]):
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            if not one["Key"].startswith((".tenant-lifecycle/", *leave_out)):
                found.setdefault(one["Key"], []).append(
                    (one["VersionId"], one["IsLatest"], one.get("ETag", ""))
                )
    return found


MINE = ("documents/12/", "kb/mine/", "thumbs/12/", "cache/12/", "uploads/mine")


def others(pair: Pair) -> Stacks:
    return stacks(pair, MINE)


@pytest.fixture(params=[True, False], ids=["versions", "no versions"])
def full(request: pytest.FixtureRequest, make_pair: MakePair) -> Pair:
    pair = make_pair(versioned=(request.param, False))
    fill(pair)
    return pair


@pytest.fixture
def kept(make_pair: MakePair) -> Pair:
    """A bucket that keeps versions."""
    pair = make_pair()
    fill(pair)
    return pair


def fill(pair: Pair) -> None:
    pair.ids[US] = TenantIds({"collection": frozenset({"mine"})}, {UPLOADS: frozenset({"uploads/mine.txt"})})
    for n, name in enumerate(HOSTILE):
        pair.put(f"documents/12/{name}", b"content %d" % n)
    pair.put(
        "documents/12/rich", b"<p>", ContentType="text/html", ContentEncoding="identity", CacheControl="no-store",
        ContentDisposition='attachment; filename="a b"', Metadata={"name": "=?utf-8?b?w7w=?=", "b": "x"},
        Tagging="kind=report&owner=a%20b", Expires="2030-01-01",
    )  # fmt: skip
    pair.put("documents/12/empty", b"")
    pair.put("documents/12/overwritten", b"one")
    pair.put("documents/12/overwritten", b"two")
    pair.put("documents/12/deleted", b"gone")
    pair.delete("documents/12/deleted")
    pair.put("documents/12/" + "k" * 1_000, b"a long name")
    pair.put("kb/mine/chunk", b"mine")
    pair.put("uploads/mine.txt", b"named in a row")
    pair.put("thumbs/12/a", b"again")
    pair.put("cache/12/a", b"again")
    for key in (
        "documents/1/a",
        "documents/120/a",
        "kb/theirs/a",
        "uploads/theirs.txt",
        "public/a",
        "cache/1/x",
    ):
        pair.put(key, b"theirs")


def test_the_store_has_the_abilities(pair: Pair) -> None:
    abilities = (Backs, Captures, CapturesBig, Previews, Remembers, Clocked)
    assert all(isinstance(pair.source, ability) for ability in abilities)


def test_a_preview_holds_exactly_what_the_base_had_and_a_promotion_brings_it_back(full: Pair) -> None:
    base, before = base_of(full.source, US), others(full)
    assert [len(base[name]) for name in ("documents", "kb", "uploads")] == [len(HOSTILE) + 4, 1, 1]
    preview = preview_of(full.source, base, US)
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    count = len(HOSTILE) + 4
    assert diffs(preview) == {"documents": (0, 0, 0, count), "kb": (0, 0, 0, 1), "uploads": (0, 0, 0, 1)}
    full.delete("documents/12/*")
    full.delete("documents/12/" + "k" * 1_000)
    full.put("documents/12/new", b"later")
    full.put("documents/12/a/b", b"encrypted")
    full.put("documents/12/rich", b"<p>", ContentType="text/plain")
    full.blue.put_object_tagging(
        Bucket=full.names[0], Key="documents/12/empty", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    )
    assert diffs(preview)["documents"] == (2, 1, 3, count - 5)
    changed = preview.promote(writing(US), None, go_on)
    assert changed == {"documents": 6, "kb": 0, "uploads": 0, "thumbs": 1, "cache": 1}
    assert base_of(full.source, US).fingerprints() == base.fingerprints() and others(full) == before
    assert set(preview.promote(writing(US), None, go_on).values()) == {0}


def test_what_a_promotion_replaces_stays_below_as_a_version(kept: Pair) -> None:
    preview = preview_of(kept.source, base_of(kept.source, US), US)
    kept.put("documents/12/a/b", b"work of a day")
    kept.put("documents/12/new", b"also")
    preview.promote(writing(US), None, go_on)
    assert kept.history(0, "documents/12/a/b") == [b"content 5", b"work of a day", b"content 5"]
    assert kept.history(0, "documents/12/new") == [b"also", None]


def test_facts_count_versions_and_say_what_is_left_out(kept: Pair) -> None:
    facts = base_of(kept.source, US).facts
    objects = len(HOSTILE) + 6
    # One that was overwritten, one that was deleted.
    assert (facts["versioning"], facts["objects"]) == ("Enabled", objects)
    assert (facts["versions"], facts["delete_markers"]) == (objects + 2, 1)
    assert facts["left_out"] == {"thumbs": "can be made again", "cache": "can be made again"}


def test_a_set_that_only_the_log_has_because_it_can_be_made_again_is_no_obstacle(kept: Pair) -> None:
    base = base_of(kept.source, US)
    base.shapes["cache"], base["cache"] = opaque("cache"), []
    assert refusals(kept.source.check_restore(US, base.shapes, base.facts)) == []
    assert preview_of(kept.source, base, US).promote(writing(US), None, go_on)["cache"] == 1


def test_an_object_without_a_rule_stops_a_base(full: Pair) -> None:
    full.put("forgotten/a")
    with pytest.raises(UnmappedData):
        base_of(full.source, US)


def test_a_preview_is_nobodys_data_and_goes_without_a_trace(full: Pair) -> None:
    before = stacks(full), full.source.inventory(US, exact=True), full.source.inventory(THEM, exact=True)
    preview = preview_of(full.source, base_of(full.source, US), US)
    preview_of(full.source, base_of(full.source, THEM), THEM, "p_2")
    after = stacks(full), full.source.inventory(US, exact=True), full.source.inventory(THEM, exact=True)
    assert after == before and base_of(full.source, US)
    assert full.source.previews() == ["p_1", "p_2"]
    preview.discard()
    preview.discard()
    assert full.source.previews() == ["p_2"]
    full.source.open_preview(THEM, "p_2", {}, {}).discard()
    left = [one["Key"] for one in full.blue.list_object_versions(Bucket=full.names[0]).get("Versions", [])]
    assert not [key for key in left if "preview" in key and key.startswith(".")]


def test_removing_a_tenant_removes_their_previews(full: Pair) -> None:
    preview_of(full.source, base_of(full.source, US), US)
    full.token = 9
    full.source.remove(full.feed, go_on)
    assert full.source.previews() == []


def test_erasing_a_tenant_erases_their_previews_and_nobody_elses(kept: Pair) -> None:
    preview_of(kept.source, base_of(kept.source, US), US)
    preview_of(kept.source, base_of(kept.source, THEM), THEM, "p_2")
    kept.source.settle(Erasing("erase_1", US, 9), [], go_on)
    assert kept.source.previews() == ["p_2"]
    page = kept.blue.list_object_versions(Bucket=kept.names[0], Prefix=own_place(US))
    assert [one["Key"].rpartition("/")[2] for one in page.get("Versions", [])] == ["token"]


def test_a_set_is_loaded_anew_when_loading_was_cut_off(full: Pair) -> None:
    base = base_of(full.source, US)
    preview = preview_of(full.source, base, US)

    def cut() -> Iterator[Item]:
        yield from base["documents"][:9]
        yield Item("documents", b"documents/12/stray", base["documents"][0].cells)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preview.load("documents", cut(), go_on)
    assert preview.load("documents", base["documents"], go_on) == len(base["documents"])
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()


def test_a_tenant_without_objects_is_restored_to_nothing(full: Pair) -> None:
    empty = base_of(full.source, "nobody")
    assert not any(empty.values())
    before = others(full)
    preview_of(full.source, empty, US).promote(writing(US), None, go_on)
    assert not full.source.holds(US) and others(full) == before


def test_only_the_sets_that_were_asked_for_are_promoted(full: Pair) -> None:
    preview = preview_of(full.source, base_of(full.source, US), US)
    full.put("kb/mine/chunk", b"changed")
    full.put("documents/12/*", b"changed")
    assert preview.promote(writing(US), ["kb"], go_on) == {"kb": 1}
    assert diffs(preview)["documents"][2] == 1 and full.source.inventory(US)[4].items == 1
    with pytest.raises(UsageError):
        preview.promote(writing(US), ["another"], go_on)


def test_an_older_driver_cannot_promote(full: Pair) -> None:
    preview = preview_of(full.source, base_of(full.source, US), US)
    preview.promote(writing(US, 7), ["kb"], go_on)
    full.put("kb/mine/chunk", b"changed")
    with pytest.raises(Fenced):
        preview.promote(writing(US, 6), ["kb"], go_on)
    assert diffs(preview)["kb"][2] == 1


def test_ids_of_both_moments_say_whose_an_object_is(full: Pair) -> None:
    base = base_of(full.source, US)
    then = full.ids[US]
    full.ids[US] = TenantIds({"collection": frozenset({"later"})}, {})
    full.delete("kb/mine/chunk")
    full.put("kb/later/chunk", b"later")
    preview = preview_of(full.source, base, US)
    with pytest.raises(WrongState) as refused:
        preview.promote(writing(US), None, go_on)
    assert "relational store first" in refused.value.next_step
    assert diffs(preview)["kb"] == (1, 1, 0, 0)
    full.ids[US] = then
    assert preview.promote(writing(US), None, go_on)["kb"] == 2
    assert base_of(full.source, US).fingerprints() == base.fingerprints()
    assert "kb/later/chunk" not in [key for key, some in stacks(full).items() if some[0][2]] or full.history(
        0, "kb/later/chunk"
    ) == [b"later", None]


def test_a_key_of_somebody_else_is_never_promoted(full: Pair) -> None:
    base, before = base_of(full.source, US), stacks(full)
    base["documents"].append(Item("documents", b"documents/1/a", base["documents"][0].cells))
    with pytest.raises(WrongState):
        preview_of(full.source, base, US).promote(writing(US), None, go_on)
    assert stacks(full) == before


def test_a_big_object_goes_in_parts_and_comes_back(full: Pair) -> None:
    content = os.urandom(2 * PART_BYTES + 12_345)
    full.put("documents/12/big", content, ContentType="video/mp4", Metadata={"a": "b"}, Tagging="t=1")
    full.put("documents/12/same", content)
    base = base_of(full.source, US)
    parts = [item for item in base["documents"] if is_part(item.key)]
    assert len(parts) == 3 and all(len(item.cells[0] or b"") <= PART_BYTES for item in base["documents"])
    preview = preview_of(full.source, base, US)
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    full.put(
        "documents/12/big", content[:-1] + b"x", ContentType="video/mp4", Metadata={"a": "b"}, Tagging="t=1"
    )
    full.delete("documents/12/same")
    assert diffs(preview)["documents"][:3] == (1, 0, 1)
    assert preview.promote(writing(US), None, go_on)["documents"] == 2
    assert base_of(full.source, US).fingerprints() == base.fingerprints()
    assert preview.promote(writing(US), None, go_on)["documents"] == 0
    preview.discard()
    uploads = full.blue.list_multipart_uploads(Bucket=full.names[0]).get("Uploads", [])
    assert not uploads


def test_a_big_item_that_lacks_a_part_is_refused_and_leaves_no_upload(full: Pair) -> None:
    header = ObjectHeader().written()
    *some, head = items_of("documents", b"documents/12/x", header, [b"x" * (PART_BYTES + 1)], 0)
    preview = full.source.open_preview(US, "p", base_of(full.source, US).shapes, {})
    with pytest.raises(IntegrityError, match="part is missing"):
        preview.load("documents", [some[0], head], go_on)
    assert not full.blue.list_multipart_uploads(Bucket=full.names[0]).get("Uploads", [])


@pytest.mark.parametrize("cells", [(), (None,), (b"",), (b"\0\0\0\2{}I",), (b"\0\0\0\0Ix",)])
def test_an_item_that_is_none_of_s3_is_refused(kept: Pair, cells: tuple[bytes | None, ...]) -> None:
    preview = kept.source.open_preview(US, "p", base_of(kept.source, US).shapes, {})
    with pytest.raises(IntegrityError):
        preview.load("documents", [Item("documents", b"documents/12/x", cells)], go_on)


def test_captured_keys_are_the_items_of_a_base(full: Pair) -> None:
    full.put("documents/12/big", b"x" * (PART_BYTES + 5))
    base = {item.key: item for name in base_of(full.source, US).values() for item in name}
    keys = [key for key in base if not is_part(key)]
    asked = [*keys, b"documents/12/absent", b"documents/12/deleted", b"documents/1/a", b"cache/12/a", b"\xff"]
    captured = full.source.capture(US, asked)
    assert captured[len(keys) :] == [None] * 5
    assert sum(not one.cells for one in captured if one is not None) == 1
    for key, item in zip(keys, captured, strict=False):
        *_, item = full.source.capture_big(US, key) if item is not None and not item.cells else [item]
        assert item is not None and (item.set, item.cells) == (base[key].set, base[key].cells)
    assert list(full.source.capture_big(US, b"documents/12/absent")) == []
    assert list(full.source.capture_big(US, b"documents/1/a")) == []


def test_every_state_between_two_looks_is_known_where_versions_are_kept(kept: Pair) -> None:
    kept.put("documents/12/busy", b"before")
    kept.put("documents/12/busy", b"one", Tagging="a=1")
    kept.delete("documents/12/busy")
    kept.put("documents/12/busy", b"two")
    found = kept.source.versions(US, b"documents/12/busy", 0)
    states = [None if one.item is None else Held.read(one.item.cells[0] or b"").content for one in found]
    assert states == [b"before", b"one", None, b"two"]
    tags = ObjectHeader.read(Held.read((found[1].item.cells if found[1].item else ())[0] or b"").header).tags
    assert tags == (("a", "1"),)
    assert all(one.not_before_us <= one.at_us for one in found)
    (last,) = kept.source.versions(US, b"documents/12/busy", time.time_ns() // 1_000 + 10**7)
    assert last.item is not None and found[-1].item is not None and last.item.cells == found[-1].item.cells
    assert kept.source.versions(US, b"documents/1/a", 0) == []
    assert kept.source.versions(US, b"documents/12/never", 0) == []


def test_a_bucket_that_keeps_no_versions_says_so(make_pair: MakePair) -> None:
    pair = make_pair(versioned=(False, False))
    pair.put("documents/12/a")
    with pytest.raises(UnsupportedByStore):
        pair.source.versions(US, b"documents/12/a", 0)


def test_an_object_is_read_whole_or_as_the_next_while_somebody_writes(make_pair: MakePair) -> None:
    pair = make_pair(versioned=(False, False))
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            pair.put("documents/12/busy", b"%d" % n * 1_000, Tagging=f"n={n}", Metadata={"n": str(n)})

    pair.put("documents/12/busy", b"0" * 1_000, Tagging="n=0", Metadata={"n": "0"})
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(8):
            (item,) = base_of(pair.source, US)["documents"]
            held = Held.read(item.cells[0] or b"")
            ((_, n),) = ObjectHeader.read(held.header).metadata
            assert held.content == n.encode() * 1_000
    finally:
        stop.set()
        writer.join()


def test_a_restore_that_cannot_be_is_refused_before(full: Pair) -> None:
    base = base_of(full.source, US)
    assert refusals(full.source.check_restore(US, base.shapes, base.facts)) == []
    strange = {**base.shapes, "another": next(iter(base.shapes.values()))}
    assert [one.code for one in refusals(full.source.check_restore(US, strange, base.facts))] == [
        "s3.unmapped"
    ]
    full.blue.create_bucket(Bucket="gone-" + full.names[0])
    full.source.area.bucket.name = "never-" + full.names[0]
    assert [one.code for one in refusals(full.source.check_restore(US, base.shapes, {}))] == ["s3.bucket"]


_STREAMER = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from s3_pair import make_pair_of, US
pair = make_pair_of((sys.argv[2], sys.argv[2]), (sys.argv[3], sys.argv[3]))
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
with pair.source.read_base(US, lambda: None) as reading:
    preview = pair.source.open_preview(US, "p_1", reading.shapes, reading.facts)
    before = peak()
    print(preview.load("documents", reading.items("documents"), lambda: None))
    preview.fingerprints(b"f" * 32)
    print(peak() - before)
"""


def test_an_object_of_100_mib_takes_a_bounded_part_of_memory(make_pair: MakePair) -> None:
    pair = make_pair(versioned=(False, False))
    pair.put("documents/12/big", os.urandom(2**20) * 100)
    endpoint = pair.source.area.bucket.settings.endpoint or ""
    arguments = [sys.executable, "-c", _STREAMER, str(Path(__file__).parent.parent), endpoint, pair.names[0]]
    count, grown = subprocess.run(arguments, stdout=subprocess.PIPE, check=True).stdout.split()
    assert int(count) == 1 and int(grown) < 60
