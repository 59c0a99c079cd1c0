"""A tenant leaves a bucket: every version, delete marker and unfinished upload, here and in the replicas."""

from __future__ import annotations

import contextlib
import json
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import s3_busy_proxy
from erasing_marks import CONTROL, erase_all, erasing, finder, frozen, go_on, hits, left_of, searched
from s3_busy_proxy import BusyProxy
from s3_pair import KEYS, THEM, US, MakePair, Pair, settings
from tenant_lifecycle.errors import Fenced, StoreBusy, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.stores.s3.store import S3Store

SECRET = "marker-of-the-tenant-93b1"
HOSTILE = ["*", "?", "[ab]", "{x}", "a/b", "x'; DROP", "zürich 租户", "%2e", "a b+c"]


def store_of(pair: Pair, **more: str) -> S3Store:
    """Another store over the source's bucket."""
    endpoint = pair.blue.meta.endpoint_url
    return S3Store.from_config(
        name="objects", environment="blue", settings={**settings(endpoint, pair.names[0]), **more},
        ownership=OwnershipMap(keys={"objects": KEYS}), ids=lambda tenant: pair.ids.get(tenant, TenantIds()),
    )  # fmt: skip


def everything(pair: Pair, bucket: str | None = None) -> list[tuple[str, str, bytes | None]]:
    """All versions, markers and uploads, ours left out."""
    name, found = bucket or pair.names[0], []
    for page in pair.blue.get_paginator("list_object_versions").paginate(Bucket=name):
        for one in page.get("Versions", []):
            body = pair.blue.get_object(Bucket=name, Key=one["Key"], VersionId=one["VersionId"])[
                "Body"
            ].read()
            found.append((one["Key"], one["VersionId"], body))
        found += [(one["Key"], one["VersionId"], None) for one in page.get("DeleteMarkers", [])]
    found += [
        (one["Key"], one["UploadId"], None)
        for one in pair.blue.list_multipart_uploads(Bucket=name).get("Uploads", [])
    ]
    return sorted((one for one in found if not one[0].startswith(".tenant-lifecycle/")), key=repr)


def traps(pair: Pair, tenant: str, text: str, bucket: str | None = None) -> int:
    """Versions, a marker and an unfinished upload of a tenant; how many items."""
    name, below = bucket or pair.names[0], f"documents/{tenant}/"
    for number in range(3):
        pair.blue.put_object(Bucket=name, Key=f"{below}a", Body=f"{text} {number}".encode())
    pair.blue.put_object(Bucket=name, Key=f"{below}deleted", Body=text.encode())
    pair.blue.delete_object(Bucket=name, Key=f"{below}deleted")
    upload = pair.blue.create_multipart_upload(Bucket=name, Key=f"{below}big {text}")["UploadId"]
    pair.blue.upload_part(
        Bucket=name, Key=f"{below}big {text}", UploadId=upload, PartNumber=1, Body=text.encode()
    )
    return 6


def test_versions_markers_and_uploads_go_and_the_neighbour_stays_byte_for_byte(pair: Pair) -> None:
    traps(pair, THEM, "theirs")
    before = everything(pair)
    count = traps(pair, US, SECRET)
    batches, done, settled = erase_all(pair.source, US)
    assert sum(one.deleted for one in done) == count
    assert everything(pair) == before
    assert not left_of(pair.source, US, batches) and not settled.left
    assert not hits(pair.source, finder(SECRET), pair.names[0])


def test_the_naive_deletion_of_what_a_listing_shows_is_found_to_be_residue(pair: Pair) -> None:
    """M23: the listing is empty afterwards, and everything is there."""
    traps(pair, US, SECRET)
    batches = frozen(pair.source, US)
    for one in pair.blue.list_objects_v2(Bucket=pair.names[0])["Contents"]:
        pair.delete(one["Key"])
    assert "Contents" not in pair.blue.list_objects_v2(Bucket=pair.names[0], Prefix="documents/")
    assert len(left_of(pair.source, US, batches)) == 6
    assert len({hit.where for hit in hits(pair.source, finder(SECRET), pair.names[0])}) == 5


@pytest.mark.parametrize("tenant", HOSTILE)
def test_an_id_with_letters_that_mean_something_takes_nobody_elses(pair: Pair, tenant: str) -> None:
    for other in ("a", "ab", "12", tenant + "1", "1" + tenant):
        pair.put(f"documents/{other}/k", b"theirs")
    before = everything(pair)
    pair.put(f"documents/{tenant}/k", SECRET.encode())
    erase_all(pair.source, tenant)
    assert everything(pair) == before


def test_a_bucket_without_versions_is_erased_too(make_pair: MakePair) -> None:
    pair = make_pair(versioned=(False, False))
    pair.put("documents/1/k", b"theirs")
    before = everything(pair)
    pair.put("documents/12/k", SECRET.encode())
    batches, done, _ = erase_all(pair.source, US)
    assert [one.deleted for one in done] == [1] and everything(pair) == before
    assert not left_of(pair.source, US, batches)


