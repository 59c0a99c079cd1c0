"""Copying: what arrives is what was there, in parts, any number of times."""

from __future__ import annotations

import pytest

from s3_pair import THEM, UPLOADS, US, MakePair, Pair, nothing
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.stores.base import Copies, Digests, Keyed, Prepares, Removes, Store


def test_the_store_has_its_abilities(pair: Pair) -> None:
    for ability in (Store, Prepares, Copies, Digests, Keyed, Removes):
        assert isinstance(pair.source, ability)


@pytest.mark.parametrize("apart", [True, False])
def test_everything_of_an_object_arrives(make_pair: MakePair, apart: bool) -> None:
    pair = make_pair(apart=apart)
    properties = {
        "ContentType": "text/x-us", "ContentEncoding": "gzip", "ContentDisposition": 'attachment; filename="ä"',
        "ContentLanguage": "de", "CacheControl": "no-store", "Metadata": {"owner": "=?UTF-8?B?w7w=?=", "n": "1"},
    }  # fmt: skip
    properties["ContentDisposition"] = 'attachment; filename="a b"'
    pair.put("documents/12/a", b"content", Tagging="k=v&class=gold", **properties)
    assert pair.copy() == 1
    there = pair.green.get_object(Bucket=pair.names[1], Key="documents/12/a")
    assert there["Body"].read() == b"content"
    assert {name: there[name] for name in properties} == properties
    tags = pair.green.get_object_tagging(Bucket=pair.names[1], Key="documents/12/a")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"k": "v", "class": "gold"}
    assert pair.suspects() == {}


def test_versions_arrive_in_order_and_deleted_objects_stay_deleted(pair: Pair) -> None:
    for body in (b"one", b"two", b"three"):
        pair.put("documents/12/a", body)
    pair.put("documents/12/gone", b"was here")
    pair.delete("documents/12/gone")
    pair.copy()
    assert pair.history(1, "documents/12/a") == [b"one", b"two", b"three"]
    assert pair.history(1, "documents/12/gone") == [b"was here", None]
    assert pair.suspects() == {}


def test_a_part_done_twice_makes_no_version_twice(pair: Pair) -> None:
    for body in (b"one", b"two"):
        pair.put("documents/12/a", body)
    parts = pair.source.split(pair.target, pair.feed)
    pair.copy()
    # The done-mark was lost, as if the driver had died before it.
    for one in pair.green.list_objects_v2(Bucket=pair.names[1], Prefix=".tenant-lifecycle/")["Contents"]:
        if "/done/" in one["Key"]:
            pair.green.delete_object(Bucket=pair.names[1], Key=one["Key"])
    assert pair.source.copy_part(pair.target, pair.feed, parts[0], nothing).items == 1
    assert pair.history(1, "documents/12/a") == [b"one", b"two"]


def test_parts_are_cut_once_and_say_what_is_done(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.s3.copy.PART_KEYS", 3)
    for n in range(7):
        pair.put(f"documents/12/{n}")
    parts = pair.source.split(pair.target, pair.feed)
    assert [part.items for part in parts] == [3, 3, 1]
    pair.source.copy_part(pair.target, pair.feed, parts[1], nothing)
    # Written after the cut: the last part is open.
    pair.put("documents/12/9")
    again = pair.source.split(pair.target, pair.feed)
    assert [part.name for part in again] == [part.name for part in parts]
    assert [part.done for part in again] == [False, True, False]
    pair.copy()
    assert pair.keys_there() == [*(f"documents/12/{n}" for n in range(7)), "documents/12/9"]


def test_families_by_id_sets_and_by_rows_move_and_other_tenants_stay(make_pair: MakePair) -> None:
    ids = {
        US: TenantIds(
            {"collection": frozenset({"7", "a b"})}, {UPLOADS: frozenset({"uploads/x", "uploads/absent"})}
        ),
        THEM: TenantIds({"collection": frozenset({"70"})}, {UPLOADS: frozenset({"uploads/y"})}),
    }
    pair = make_pair(ids=ids)
    ours = ["cache/12/c", "documents/12/d", "kb/7/d", "kb/a b/d", "thumbs/12/t", "uploads/x"]
    for key in [*ours, "documents/1/d", "documents/123/d", "kb/70/d", "uploads/y", "public/p"]:
        pair.put(key, key.encode())
    pair.copy()
    assert pair.keys_there() == ours[1:]
    assert set(pair.compare()) == {"documents", "kb", "uploads"}
    assert pair.suspects() == {}


HOSTILE = [
    " ", "a b", "a+b", "a%2Fb", "100%", "#x?y=z&w", "ünï/✓/😀", "../../up", ".", "..", "x//y", "trailing/", "*", "[a]",
    "q\"'<&>", "back\\slash", "\ttab", "{tenant}", "${x}", "$(id)", ";--",
]  # fmt: skip


@pytest.mark.parametrize("apart", [True, False])
def test_hostile_keys_arrive_and_are_compared(make_pair: MakePair, apart: bool) -> None:
    pair = make_pair(apart=apart)
    for key in HOSTILE:
        pair.put(f"documents/12/{key}", key.encode(), Metadata={"k": "v"})
    assert pair.copy() == len(HOSTILE)
    assert sorted(pair.keys_there()) == sorted(f"documents/12/{key}" for key in HOSTILE)
    assert pair.suspects() == {}
    for key in HOSTILE:
        pair.put(f"documents/12/{key}", b"new")
    assert pair.suspects() == {"documents": frozenset(f"documents/12/{key}".encode() for key in HOSTILE)}
    assert pair.repair(*(f"documents/12/{key}" for key in HOSTILE)) == len(HOSTILE)
    assert pair.suspects() == {}


@pytest.mark.parametrize("tenant", ["a b", "a/b", "*", "ü%+#?", "..", "1", "q\"'\\"])
def test_hostile_tenants_move_alone(make_pair: MakePair, tenant: str) -> None:
    from tenant_lifecycle.model.names import TenantId

    pair = make_pair(tenant=TenantId(tenant))
    pair.put(f"documents/{tenant}/a", b"ours")
    for other in ("12", "a", "b", "x", "a bc"):
        pair.put(f"documents/{other}/a", b"theirs")
    assert pair.copy() == 1
    assert pair.keys_there() == [f"documents/{tenant}/a"]
    assert pair.suspects() == {}
    assert pair.source.remove(pair.feed, nothing)["documents"] == 1
    left = pair.blue.list_objects_v2(Bucket=pair.names[0], Prefix="documents/")["KeyCount"]
    assert left == 5
