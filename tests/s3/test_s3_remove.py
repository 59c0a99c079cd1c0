"""Taking a tenant's objects away: everything of it, nothing of others, and what could not go is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from s3_pair import UPLOADS, US, MakePair, Pair, nothing, settings
from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.stores.s3 import remove


def left(pair: Pair) -> list[str]:
    """Everything that is left at the source but our token, versions and markers."""
    page = pair.blue.list_object_versions(Bucket=pair.names[0])
    keys = [one["Key"] for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]
    return sorted(key for key in keys if not key.endswith("/token"))


@pytest.mark.parametrize("versioned", [True, False])
def test_every_version_marker_and_upload_of_the_tenant_goes(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch, versioned: bool
) -> None:
    monkeypatch.setattr(remove, "BATCH", 3)
    named = frozenset({"uploads/x", "uploads/absent"})
    pair = make_pair(
        ids={US: TenantIds({"collection": frozenset({"7"})}, {UPLOADS: named})},
        versioned=(versioned, versioned),
    )
    for n in range(7):
        for body in (b"1", b"2"):
            pair.put(f"documents/12/{n}", body)
    pair.delete("documents/12/3")
    for key in (
        "kb/7/a",
        "uploads/x",
        "cache/12/c",
        "documents/1/a",
        "documents/123/a",
        "uploads/y",
        "public/x",
    ):
        pair.put(key)
    for key in ("documents/12/up", "documents/1/up", "uploads/x"):
        pair.blue.create_multipart_upload(Bucket=pair.names[0], Key=key)
    counts = pair.source.remove(pair.feed, nothing)
    assert counts == {"documents": 7 if versioned else 6, "kb": 1, "uploads": 1, "thumbs": 0, "cache": 1}
    assert left(pair) == ["documents/1/a", "documents/123/a", "public/x", "uploads/y"]
    uploads = pair.blue.list_multipart_uploads(Bucket=pair.names[0]).get("Uploads", [])
    assert [one["Key"] for one in uploads] == ["documents/1/up"]
    assert set(pair.source.remove(pair.feed, nothing).values()) == {0}


def test_removing_from_the_target_leaves_no_notes_of_ours_but_the_token(pair: Pair) -> None:
    pair.put("documents/12/a")
    pair.copy()
    assert pair.target.remove(pair.feed, nothing)["documents"] == 1
    page = pair.green.list_object_versions(Bucket=pair.names[1])
    assert {one["Key"].rpartition("/")[2] for one in page["Versions"]} == {"token"}
    assert "DeleteMarkers" not in page
    # And the move can begin anew.
    pair.copy()
    assert pair.suspects() == {}


def test_locked_versions_are_told_and_the_others_are_gone(pair: Pair) -> None:
    name = f"locked-{pair.names[0]}"
    pair.blue.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    pair.names = (name, pair.names[1])
    pair.source.area.bucket.settings.bucket = pair.source.area.bucket.name = name
    until = datetime.now(UTC) + timedelta(days=1)
    pair.put("documents/12/held", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    pair.put("documents/12/free")
    with pytest.raises(StoreRejected, match="1 versions could not be deleted") as caught:
        pair.source.remove(pair.feed, nothing)
    assert "object lock" in caught.value.next_step and "held" not in str(caught.value)
    assert left(pair) == ["documents/12/held"]
    assert settings("x", name)["bucket"] == name


def test_removing_asks_whether_to_go_on(pair: Pair) -> None:
    pair.put("documents/12/a")

    class Stop(Exception):
        pass

    def check() -> None:
        raise Stop

    with pytest.raises(Stop):
        pair.source.remove(pair.feed, check)
    assert left(pair) == ["documents/12/a"]
