"""Carrying touched keys over: versions made meanwhile, lost races, deletes, and who may write."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from s3_pair import THEM, US, MakePair, Pair, nothing
from tenant_lifecycle.errors import Fenced, StoreBusy
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.s3 import token
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.owned import own_place

KEY = "documents/12/a"


def test_versions_made_during_the_move_are_carried_one_by_one(pair: Pair) -> None:
    pair.put(KEY, b"before")
    pair.copy()
    for body in (b"one", b"two", b"three"):
        pair.put(KEY, body)
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == [b"before", b"one", b"two", b"three"]


def test_a_mirrored_write_that_was_lost_is_put_in_its_place(pair: Pair) -> None:
    pair.put(KEY, b"one")
    pair.copy()
    pair.put(KEY, b"two")
    # The application's own mirroring failed for two and worked for three.
    pair.put(KEY, b"three")
    pair.put_there(KEY, b"three")
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == [b"one", b"two", b"three"]
    assert pair.suspects() == {}


def test_a_mirrored_write_that_worked_is_not_repeated(pair: Pair) -> None:
    pair.put(KEY, b"one")
    pair.put_there(KEY, b"one")
    assert pair.repair(KEY) == 0
    assert pair.history(1, KEY) == [b"one"]


def test_deleted_undeleted_and_purged_objects_follow(pair: Pair) -> None:
    pair.put(KEY, b"one")
    pair.copy()
    pair.delete(KEY)
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == [b"one", None]
    marker = pair.blue.list_object_versions(Bucket=pair.names[0], Prefix=KEY)["DeleteMarkers"][0]
    pair.blue.delete_object(Bucket=pair.names[0], Key=KEY, VersionId=marker["VersionId"])
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == [b"one"]
    for version in pair.blue.list_object_versions(Bucket=pair.names[0], Prefix=KEY)["Versions"]:
        pair.blue.delete_object(Bucket=pair.names[0], Key=KEY, VersionId=version["VersionId"])
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == []
    assert pair.suspects() == {}


def test_tags_that_changed_or_went_follow_without_a_new_version(pair: Pair) -> None:
    pair.put(KEY, b"one", Tagging="a=1")
    pair.copy()
    place = {"Bucket": pair.names[0], "Key": KEY}
    pair.blue.put_object_tagging(**place, Tagging={"TagSet": [{"Key": "b", "Value": "x y"}]})
    assert pair.repair(KEY) == 1
    assert pair.suspects() == {}
    pair.blue.delete_object_tagging(**place)
    assert pair.repair(KEY) == 1
    assert pair.suspects() == {}
    assert pair.history(1, KEY) == [b"one"]


def test_an_expired_old_version_goes_on_the_target_too(pair: Pair) -> None:
    first = pair.put(KEY, b"one")
    pair.put(KEY, b"two")
    pair.copy()
    pair.blue.delete_object(Bucket=pair.names[0], Key=KEY, VersionId=first)
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == [b"two"]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_on_both_sides_repair_makes_them_equal(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(6):
        for _ in range(chance.randrange(1, 4)):
            side, name = chance.choice([(pair.blue, pair.names[0]), (pair.green, pair.names[1])])
            if chance.random() < 0.7:
                side.put_object(Bucket=name, Key=KEY, Body=chance.choice([b"x", b"y"]), Metadata={"m": "1"})
            elif chance.random() < 0.5:
                side.delete_object(Bucket=name, Key=KEY)
            else:
                page = side.list_object_versions(Bucket=name, Prefix=KEY)
                for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])][:1]:
                    side.delete_object(Bucket=name, Key=KEY, VersionId=one["VersionId"])
        pair.repair(KEY)
        assert pair.suspects() == {}
        here, there = pair.history(0, KEY), pair.history(1, KEY)
        if here != [None]:
            assert there == here
        assert pair.repair(KEY) == 0


def test_of_a_long_history_the_newest_versions_count(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.s3.listing.HISTORY_LIMIT", 3)
    for n in range(5):
        pair.put(KEY, b"%d" % n)
    pair.copy()
    assert pair.history(1, KEY) == [b"2", b"3", b"4"]
    assert pair.suspects() == {}
    pair.put(KEY, b"5")
    assert pair.suspects() == {"documents": frozenset({KEY.encode()})}
    assert pair.repair(KEY) == 1
    # What is older than the limit stays on the target, and does not count.
    assert pair.history(1, KEY) == [b"2", b"3", b"4", b"5"]
    assert pair.suspects() == {}
    assert pair.repair(KEY) == 0


def test_a_longer_key_is_not_taken_for_the_one_asked(pair: Pair) -> None:
    pair.put(KEY + "b", b"longer")
    pair.put_there(KEY, b"extra")
    assert pair.repair(KEY) == 1
    assert pair.history(1, KEY) == []
    (found,) = pair.source.compare_keys(pair.target, US, {"documents": frozenset({(KEY + "b").encode()})})
    assert found.kind == "missing on target"


def test_our_own_objects_are_nobodys_whatever_a_template_says(make_pair: MakePair) -> None:
    tenant = TenantId(".tenant-lifecycle")
    pair = make_pair(keys=KeyMap({"all": Family(Template.parse("{tenant}/*"))}), tenant=tenant)
    pair.put(".tenant-lifecycle/x", b"looks like ours")
    assert pair.copy() == 0
    assert pair.source.set_of(tenant, b".tenant-lifecycle/x") is None
    token = own_place(tenant) + "token"
    assert pair.green.get_object(Bucket=pair.names[1], Key=token)["Body"].read() == b'{"token": 1}'
    assert pair.target.remove(pair.feed, nothing) == {"all": 0}
    assert pair.green.get_object(Bucket=pair.names[1], Key=token)
    codes = [one.code for one in pair.source.preflight(pair.target, tenant)]
    assert "s3.reserved" in codes


def test_other_peoples_keys_are_left_alone(pair: Pair) -> None:
    pair.put("documents/1/a", b"theirs")
    pair.put_there("documents/1/b", b"a resident's")
    keys = frozenset({b"documents/1/a", b"documents/1/b", b".tenant-lifecycle/x", b"nobody's"})
    assert pair.source.repair(pair.target, pair.feed, {"documents": keys}) == 0
    assert pair.keys_there() == ["documents/1/b"]
    assert pair.source.set_of(US, b"documents/1/a") is None
    assert pair.source.set_of(THEM, b"documents/1/a") == "documents"
    assert pair.source.set_of(US, b"documents/12/\xff") is None
    assert pair.source.set_of(US, b"cache/12/x") == "cache"


def test_an_older_token_is_refused_and_changes_nothing(pair: Pair) -> None:
    pair.put(KEY, b"one")
    pair.token = 2
    pair.copy()
    pair.put(KEY, b"two")
    old = Feed("f1", US, 1)
    keys = {"documents": frozenset({KEY.encode()})}
    with pytest.raises(Fenced):
        pair.source.repair(pair.target, old, keys)
    parts = pair.source.split(pair.target, pair.feed)
    with pytest.raises(Fenced):
        pair.source.copy_part(pair.target, old, parts[0], nothing)
    with pytest.raises(Fenced):
        pair.source.split(pair.target, old)
    with pytest.raises(Fenced):
        pair.target.remove(old, nothing)
    assert pair.history(1, KEY) == [b"one"]
    # Another tenant's driver has a token of its own.
    assert pair.source.repair(pair.target, Feed("f2", THEM, 1), {}) == 0
    assert pair.source.split(pair.target, Feed("f2", THEM, 1)) == []


def test_a_driver_that_slept_for_long_looks_at_the_token_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(token.time, "monotonic", lambda: clock[0])
    pair.put(KEY, b"one")
    assert pair.repair(KEY) == 1
    newer = Feed("f1", US, 2)
    pair.source.repair(pair.target, newer, {})
    pair.target._guard(newer).check()
    pair.put(KEY, b"two")
    clock[0] += token.FRESH_S + 0.1
    with pytest.raises(Fenced):
        pair.repair(KEY)
    assert pair.history(1, KEY) == [b"one"]


def interrupt(monkeypatch: pytest.MonkeyPatch, operation: str, act: Any) -> None:
    """Have ``act`` done just before the next request of that operation to the target."""
    real = Bucket.call
    left = itertools.count()

    def call(self: Bucket, asked: str, **parameters: Any) -> Any:
        if (
            asked == operation
            and self.store.startswith("green/")
            and parameters["Key"] == KEY
            and next(left) == 0
        ):
            act()
        return real(self, asked, **parameters)

    monkeypatch.setattr(Bucket, "call", call)


def test_what_somebody_wrote_in_between_is_not_overwritten(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.put(KEY, b"one")
    pair.copy()
    pair.put(KEY, b"two")

    def newer() -> None:
        # While this driver slept, two and three were written and carried by another one.
        pair.put(KEY, b"three")
        pair.put_there(KEY, b"two")
        pair.put_there(KEY, b"three")

    interrupt(monkeypatch, "put_object", newer)
    pair.repair(KEY)
    assert pair.history(1, KEY) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("apart", [True, False])
def test_an_object_that_appeared_meanwhile_is_not_overwritten(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    pair = make_pair(apart=apart)
    pair.put(KEY, b"one")
    interrupt(monkeypatch, "put_object", lambda: pair.put_there(KEY, b"one"))
    assert pair.repair(KEY) == 0
    assert pair.history(1, KEY) == [b"one"]


def test_a_delete_does_not_take_what_was_written_meanwhile(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.put(KEY, b"one")
    pair.copy()
    pair.delete(KEY)

    def again() -> None:
        pair.put(KEY, b"two")
        pair.put_there(KEY, b"two")

    interrupt(monkeypatch, "delete_object", again)
    pair.repair(KEY)
    assert pair.green.get_object(Bucket=pair.names[1], Key=KEY)["Body"].read() == b"two"
    assert pair.suspects() == {}


def test_a_key_that_changes_all_the_time_is_busy(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.put(KEY, b"one")
    real = Bucket.call

    def call(self: Bucket, asked: str, **parameters: Any) -> Any:
        if asked == "put_object" and parameters["Key"] == KEY:
            pair.put_there(KEY, random.randbytes(8))
        return real(self, asked, **parameters)

    monkeypatch.setattr(Bucket, "call", call)
    with pytest.raises(StoreBusy):
        pair.repair(KEY)


def test_a_few_keys_take_a_few_requests(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.put(KEY, b"one")
    pair.put("documents/12/b", b"one")
    pair.copy()
    pair.suspects()
    asked: list[str] = []
    real = Bucket.call

    def call(self: Bucket, operation: str, **parameters: Any) -> Any:
        asked.append(f"{self.store[:4]} {operation}")
        return real(self, operation, **parameters)

    monkeypatch.setattr(Bucket, "call", call)
    assert pair.source.compare_keys(pair.target, US, {"documents": frozenset({KEY.encode()})}) == []
    # Lists and tags; the versions themselves were looked at before.
    assert sorted(asked) == [
        "blue get_object_tagging", "blue list_object_versions", "gree get_object_tagging", "gree list_object_versions",
    ]  # fmt: skip
    asked.clear()
    pair.put(KEY, b"a new one")
    assert pair.repair(KEY) == 1
    assert len([one for one in asked if one.startswith("blue")]) <= 4
    assert len([one for one in asked if one.startswith("gree")]) <= 4