def test_a_declared_replica_is_erased_and_an_undeclared_one_refuses_the_erasure(pair: Pair) -> None:
    replica = f"replica-{uuid.uuid4().hex[:8]}"
    pair.blue.create_bucket(Bucket=replica)
    pair.blue.put_bucket_versioning(Bucket=replica, VersioningConfiguration={"Status": "Enabled"})
    traps(pair, THEM, "theirs", replica)
    before = everything(pair, replica)
    traps(pair, US, SECRET, replica)
    traps(pair, US, SECRET)
    rule = {
        "ID": "r",
        "Status": "Enabled",
        "Prefix": "",
        "Destination": {"Bucket": f"arn:aws:s3:::{replica}"},
    }
    pair.blue.put_bucket_replication(
        Bucket=pair.names[0],
        ReplicationConfiguration={"Role": "arn:aws:iam::123456789012:role/r", "Rules": [rule]},
    )
    assert {one.code for one in refusals(pair.source.erasure_findings(US))} == {"s3.replicas"}
    assert any(replica in line for line in pair.source.settle(erasing(US), [], go_on).left)
    with_replica = store_of(pair, replicas=replica)
    assert not refusals(with_replica.erasure_findings(US))
    batches, _, settled = erase_all(with_replica, US)
    assert everything(pair, replica) == before and not settled.left
    assert not left_of(with_replica, US, batches)


def locked_bucket(pair: Pair) -> str:
    name = f"locked-{uuid.uuid4().hex[:8]}"
    pair.blue.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def test_locked_versions_are_told_before_and_refused_with_their_date(pair: Pair) -> None:
    """M24: the reply is 200, and the refusal stands inside."""
    name, until = locked_bucket(pair), datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    store = store_of(pair, bucket=name)
    pair.blue.put_object(Bucket=name, Key="documents/12/free", Body=b"x")
    kept = pair.blue.put_object(
        Bucket=name,
        Key="documents/12/kept",
        Body=b"x",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=until,
    )["VersionId"]
    (warning,) = [one for one in store.erasure_findings(US) if one.code == "s3.locked"]
    assert f"{until:%Y-%m-%d}" in warning.message and "1 versions" in warning.message
    batches = frozen(store, US)
    done = [store.erase(erasing(US), batch, go_on) for batch in batches]
    (refused,) = [one for two in done for one in two.refused]
    assert sum(one.deleted for one in done) == 1
    assert (refused.code, refused.until) == (
        "AccessDenied",
        until.timestamp(),
    ) and kept.encode() in refused.key
    assert left_of(store, US, batches) == {refused.key}


def test_a_legal_hold_of_the_service_has_no_date(pair: Pair) -> None:
    name = locked_bucket(pair)
    store = store_of(pair, bucket=name)
    pair.blue.put_object(Bucket=name, Key="documents/12/held", Body=b"x", ObjectLockLegalHoldStatus="ON")
    (warning,) = [one for one in store.erasure_findings(US) if one.code == "s3.locked"]
    assert "legal hold" in warning.message
    _, done, _ = erase_all(store, US)
    assert [(one.code, one.until) for one in done[0].refused] == [("AccessDenied", None)]


@pytest.mark.parametrize(("bypass", "deleted"), [("no", 0), ("yes", 1)])
def test_governance_is_set_aside_only_if_the_settings_say_so(pair: Pair, bypass: str, deleted: int) -> None:
    name, until = locked_bucket(pair), datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    store = store_of(pair, bucket=name, bypass_governance=bypass)
    pair.blue.put_object(
        Bucket=name,
        Key="documents/12/g",
        Body=b"x",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=until,
    )
    _, done, _ = erase_all(store, US)
    assert [one.deleted for one in done] == [deleted]
    assert [len(one.refused) for one in done] == [1 - deleted]


def test_killed_between_batches_and_run_again(pair: Pair) -> None:
    traps(pair, THEM, "theirs")
    before = everything(pair)
    traps(pair, US, SECRET)
    pair.put("thumbs/12/t", SECRET.encode())
    batches = frozen(pair.source, US)
    assert len(batches) == 3
    pair.source.erase(erasing(US, 1), batches[0], go_on)
    pair.source.erase(erasing(US, 1), batches[1], go_on)
    again = [pair.source.erase(erasing(US, 2), batch, go_on) for batch in batches]
    assert [one.deleted for one in again] == [0, 0, 1]
    assert [one.gone for one in again] == [1, 5, 0]
    for _ in range(2):
        pair.source.settle(erasing(US, 2), [], go_on)
    assert everything(pair) == before
    older = store_of(pair)
    with pytest.raises(Fenced):
        older.erase(erasing(US, 1), batches[0], go_on)


def test_settling_leaves_one_note_the_token(pair: Pair) -> None:
    pair.put("documents/12/k")
    for token in (1, 2, 3):
        store = store_of(pair)
        erase_all(store, US, token)
    page = pair.blue.list_object_versions(Bucket=pair.names[0], Prefix=".tenant-lifecycle/")
    assert [one["Key"].rpartition("/")[2] for one in page["Versions"]] == ["token"]


