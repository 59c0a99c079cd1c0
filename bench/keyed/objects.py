"""Objects of two kilobytes with metadata and a tag, in two buckets of one emulator of S3."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.keyed.tenancy import NEIGHBOUR, TENANT, opened
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.sandbox.open_items import object_client

_SIZE = 2_000
BLUE, GREEN = "blue", "green"


class Objects:
    """See `tenancy.Tenancy`."""

    kind = "s3"
    peer = "a loop with boto3"

    def __init__(self, server: ObjectServer, items: int) -> None:
        self.items = items
        settings = {"endpoint": server.endpoint, "region": "us-east-1", "access_key": "a", "secret_key": "b"}
        self._s3 = object_client(settings)
        self.stores = opened(
            "s3", "items/{tenant}/*", (settings | {"bucket": BLUE}, settings | {"bucket": GREEN})
        )
        places = [f"items/{tenant}/{n:06}" for tenant in (TENANT, NEIGHBOUR) for n in range(items)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: self._put(key, 0), places))

    def empty(self) -> None:
        while found := self._versions():
            self._s3.delete_objects(Bucket=GREEN, Delete={"Objects": found})

    def there(self) -> int:
        return len(list(self._keys(GREEN)))

    def copy(self) -> None:
        for key in self._keys(BLUE):
            self._s3.copy_object(Bucket=GREEN, Key=key, CopySource={"Bucket": BLUE, "Key": key})

    def equal(self) -> bool:
        return all(self._facts(BLUE, key) == self._facts(GREEN, key) for key in self._keys(BLUE)) and (
            self.there() == self.items
        )

    def change(self, count: int, number: int) -> list[bytes]:
        keys = [f"items/{TENANT}/{n:06}" for n in range(count)]

        def change(n: int) -> None:
            if (n + number) % 10:
                self._put(keys[n], number)
            else:
                self._s3.delete_object(Bucket=BLUE, Key=keys[n])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(change, range(count)))
        return [key.encode() for key in keys]

    def carry(self, keys: list[bytes]) -> None:
        missing = self._s3.exceptions.ClientError
        for raw in keys:
            key = raw.decode()
            try:
                self._s3.copy_object(Bucket=GREEN, Key=key, CopySource={"Bucket": BLUE, "Key": key})
            except missing:
                self._s3.delete_object(Bucket=GREEN, Key=key)

    def close(self) -> None:
        """Give back connections."""
        for store in self.stores:
            store.close()

    def _keys(self, bucket: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"items/{TENANT}/")
        return (one["Key"] for page in pages for one in page.get("Contents", []))

    def _facts(self, bucket: str, key: str) -> object:
        head = self._s3.head_object(Bucket=bucket, Key=key)
        tags = self._s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        return head["ETag"], head["ContentType"], head["Metadata"], tags

    def _put(self, key: str, number: int) -> None:
        self._s3.put_object(
            Bucket=BLUE, Key=key, Body=random.Random(f"{key} {number}").randbytes(_SIZE),
            ContentType="text/plain", Metadata={"number": str(number)}, Tagging="kind=item",
        )  # fmt: skip

    def _versions(self) -> list[dict[str, str]]:
        page = self._s3.list_object_versions(Bucket=GREEN)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        return [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]


@contextmanager
def objects(folder: Path, items: int) -> Iterator[Objects]:
    """In an emulator of its own."""
    with ObjectServer(folder / "objects", buckets=(BLUE, GREEN)) as server:
        found = Objects(server, items)
        try:
            yield found
        finally:
            found.close()
