"""Whether a bucket can be used as this product needs it: one finding per need.

Rights to write are tried with a small object of ours, which is deleted for good afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.model.findings import Finding, Severity, unanswered
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.owned import OURS, keeps_versions

#: The service refuses requests from clocks that are off by 15 minutes; people who read logs are misled earlier.
CLOCK_SKEW_S = 5.0
_PROBE = f"{OURS}probe"


def refuse(bucket: Bucket, code: str, message: str, next_step: str) -> Finding:
    """The operation must not start."""
    return Finding(code, Severity.REFUSAL, message, next_step, bucket.store)


def warn(bucket: Bucket, code: str, message: str, next_step: str = "") -> Finding:
    """A person should know."""
    return Finding(code, Severity.WARNING, message, next_step, bucket.store)


def fine(bucket: Bucket, code: str, message: str) -> Finding:
    """Looked at, and in order."""
    return Finding(code, Severity.OK, message, "", bucket.store)


def probe(bucket: Bucket) -> list[Finding]:
    """Everything this product needs from the bucket; never raises for what it finds."""
    try:
        answer = bucket.call("head_bucket")
    except Absent:
        return [
            refuse(
                bucket,
                "s3.bucket",
                f"there is no bucket {bucket.name}",
                "create it; a move to it creates it, too",
            )
        ]
    except StoreError as exc:
        return [unanswered("s3.reachable", exc)]
    date = str(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    return [
        fine(bucket, "s3.reachable", f"bucket {bucket.name} answers"),
        *_name(bucket), *_versioning(bucket), *_clock(bucket, date), *rights(bucket), *object_lock(bucket),
    ]  # fmt: skip


def _said(bucket: Bucket, error: StoreError) -> str:
    return str(error).removeprefix(f"{bucket.store}: ")


def _name(bucket: Bucket) -> Iterator[Finding]:
    if bucket.name.endswith("--x-s3"):
        yield refuse(
            bucket, "s3.directory-bucket", "a directory bucket lists its keys in no order and keeps no versions",
            "use a general purpose bucket",
        )  # fmt: skip


def _versioning(bucket: Bucket) -> Iterator[Finding]:
    try:
        status = keeps_versions(bucket)
    except StoreError as exc:
        yield refuse(bucket, "s3.versioning", _said(bucket, exc), "allow s3:GetBucketVersioning")
        return
    if status == "Enabled":
        yield fine(bucket, "s3.versioning", "older versions of objects are kept")
    else:
        yield warn(
            bucket, "s3.versioning", "older versions of objects are not kept; only their current state can be moved",
            "switch versioning on, if history matters",
        )  # fmt: skip


def _clock(bucket: Bucket, date: str) -> Iterator[Finding]:
    try:
        skew = parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return
    # The service tells whole seconds.
    if abs(skew) > CLOCK_SKEW_S:
        yield warn(
            bucket, "s3.clock",
            f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's; from 15 minutes "
            "on it refuses every request",
            "synchronise this machine's clock with NTP",
        )  # fmt: skip
    else:
        yield fine(bucket, "s3.clock", "its clock agrees with this machine's within some seconds")


def rights(bucket: Bucket) -> list[Finding]:
    """Try what a move needs; a refusal for each right that is missing."""
    written: dict[str, object] = {}

    def write() -> None:
        answer = bucket.call("put_object", Key=_PROBE, Body=b"", Tagging="probe=1")
        written.update({"VersionId": answer["VersionId"]} if answer.get("VersionId") else {})

    def ask(operation: str, **parameters: object) -> Callable[[], object]:
        return lambda: bucket.call(operation, **parameters)

    needs: tuple[tuple[str, Callable[[], object]], ...] = (
        ("s3:ListBucket", ask("list_objects_v2", Prefix=OURS, MaxKeys=1)),
        ("s3:ListBucketVersions", ask("list_object_versions", Prefix=OURS, MaxKeys=1)),
        ("s3:ListBucketMultipartUploads", ask("list_multipart_uploads", Prefix=OURS)),
        ("s3:PutObject", write),
        ("s3:GetObject", ask("get_object", Key=_PROBE)),
        ("s3:GetObjectTagging", ask("get_object_tagging", Key=_PROBE)),
        (
            "s3:PutObjectTagging",
            ask("put_object_tagging", Key=_PROBE, Tagging={"TagSet": [{"Key": "probe", "Value": "2"}]}),
        ),
        ("s3:DeleteObjectVersion", lambda: bucket.call("delete_object", Key=_PROBE, **written)),
    )
    missing = [found for right, attempt in needs for found in _try(bucket, right, attempt)]
    return missing or [
        fine(bucket, "s3.rights", "objects, versions and tags may be read, written and deleted")
    ]


def _try(bucket: Bucket, right: str, attempt: Callable[[], object]) -> Iterator[Finding]:
    try:
        attempt()
    except Absent:
        # What it needs was refused before, and said so.
        return
    except StoreRejected as exc:
        yield refuse(
            bucket, "s3.rights", f"{right}: {_said(bucket, exc)}", f"allow {right} on the bucket and its objects"
        )  # fmt: skip
    except StoreError as exc:
        yield unanswered("s3.reachable", exc)


def object_lock(bucket: Bucket) -> Iterator[Finding]:
    """Say that the bucket locks objects, if it does."""
    try:
        found = bucket.call("get_object_lock_configuration").get("ObjectLockConfiguration", {})
    except (Absent, StoreError):
        # Usually: none was ever configured. Who may not read it meets the lock when something is deleted.
        return
    if found.get("ObjectLockEnabled") == "Enabled":
        retained = " and retains every new object" if found.get("Rule") else ""
        yield warn(
            bucket, "s3.object-lock",
            f"the bucket has object lock{retained}; locked versions can be neither repaired away nor removed",
            "clear retention before an abort or a decommission, or move to another bucket",
        )  # fmt: skip