def test_the_check_is_asked_before_every_deletion(pair: Pair) -> None:
    traps(pair, US, SECRET)

    def stop() -> None:
        raise StoreRejected("a hold was placed", store="blue")

    before = everything(pair)
    for batch in frozen(pair.source, US):
        with pytest.raises(StoreRejected):
            pair.source.erase(erasing(US), batch, stop)
    assert everything(pair) == before


def test_metadata_tags_names_versions_and_long_contents_are_searched(pair: Pair) -> None:
    pair.put("public/meta", Metadata={"owner": SECRET})
    pair.put("public/type", ContentDisposition=f'attachment; filename="{SECRET}"')
    pair.put("public/tag", Tagging=f"who={SECRET}")
    pair.put(f"public/{SECRET}")
    pair.put("public/old", SECRET.encode())
    pair.put("public/old", b"nothing")
    cut = 8 * 2**20 - 5
    pair.put("public/long", b"x" * cut + SECRET.encode() + b"y" * 2**20)
    found = hits(pair.source, finder(SECRET), pair.names[0])
    assert {hit.where.partition(" (")[0] for hit in found} == {
        "public/meta", "public/type", "public/tag", f"public/{SECRET}", "public/old", "public/long",
    }  # fmt: skip


def test_other_buckets_and_prefixes_without_a_rule_are_found_and_a_rule_proposed(pair: Pair) -> None:
    other = f"forgotten-{uuid.uuid4().hex[:8]}"
    pair.blue.create_bucket(Bucket=other)
    pair.blue.put_object(Bucket=other, Key="dump.csv", Body=SECRET.encode())
    pair.put("exports/dump.csv", SECRET.encode())
    pair.put("documents/12/k", SECRET.encode())
    both = [hit for name in (other, pair.names[0]) for hit in hits(pair.source, finder(SECRET), name)]
    found = {hit.where.partition(" (")[0]: hit.proposal for hit in both}
    assert other in found["dump.csv"] and "exports/*" in found["exports/dump.csv"]
    assert found["documents/12/k"] == ""
    assert {place.name: place.declared for place in pair.source.places()}[other] is False
    assert {one.code for one in refusals(pair.source.erasure_findings(US))} == {"s3.unmapped"}


def test_the_control_is_found_where_it_was_planted_and_a_canary_goes(pair: Pair) -> None:
    for _ in range(2):
        pair.source.plant(erasing("ctl"), CONTROL)
    pair.source.plant(erasing(US), SECRET)
    assert len(pair.history(0, "documents/ctl/tenant-lifecycle-canary")) == 1
    looked = searched(pair.source, finder(SECRET), pair.names[0])[pair.names[0]]
    assert looked.control_found and looked.hit_count
    erase_all(pair.source, US)
    looked = searched(pair.source, finder(SECRET), pair.names[0])[pair.names[0]]
    assert looked.control_found and not looked.hit_count


def test_an_unfinished_upload_that_no_rule_mentions_makes_the_search_incomplete(pair: Pair) -> None:
    pair.blue.create_multipart_upload(Bucket=pair.names[0], Key="nobody/knows")
    assert searched(pair.source, finder(SECRET), pair.names[0])[pair.names[0]].unread


def test_a_service_that_fails_after_it_deleted_is_asked_again_and_nothing_is_left(
    pair: Pair, object_servers: Callable[[int], ObjectServer]
) -> None:
    traps(pair, THEM, "theirs")
    before = everything(pair)
    traps(pair, US, SECRET)
    batches = frozen(pair.source, US)
    fail(object_servers(0), errors=0.4, slow_down=0.2)
    try:
        for batch in batches:
            until_it_is_done(lambda batch=batch: pair.source.erase(erasing(US), batch, go_on))  # type: ignore[misc]
    finally:
        fail(object_servers(0), errors=0, slow_down=0)
    assert everything(pair) == before
    assert not left_of(pair.source, US, batches)


def until_it_is_done(work: Callable[[], object]) -> None:
    for _ in range(50):
        with contextlib.suppress(StoreUnavailable, StoreBusy):
            work()
            return
    pytest.fail("it never went through")


def fail(server: ObjectServer, **shares: float) -> None:
    request = urllib.request.Request(f"{server.endpoint}/_emulator/faults", json.dumps(shares).encode())
    urllib.request.urlopen(request, timeout=10).close()


def test_credentials_that_are_refused_make_the_search_inconclusive(
    pair: Pair, object_servers: Callable[[int], ObjectServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator checks no credentials; a proxy refuses in its place."""
    monkeypatch.setattr(s3_busy_proxy, "_SLOW_DOWN", b"<Error><Code>AccessDenied</Code></Error>")
    place = next(place for place in pair.source.places() if place.declared)
    with BusyProxy(object_servers(0).port, 1.0) as proxy:
        refused = store_of(pair, endpoint=proxy.endpoint)
        assert {one.code for one in refusals(refused.verifier_findings())} == {"s3.verifier-rights"}
        looked = refused.search(place, finder(SECRET), go_on)
        assert "AccessDenied" in looked.unread and not looked.control_found
        assert {one.code for one in refusals(refused.erasure_findings(US))} == {"s3.reachable"}
