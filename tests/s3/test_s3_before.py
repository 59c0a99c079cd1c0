"""Before a move: what the probe and the pre-flight find, what is created, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from s3_pair import KEYS, THEM, UPLOADS, US, MakePair, Pair, settings
from tenant_lifecycle.errors import ConfigError, StoreRejected, UnmappedData
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.registry import open_store
from tenant_lifecycle.stores.s3 import unmapped
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.store import S3Store


def refusals(findings: list[Finding]) -> set[str]:
    return {one.code for one in findings if one.severity is Severity.REFUSAL}


def warnings(findings: list[Finding]) -> set[str]:
    return {one.code for one in findings if one.severity is Severity.WARNING}


def refuse(monkeypatch: pytest.MonkeyPatch, *operations: str, code: str = "AccessDenied") -> None:
    """Have the service say no; the emulator grants everything."""
    from botocore.exceptions import ClientError

    real = Bucket._call

    def call(self: Bucket, operation: str) -> Any:
        if operation not in operations:
            return real(self, operation)

        def refused(**_: object) -> Any:
            raise ClientError({"Error": {"Code": code, "Message": "documents/12/secret"}}, operation)

        return refused

    monkeypatch.setattr(Bucket, "_call", call)


def test_a_bucket_in_order_is_found_so(pair: Pair) -> None:
    findings = pair.source.probe()
    assert {one.severity for one in findings} == {Severity.OK}
    assert {one.code for one in findings} == {"s3.reachable", "s3.versioning", "s3.clock", "s3.rights"}
    # What was tried is gone again, its versions too.
    assert "Versions" not in pair.blue.list_object_versions(Bucket=pair.names[0])
    assert refusals(pair.source.preflight(pair.target, US)) == set()
    assert warnings(pair.source.preflight(pair.target, US)) == set()


@pytest.mark.parametrize(
    ("operation", "right"),
    [
        ("get_object_tagging", "s3:GetObjectTagging"),
        ("put_object_tagging", "s3:PutObjectTagging"),
        ("list_object_versions", "s3:ListBucketVersions"),
    ],
)
def test_a_missing_right_is_named(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, operation: str, right: str
) -> None:
    refuse(monkeypatch, operation)
    (found,) = [one for one in pair.source.probe() if one.severity is Severity.REFUSAL]
    assert found.code == "s3.rights" and found.message.startswith(right) and right in found.next_step


def test_a_clock_that_is_far_off_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    now = time.time()
    monkeypatch.setattr("tenant_lifecycle.stores.s3.probe.time.time", lambda: now + 120)
    assert "s3.clock" in warnings(pair.source.probe())
    refuse(monkeypatch, "head_bucket", code="RequestTimeTooSkewed")
    (found,) = pair.source.probe()
    assert found.severity is Severity.REFUSAL and "NTP" in found.next_step


def test_a_tenant_whose_keys_nothing_mentions_does_not_move(pair: Pair) -> None:
    pair.put("documents/12/a")
    pair.put("documents/some/other/tenants")
    pair.put("public/x/y")
    assert refusals(pair.source.preflight(pair.target, US)) == set()
    pair.put("backups/2026/x")
    pair.put("loose")
    findings = pair.source.preflight(pair.target, US)
    assert refusals(findings) == {"s3.unmapped"}
    assert next(one for one in findings if one.code == "s3.unmapped").message.endswith("2 objects")
    with pytest.raises(UnmappedData):
        pair.source.inventory(US)


def test_a_look_that_did_not_reach_the_end_is_no_pass(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmapped, "MOST_REQUESTS", 3)
    for n in range(5):
        pair.put(f"kb/{n}x")
    assert refusals(pair.source.preflight(pair.target, US)) == {"s3.unmapped"}
    for n in range(5):
        pair.delete(f"kb/{n}x")
        pair.put(f"documents/{n}/x")
        pair.put(f"deep{n}/a/b/c")
    assert refusals(pair.source.preflight(pair.target, US)) == {"s3.unmapped"}


def test_a_walk_does_not_enter_folders_that_a_rule_covers(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        pair.put(f"documents/{n}/deep/{n}")
    asked = []
    real = Bucket.call

    def call(self: Bucket, operation: str, **parameters: object) -> Any:
        asked.append(parameters.get("Prefix"))
        return real(self, operation, **parameters)

    monkeypatch.setattr(Bucket, "call", call)
    found = unmapped.find_unmapped(pair.source.area.bucket, KEYS, pair.source.area.resolve(US))
    assert (found.found, found.complete, asked) == (0, True, ["", "documents/"])


@pytest.mark.parametrize("deleted", [False, True])
def test_a_target_that_has_something_of_the_tenant_is_occupied(pair: Pair, deleted: bool) -> None:
    pair.put_there("documents/1/a")
    assert refusals(pair.source.preflight(pair.target, US)) == set()
    pair.put_there("documents/12/a")
    if deleted:
        pair.green.delete_object(Bucket=pair.names[1], Key="documents/12/a")
    assert refusals(pair.source.preflight(pair.target, US)) == {"s3.target-occupied"}


def test_versioning_object_lock_and_archives_are_told(make_pair: MakePair) -> None:
    pair = make_pair(versioned=(True, False))
    assert warnings(pair.source.preflight(pair.target, US)) == {"s3.history"}
    pair.put("documents/12/a", StorageClass="GLACIER")
    assert "s3.archived" in refusals(pair.source.preflight(pair.target, US))
    locked = make_pair()
    name = f"locked-{locked.names[1]}"
    locked.green.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    target = store(locked, 1, name)
    assert warnings(locked.source.preflight(target, US)) == {"s3.object-lock"}


def test_objects_that_cannot_be_opened_stop_a_move(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.put("documents/12/a")
    refuse(monkeypatch, "get_object")
    findings = pair.source.preflight(pair.target, US)
    assert "s3.unreadable" in refusals(findings)
    assert "secret" not in str(findings)


def store(pair: Pair, side: int, bucket: str, **more: str) -> S3Store:
    place = (pair.blue, pair.green)[side].meta.endpoint_url
    return S3Store.from_config(
        name="objects", environment="other", settings={**settings(place, bucket), **more},
        ownership=OwnershipMap(keys={"objects": KEYS}), ids=lambda tenant: TenantIds(),
    )  # fmt: skip


def test_a_missing_bucket_is_created_as_the_source_is(pair: Pair) -> None:
    target = store(pair, 1, f"new-{pair.names[1]}", region="eu-central-1")
    assert warnings(pair.source.preflight(target, US)) == {"s3.bucket"}
    assert [one.code for one in target.probe()] == ["s3.bucket"]
    assert len(pair.source.create_missing(target, US)) == 2
    assert pair.source.create_missing(target, US) == []
    assert "s3.history" not in warnings(pair.source.preflight(target, US))
    assert refusals(store(pair, 0, "nowhere").preflight(target, US)) == {"s3.bucket"}
    assert refusals(pair.source.preflight(pair.source, US)) == {"s3.same-bucket"}


def test_tenants_are_found_counted_and_held(make_pair: MakePair) -> None:
    ids = {US: TenantIds({}, {UPLOADS: frozenset({"uploads/x"})})}
    pair = make_pair(ids=ids)
    pair.put("documents/12/a", b"12345")
    pair.put("documents/12/b", b"12345")
    pair.put("documents/12/b", b"1")
    pair.put("documents/ü b/c")
    pair.put("uploads/x", b"123")
    assert pair.source.tenants() == ["12", "ü b"]
    assert pair.source.holds(US) and not pair.source.holds(THEM)
    sizes = {one.name: one for one in pair.source.inventory(US)}
    assert (sizes["documents"].items, sizes["documents"].bytes, sizes["documents"].exact) == (2, 6, True)
    assert (sizes["uploads"].items, sizes["uploads"].bytes) == (1, 3)
    assert sizes["kb"].items == 0


def test_a_count_that_stopped_early_is_not_called_exact(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenant_lifecycle.stores.s3.inventory.COUNTED", 2)
    for n in range(3):
        pair.put(f"documents/12/{n}")
    estimate, counted = (
        next(one for one in pair.source.inventory(US, exact=exact) if one.name == "documents")
        for exact in (False, True)
    )
    assert (estimate.items, estimate.exact, counted.items, counted.exact) == (2, False, 3, True)


def test_it_opens_by_its_entry_point_and_says_what_is_missing() -> None:
    def opened(**settings: str) -> object:
        return open_store(
            "s3", name="objects", environment="blue", settings=settings, ownership=OwnershipMap()
        )

    assert isinstance(opened(bucket="b"), S3Store)
    with pytest.raises(ConfigError, match="blue/objects has no bucket"):
        opened(endpoint="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="access_key and secret_key"):
        opened(bucket="b", access_key="x")


def test_no_secret_shows(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    area = pair.source.area
    assert "very-secret" not in f"{pair.source!r} {area!r} {area.bucket!r} {area.bucket.settings!r}"
    refuse(monkeypatch, "list_object_versions")
    with pytest.raises(StoreRejected) as caught:
        pair.repair("documents/12/secret")
    assert "secret" not in str(caught.value) and "AccessDenied" in str(caught.value)


def test_a_template_without_a_folder_is_looked_through_key_by_key(make_pair: MakePair) -> None:
    pair = make_pair(keys=KeyMap({"pdf": Family(Template.parse("*-{tenant}.pdf"))}))
    pair.put("a-12.pdf")
    pair.put("a-112.pdf")
    assert pair.copy() == 1
    assert pair.keys_there() == ["a-12.pdf"]
    assert refusals(pair.source.preflight(pair.target, US)) == {"s3.target-occupied"}
