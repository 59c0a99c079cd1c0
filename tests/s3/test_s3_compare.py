"""Comparing: every kind of change to the target is found, named, and mended; nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s3_pair import UPLOADS, US, MakePair, Pair, nothing
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.verification import DifferenceKind

KEY = "documents/12/a"
MIB = 1024 * 1024


def multipart(client: object, bucket: str, key: str, parts: list[bytes], **more: object) -> None:
    """An upload in parts, as applications make it; its ETag is no MD5 of the content."""
    call = client  # type: ignore[assignment]
    id = call.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]  # type: ignore[attr-defined]
    done = [
        {
            "PartNumber": n,
            "ETag": call.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=n, Body=part)["ETag"],  # type: ignore[attr-defined]
        }
        for n, part in enumerate(parts, 1)
    ]
    call.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=id, MultipartUpload={"Parts": done})  # type: ignore[attr-defined]


def replace(pair: Pair, body: bytes, **more: object) -> None:
    """Put another newest version in the place of the target's, so that there are as many as before."""
    newest = pair.green.head_object(Bucket=pair.names[1], Key=KEY)["VersionId"]
    pair.green.delete_object(Bucket=pair.names[1], Key=KEY, VersionId=newest)
    pair.put_there(KEY, body, **more)


def drop_version(pair: Pair, number: int) -> None:
    versions = pair.green.list_object_versions(Bucket=pair.names[1], Prefix=KEY)["Versions"]
    pair.green.delete_object(Bucket=pair.names[1], Key=KEY, VersionId=versions[-1 - number]["VersionId"])


def tag(pair: Pair, value: str) -> None:
    pair.green.put_object_tagging(
        Bucket=pair.names[1], Key=KEY, Tagging={"TagSet": [{"Key": "class", "Value": value}]}
    )


