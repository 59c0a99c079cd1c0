"""The contract of keyed stores, held by S3: two emulators, versions kept."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from s3_pair import MakePair, Pair
from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.testing.store_contract import KeyedStoreContract

KEYS = KeyMap(
    {
        "docs": Family(Template.parse("docs/{tenant}/*")),
        "cache": Family(Template.parse("cache/{tenant}/*"), treatment=Treatment.SKIP),
    }
)


class ObjectBench:
    """Two buckets, and the application's own clients."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.source, self.target = pair.source, pair.target

    def key(self, tenant: str, item: str, family: str = "docs") -> bytes:
        return f"{family}/{tenant}/{item}".encode()

    def put(self, side: Store, tenant: str, item: str, content: str, family: str = "docs") -> None:
        write = self.pair.put if side is self.source else self.pair.put_there
        write(f"{family}/{tenant}/{item}", content.encode())

    def drop(self, side: Store, tenant: str, item: str, family: str = "docs") -> None:
        client, bucket = self._of(side)
        client.delete_object(Bucket=bucket, Key=f"{family}/{tenant}/{item}")  # type: ignore[attr-defined]

    def content(self, side: Store, tenant: str, item: str, family: str = "docs") -> str | None:
        client, bucket = self._of(side)
        try:
            found = client.get_object(Bucket=bucket, Key=f"{family}/{tenant}/{item}")  # type: ignore[attr-defined]
        except ClientError as exc:
            assert exc.response["Error"]["Code"] == "NoSuchKey"
            return None
        return str(found["Body"].read().decode())

    def _of(self, side: Store) -> tuple[object, str]:
        return (
            (self.pair.blue, self.pair.names[0])
            if side is self.source
            else (self.pair.green, self.pair.names[1])
        )


class TestS3Store(KeyedStoreContract):
    @pytest.fixture
    def bench(self, make_pair: MakePair) -> ObjectBench:
        return ObjectBench(make_pair(keys=KEYS))


class TestS3StoreOnOneServerWithoutVersions(KeyedStoreContract):
    @pytest.fixture
    def bench(self, make_pair: MakePair) -> ObjectBench:
        return ObjectBench(make_pair(keys=KEYS, apart=False, versioned=(False, False)))
