"""Fixtures for the tests of the repository: folders, buckets of a real emulator process, keys."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.backups.storage_s3 import S3Storage
from tenant_lifecycle.sandbox.objects import ObjectServer

WRAPPING = LocalWrapping(bytes(range(32)))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """On a memory disk where there is one: the tests sync much, and are about logic and crashes, not about a slow disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="tenant-lifecycle-backups-", dir=memory if os.access(memory, os.W_OK) else None
    ) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """An emulator of AWS (S3, KMS), gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-backups-"))
    server = ObjectServer(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_bucket(object_server: ObjectServer) -> Callable[..., S3Storage]:
    """``new_bucket(versioning=True)`` makes a bucket and a storage below a prefix in it."""

    def make(versioning: bool = False) -> S3Storage:
        name = f"backups-{uuid.uuid4().hex[:12]}"
        object_server.create_bucket(name, versioning=versioning)
        return S3Storage.from_settings(name, "some/prefix/", settings(object_server))

    return make


def settings(server: ObjectServer) -> dict[str, str]:
    return {
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "access_key": "testing",
        "secret_key": "testing",
    }


@pytest.fixture
def kms(object_server: ObjectServer) -> object:
    """A client of the emulator's KMS."""
    return boto3.client(
        "kms", endpoint_url=object_server.endpoint, region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    """An empty repository folder."""
    return FolderStorage.create(tmp_path / "repository")


@pytest.fixture(params=["folder", "s3", "s3 with versions"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """An empty storage of each kind."""
    if request.param == "folder":
        made: Storage = request.getfixturevalue("folder")
        return made
    make: Callable[..., Storage] = request.getfixturevalue("new_bucket")
    return make(versioning="versions" in request.param)
