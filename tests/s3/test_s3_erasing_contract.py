"""S3 keeps what every store promises that is erased and searched; the emulator stands for the service."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import s3_busy_proxy
from s3_busy_proxy import BusyProxy
from s3_pair import client, settings
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.stores.registry import no_ids
from tenant_lifecycle.stores.s3 import doomed
from tenant_lifecycle.stores.s3.store import S3Store
from tenant_lifecycle.testing.erasing_contract import ErasingContract

KEYS = KeyMap({"docs": Family(Template.parse("docs/{tenant}/*"))})


class ObjectBench:
    """A server of its own for the kit: all of its buckets are searched."""

    def __init__(self, server: ObjectServer) -> None:
        self.server = server
        self.api: Any = client(server.endpoint)
        for bucket in self.api.list_buckets()["Buckets"]:
            self._delete(bucket["Name"])
        self.bucket = f"blue-{uuid.uuid4().hex[:10]}"
        server.create_bucket(self.bucket)
        self.eraser, self.verifier = self.opened(server.endpoint), self.opened(server.endpoint)
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "no rule": lambda text: self.api.put_object(Bucket=self.bucket, Key="exports/report", Body=text),
            "an older version": self._older,
            "a name that was deleted": self._marker,
            "metadata": lambda text: self.api.put_object(
                Bucket=self.bucket, Key="docs/nobody/meta", Metadata={"note": text.decode()}
            ),
            "another bucket": self._elsewhere,
        }

    def opened(self, endpoint: str) -> S3Store:
        return S3Store.from_config(
            name="objects", environment="blue", settings=settings(endpoint, self.bucket),
            ownership=OwnershipMap(keys={"objects": KEYS}), ids=no_ids,
        )  # fmt: skip

    def put(self, tenant: str, item: str, content: str) -> None:
        self.api.put_object(Bucket=self.bucket, Key=f"docs/{tenant}/{item}", Body=content.encode())

    def content(self, tenant: str, item: str) -> str | None:
        try:
            found = self.api.get_object(Bucket=self.bucket, Key=f"docs/{tenant}/{item}")
        except ClientError as exc:
            assert exc.response["Error"]["Code"] == "NoSuchKey"
            return None
        return str(found["Body"].read().decode())

    def blinded(self) -> S3Store:
        """The emulator checks no credentials: a proxy refuses in its place."""
        self.proxy = BusyProxy(self.server.port, 1.0).__enter__()
        return self.opened(self.proxy.endpoint)

    def replaced_eraser(self) -> S3Store:
        return self.opened(self.server.endpoint)

    def _older(self, text: bytes) -> None:
        for body in (text, b"nothing"):
            self.api.put_object(Bucket=self.bucket, Key="docs/nobody/old", Body=body)

    def _marker(self, text: bytes) -> None:
        """Nothing but the marker: the emulator makes none for a name that never was, so its version goes after it."""
        name = {"Bucket": self.bucket, "Key": f"docs/nobody/{text.decode()}"}
        version = self.api.put_object(**name, Body=b"nothing")["VersionId"]
        self.api.delete_object(**name)
        self.api.delete_object(**name, VersionId=version)

    def _elsewhere(self, text: bytes) -> None:
        self.api.create_bucket(Bucket=f"{self.bucket}-copy")
        self.api.put_object(Bucket=f"{self.bucket}-copy", Key="report", Body=text)

    def _delete(self, bucket: str) -> None:
        page = self.api.list_object_versions(Bucket=bucket)
        for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            self.api.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        self.api.delete_bucket(Bucket=bucket)


@pytest.fixture(scope="module")
def alone() -> Iterator[ObjectServer]:
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-objects-"))
    with ObjectServer(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


class TestS3(ErasingContract):
    @pytest.fixture
    def bench(self, alone: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectBench]:
        monkeypatch.setattr(doomed, "BATCH", 2)
        monkeypatch.setattr(s3_busy_proxy, "_SLOW_DOWN", b"<Error><Code>AccessDenied</Code></Error>")
        bench = ObjectBench(alone)
        yield bench
        if hasattr(bench, "proxy"):
            bench.proxy.__exit__(None, None, None)