SAME = {"ContentType": "text/x", "Metadata": {"a": "1"}, "Tagging": "class=gold"}
MUTATIONS: dict[str, tuple[Callable[[Pair], object], DifferenceKind, tuple[str, ...]]] = {
    "a byte": (lambda p: replace(p, b"tw0", **SAME), DifferenceKind.DIFFERENT, ("content",)),
    "the length": (lambda p: replace(p, b"two+", **SAME), DifferenceKind.DIFFERENT, ("content",)),
    "metadata": (
        lambda p: replace(p, b"two", **{**SAME, "Metadata": {"a": "2"}}),
        DifferenceKind.DIFFERENT,
        ("metadata",),
    ),
    "content type": (
        lambda p: replace(p, b"two", **{**SAME, "ContentType": "text/y"}),
        DifferenceKind.DIFFERENT,
        ("content type",),
    ),
    "cache control": (
        lambda p: replace(p, b"two", **SAME, CacheControl="no-store"),
        DifferenceKind.DIFFERENT,
        ("cache control",),
    ),
    "a tag": (lambda p: tag(p, "silver"), DifferenceKind.DIFFERENT, ("tags",)),
    "no tag": (
        lambda p: p.green.delete_object_tagging(Bucket=p.names[1], Key=KEY),
        DifferenceKind.DIFFERENT,
        ("tags",),
    ),
    "a version less": (lambda p: drop_version(p, 0), DifferenceKind.DIFFERENT, ("versions",)),
    "deleted": (lambda p: p.green.delete_object(Bucket=p.names[1], Key=KEY), DifferenceKind.MISSING, ()),
    "a version more": (lambda p: p.put_there(KEY, b"two", **SAME), DifferenceKind.DIFFERENT, ("versions",)),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_change_on_the_target_is_found_named_and_mended(pair: Pair, mutation: str) -> None:
    pair.put(KEY, b"one", **SAME)
    pair.put(KEY, b"two", **SAME)
    pair.put("documents/12/other", b"untouched")
    pair.copy()
    assert pair.suspects() == {}
    change, kind, fields = MUTATIONS[mutation]
    change(pair)
    assert pair.suspects() == {"documents": frozenset({KEY.encode()})}
    (found,) = pair.differences()
    assert (found.set, found.key, found.kind, found.fields) == ("documents", KEY.encode(), kind, fields)
    assert pair.repair(KEY) == 1
    assert pair.suspects() == {}
    assert pair.history(1, KEY) == [b"one", b"two"]
    assert pair.repair(KEY) == 0


def test_an_old_version_with_other_content_is_found(pair: Pair) -> None:
    pair.put(KEY, b"one")
    pair.put(KEY, b"two")
    pair.copy()
    for version in pair.green.list_object_versions(Bucket=pair.names[1], Prefix=KEY)["Versions"]:
        pair.green.delete_object(Bucket=pair.names[1], Key=KEY, VersionId=version["VersionId"])
    pair.put_there(KEY, b"0ne")
    pair.put_there(KEY, b"two")
    assert pair.differences()[0].fields == ("versions",)
    pair.repair(KEY)
    assert pair.history(1, KEY) == [b"one", b"two"]


def test_extra_items_and_another_tenants_content_are_found(pair: Pair) -> None:
    pair.put(KEY, b"ours")
    pair.put("documents/12/b", b"ours, too")
    pair.put("documents/1/a", b"them")
    pair.copy()
    pair.put_there("documents/12/new", b"extra")
    pair.put_there("documents/1/a", b"a resident's, and nobody asks")
    replace(pair, b"them")
    found = {one.key_text: one.kind for one in pair.differences()}
    assert found == {KEY: DifferenceKind.DIFFERENT, "documents/12/new": DifferenceKind.EXTRA}
    assert pair.repair(*found) == 2
    assert pair.suspects() == {}
    there = pair.green.get_object(Bucket=pair.names[1], Key="documents/1/a")["Body"].read()
    assert there == b"a resident's, and nobody asks"


def test_keys_named_in_rows_are_compared_missing_and_extra(make_pair: MakePair) -> None:
    named = frozenset({"uploads/x", "uploads/y", "uploads/nowhere"})
    pair = make_pair(ids={US: TenantIds({}, {UPLOADS: named})})
    pair.put("uploads/x")
    pair.copy()
    assert pair.compare()["uploads"].items == 1
    pair.green.delete_object(Bucket=pair.names[1], Key="uploads/x")
    pair.put_there("uploads/y")
    found = {one.key_text: one.kind for one in pair.differences()}
    assert found == {"uploads/x": DifferenceKind.MISSING, "uploads/y": DifferenceKind.EXTRA}


def test_families_that_can_be_made_again_do_not_count(pair: Pair) -> None:
    pair.put("cache/12/a", b"new")
    pair.put_there("cache/12/a", b"stale")
    pair.put("thumbs/12/a", b"new")
    assert pair.source.sets(US) == ["documents", "kb", "uploads"]
    keys = {"cache": frozenset({b"cache/12/a"}), "thumbs": frozenset({b"thumbs/12/a"})}
    assert pair.source.compare_keys(pair.target, US, keys) == []
    assert pair.source.repair(pair.target, pair.feed, keys) == 2
    # What is not moved must not be served stale; what is warmed comes over.
    assert pair.keys_there() == ["thumbs/12/a"]


def test_an_upload_in_parts_is_compared_by_its_content(pair: Pair) -> None:
    whole = bytes(range(256)) * (6 * MIB // 256)
    multipart(pair.blue, pair.names[0], KEY, [whole[: 5 * MIB], whole[5 * MIB :]], ContentType="x/y")
    pair.put_there(KEY, whole, ContentType="x/y")
    here, there = (
        client.head_object(Bucket=name, Key=KEY)["ETag"]
        for client, name in zip((pair.blue, pair.green), pair.names, strict=True)
    )
    assert here != there
    assert pair.suspects() == {}
    replace(pair, whole[:-1] + b"!", ContentType="x/y")
    assert pair.differences()[0].fields == ("content",)


def test_a_comparison_of_many_pages_misses_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.s3.listing.stacks.__kwdefaults__", {"page": 3, "after": ""})
    monkeypatch.setattr("tenant_lifecycle.stores.s3.compare.BATCH", 4)
    for n in range(10):
        for version in range(2):
            pair.put(f"documents/12/{n}", b"%d" % version)
    pair.delete("documents/12/5")
    pair.copy()
    assert pair.compare()["documents"].items == 9
    assert pair.suspects() == {}
    pair.put_there("documents/12/00", b"extra")
    pair.green.delete_object(Bucket=pair.names[1], Key="documents/12/9")
    pair.put("documents/12/7", b"newer")
    assert pair.suspects()["documents"] == {b"documents/12/00", b"documents/12/9", b"documents/12/7"}


def test_a_comparison_asks_whether_to_go_on(pair: Pair) -> None:
    pair.put(KEY)

    class Stop(Exception):
        pass

    def check() -> None:
        raise Stop

    with pytest.raises(Stop):
        pair.source.compare(pair.target, US, "documents", check)


def test_without_versions_the_current_state_counts(make_pair: MakePair) -> None:
    pair = make_pair(versioned=(True, False))
    pair.put(KEY, b"one")
    pair.put(KEY, b"two")
    pair.put("documents/12/gone")
    pair.delete("documents/12/gone")
    pair.copy()
    assert pair.history(1, KEY) == [b"two"]
    assert pair.suspects() == {}
    pair.put(KEY, b"three")
    assert pair.suspects() == {"documents": frozenset({KEY.encode()})}
    pair.delete(KEY)
    assert pair.repair(KEY) == 1
    assert pair.keys_there() == []
    assert pair.source.compare(pair.target, US, "documents", nothing).suspects == {}
