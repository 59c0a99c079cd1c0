"""The traps of S3 and CloudWatch Logs, over an emulator of both: versions, uploads, locks, shared streams."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import boto3

from bench.residue.eyes import MARKER, NEIGHBOUR, TENANT, THEIRS, about, erase, searched, warned
from bench.residue.trap import Seen, Trap
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.stores.registry import open_store

Pair = tuple[Seen, Seen]
_BELOW = f"documents/{TENANT}/"
RULES = OwnershipMap(
    keys={
        "objects": KeyMap({"documents": Family(Template.parse("documents/{tenant}/*"))}),
        "logs": KeyMap(
            {"streams": Family(Template.parse("/app/web:tenant-{tenant}/*"))},
            (Template.parse("/aws/*"),),
            {"lines": Shared(Template.parse("/app/web:shared*"), ("tenant_id",), personal=(("text",),))},
        ),
    }
)


@dataclass
class Cloud:
    """The emulator, and clients of an application beside our stores."""

    endpoint: str
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.s3, self.logs = self._client("s3"), self._client("logs")

    def bucket(self, *, lock: bool = False) -> str:
        """A new one that keeps versions."""
        name = f"residue-{next(self.numbers)}"
        self.s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def objects(self, bucket: str) -> Any:
        """Our store over a bucket."""
        return self._store("s3", "objects", bucket=bucket)

    def lines(self) -> Any:
        """Our store over the log service; streams count as quiet at once."""
        return self._store("cloudwatch", "logs", quiet="0")

    def put(self, bucket: str, *keys: str, **more: Any) -> None:
        """Objects with the marker."""
        for key in keys:
            self.s3.put_object(Bucket=bucket, Key=key, Body=MARKER.encode(), **more)

    def delete(self, bucket: str) -> None:
        """Naive: delete every key that a listing shows."""
        for one in self.s3.list_objects_v2(Bucket=bucket, Prefix=_BELOW).get("Contents", []):
            self.s3.delete_object(Bucket=bucket, Key=one["Key"])

    def versions(self, bucket: str) -> int:
        """Versions and delete markers of the tenant."""
        page = self.s3.list_object_versions(Bucket=bucket, Prefix=_BELOW)
        return len(page.get("Versions", [])) + len(page.get("DeleteMarkers", []))

    def uploads(self, bucket: str) -> int:
        """Unfinished uploads of the tenant."""
        page = self.s3.list_multipart_uploads(Bucket=bucket, Prefix=_BELOW)
        return len(page.get("Uploads", []))

    def write(self, group: str, stream: str, *lines: str) -> None:
        """Lines into a stream, which is made."""
        if not self.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            self.logs.create_log_group(logGroupName=group)
        self.logs.create_log_stream(logGroupName=group, logStreamName=stream)
        if lines:
            self.append(group, stream, lines)

    def append(self, group: str, stream: str, lines: Sequence[str]) -> None:
        """At most 10,000 lines more, of a minute ago."""
        now = int(time.time() * 1000) - 60_000
        events = [{"timestamp": now + number, "message": line} for number, line in enumerate(lines)]
        self.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def marked(self, group: str) -> int:
        """Lines of a group that hold the marker."""
        streams = self.logs.describe_log_streams(logGroupName=group)["logStreams"]
        pages = (
            self.logs.get_log_events(
                logGroupName=group, logStreamName=one["logStreamName"], startFromHead=True
            )
            for one in streams
        )
        return sum(MARKER in event["message"] for page in pages for event in page["events"])

    def _client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id="app", aws_secret_access_key="app",
        )  # fmt: skip

    def _store(self, kind: str, name: str, **more: str) -> Any:
        reach = {"endpoint": self.endpoint, "region": "us-east-1", "access_key": "a", "secret_key": "b"}
        return open_store(kind, name=name, environment="blue", settings=reach | more, ownership=RULES)


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """An emulator of its own."""
    with ObjectServer(folder / "objects") as server:
        yield Cloud(server.endpoint)


def traps(made: Cloud) -> list[Trap]:
    """Objects first, then lines."""
    listed: list[tuple[str, str, str, str, Callable[[Cloud], Pair]]] = [
        ("M23", "S3 (emulator)", "versions and delete markers", "DELETE of every key listed", _versions),
        ("M24", "S3 (emulator)", "a locked version; the reply is a success", "DELETE of every key listed", _locked),
        ("2.4a", "S3 (emulator)", "an unfinished upload", "DELETE of every key listed", _upload),
        ("2.4b", "S3 (emulator)", "a bucket that nobody declared", "DELETE of every key listed", _other_bucket),
        ("2.4c", "S3 (emulator)", "a replica", "DELETE of every key listed", _replica),
        ("2.5a", "CloudWatch Logs (emulator)", "lines in a stream that tenants share", "delete the tenant's streams", _shared),
        ("2.5b", "CloudWatch Logs (emulator)", "a group that nobody declared", "delete the tenant's streams", _other_group),
        ("2.5c", "CloudWatch Logs (emulator)", "a metric filter that names the tenant", "delete the tenant's streams", _filter),
    ]  # fmt: skip
    return [
        Trap(code, system, what, naively, partial(measure, made))
        for code, system, what, naively, measure in listed
    ]


def _two(made: Cloud, lay: Callable[[str], None], left: Callable[[str], int], unit: str, *terms: str) -> Pair:
    here, there = made.bucket(), made.bucket()
    for bucket in (here, there):
        lay(bucket)
    made.delete(here)
    store = made.objects(there)
    told = [*warned(store), *erase(store)]
    return Seen(left(here), unit), Seen(left(there), unit, about(told, *terms))


def _versions(made: Cloud) -> Pair:
    def lay(bucket: str) -> None:
        made.put(bucket, *[f"{_BELOW}a"] * 3, f"{_BELOW}b")
        made.s3.delete_object(Bucket=bucket, Key=f"{_BELOW}b")

    return _two(made, lay, made.versions, "versions and markers", "version")


def _upload(made: Cloud) -> Pair:
    def lay(bucket: str) -> None:
        upload = made.s3.create_multipart_upload(Bucket=bucket, Key=f"{_BELOW}big")["UploadId"]
        made.s3.upload_part(
            Bucket=bucket, Key=f"{_BELOW}big", UploadId=upload, PartNumber=1, Body=MARKER.encode()
        )

    return _two(made, lay, made.uploads, "uploads", "upload")


def _locked(made: Cloud) -> Pair:
    here, there = made.bucket(lock=True), made.bucket(lock=True)
    until = datetime.now(UTC) + timedelta(days=3)
    for bucket in (here, there):
        made.put(bucket, f"{_BELOW}kept", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    made.delete(here)
    store = made.objects(there)
    told = [*warned(store), *erase(store)]
    return (
        Seen(made.versions(here), "versions and markers"),
        Seen(made.versions(there), "versions and markers", about(told, "s3.locked", "AccessDenied")),
    )


def _other_bucket(made: Cloud) -> Pair:
    bucket, other = made.bucket(), made.bucket()
    made.put(other, "dump.csv")
    made.delete(bucket)
    left = len(made.s3.list_objects_v2(Bucket=other)["Contents"])
    return Seen(left, "objects"), Seen(left, "objects", about(searched(made.objects(bucket), other), other))


def _replica(made: Cloud) -> Pair:
    bucket, replica = made.bucket(), made.bucket()
    made.put(bucket, f"{_BELOW}a")
    made.put(replica, f"{_BELOW}a")
    rule = {
        "ID": "r",
        "Status": "Enabled",
        "Prefix": "",
        "Destination": {"Bucket": f"arn:aws:s3:::{replica}"},
    }
    made.s3.put_bucket_replication(
        Bucket=bucket,
        ReplicationConfiguration={"Role": "arn:aws:iam::123456789012:role/r", "Rules": [rule]},
    )
    made.delete(bucket)
    left = made.versions(replica)
    return Seen(left, "versions"), Seen(left, "versions", about(warned(made.objects(bucket)), "s3.replicas"))


def _shared(made: Cloud) -> Pair:
    lines = [
        json.dumps({"tenant_id": who, "text": text}) for who, text in ((TENANT, MARKER), (NEIGHBOUR, THEIRS))
    ]
    made.write("/app/web", f"tenant-{TENANT}/1", MARKER)
    made.write("/app/web", "shared-1", *lines * 5)
    made.logs.delete_log_stream(logGroupName="/app/web", logStreamName=f"tenant-{TENANT}/1")
    naive = made.marked("/app/web")
    told = erase(made.lines())
    return Seen(naive, "lines"), Seen(made.marked("/app/web"), "lines", about(told, "line", "stream"))


def _other_group(made: Cloud) -> Pair:
    made.write("/shadow", "s", f"hidden {MARKER}")
    left = made.marked("/shadow")
    told = [*warned(made.lines()), *searched(made.lines(), "/shadow")]
    return Seen(left, "lines"), Seen(left, "lines", about(told, "/shadow", "cloudwatch.unmapped"))


def _filter(made: Cloud) -> Pair:
    made.write("/app/web", "shared-2", "{}")
    metric = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    made.logs.put_metric_filter(
        logGroupName="/app/web",
        filterName="errors",
        filterPattern=f"tenant {TENANT} failed",
        metricTransformations=[metric],
    )
    told = erase(made.lines())
    left = len(made.logs.describe_metric_filters(logGroupName="/app/web")["metricFilters"])
    return Seen(left, "filters"), Seen(left, "filters", about(told, "filter"))
